"""One run being recorded: which evaluations are captured, and what of them.

Everything here lives from the start of one sampler call to its end.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import comfy.model_patcher
import torch
from torch import Tensor

from ..probe_models.features import ATTENTION, Features
from .attention import fold_repeats, text_attention, to_grid
from .families import Block, Family
from .moments import Moment, MomentPlan, percent_of_sigma

NO_ATTENTION = (
    "nothing was captured, because at that evaluation the model's attention did not pass through ComfyUI's "
    "attention call. Models with an attention of their own (Nunchaku and the like) bypass it, and a cache node "
    "(TeaCache, EasyCache) may have skipped the evaluation: use another model loader, or let the cache start later."
)


@dataclass
class Snapshot:
    """What one evaluation gave: ``maps`` by conditioning entry and block, x0 for all rows."""

    step: int
    sigma: float
    maps: dict[UUID, dict[Block, Tensor]]
    denoised: Tensor


class AttentionTap:
    """``optimized_attention_override`` for one evaluation: reads q and k, passes everything on."""

    def __init__(self, family: Family, diffusion_model: Any, conds: list[dict[str, Any]], x: Tensor, previous: Any):
        self.family = family
        self.blocks = frozenset(family.blocks(diffusion_model))
        self.patch_size = family.patch_size(diffusion_model)
        self.conds = {cond["uuid"]: cond for cond in conds}
        self.height, self.width = x.shape[-2:]
        self.previous = previous
        self.maps: dict[UUID, dict[Block, Tensor]] = {}

    def __call__(self, func, q, k, v, heads, *args, **kwargs):
        options = kwargs.get("transformer_options") or {}
        block = self.family.block_of(options)
        if block in self.blocks and any(uuid in self.conds for uuid in options["uuids"]):
            self._record(block, q, k, heads, options, args, kwargs)
        if self.previous is not None:
            return self.previous(func, q, k, v, heads, *args, **kwargs)
        return func(q, k, v, heads, *args, **kwargs)

    def _record(self, block: Block, q: Tensor, k: Tensor, heads: int, options: dict, args: tuple, kwargs: dict) -> None:
        if not kwargs.get("skip_reshape"):
            q, k = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k))
        mask = kwargs.get("mask", args[0] if args else None)
        scaling = {name: kwargs[name] for name in ("scale", "enable_gqa") if name in kwargs}
        rows = q.shape[0] // len(options["uuids"])
        for chunk, uuid in enumerate(options["uuids"]):
            if uuid not in self.conds or block in self.maps.get(uuid, {}):
                continue  # a negative prompt, or a second pass by a guidance node such as PAG
            cond = self.conds[uuid]
            high, wide, top, left = self._region(cond)
            image, text = self._tokens(q.shape[2], high * wide, options)
            some = slice(chunk * rows, (chunk + 1) * rows)
            some_mask = mask[some] if mask is not None and mask.ndim > 2 and mask.shape[0] == q.shape[0] else mask
            weights = text_attention(q[some], k[some], image, text, some_mask, **scaling)
            weights = fold_repeats(weights, cond["model_conds"]["c_crossattn"].cond.shape[1])
            full = (*self._in_patches(self.height, self.width), top, left)
            self.maps.setdefault(uuid, {})[block] = to_grid(weights, high, wide, full)

    def _tokens(self, queries: int, image_tokens: int, options: dict) -> tuple[slice, slice]:
        if not self.family.text_first:
            return slice(0, image_tokens), slice(None)
        references = sum(options.get("reference_image_num_tokens", ()))
        text_tokens = queries - image_tokens - references
        return slice(text_tokens, text_tokens + image_tokens), slice(0, text_tokens)

    def _region(self, cond: dict[str, Any]) -> tuple[int, int, int, int]:
        """Height, width, top and left in image tokens of the region that a conditioning covers."""
        area = cond.get("area")
        if area is None:
            return (*self._in_patches(self.height, self.width), 0, 0)
        height, width, top, left = (*area[: len(area) // 2][-2:], *area[len(area) // 2 :][-2:])
        high, wide = self._in_patches(min(height, self.height - top), min(width, self.width - left))
        full_high, full_wide = self._in_patches(self.height, self.width)
        return high, wide, min(top // self.patch_size, full_high - high), min(left // self.patch_size, full_wide - wide)

    def _in_patches(self, height: int, width: int) -> tuple[int, int]:
        return -(-height // self.patch_size), -(-width // self.patch_size)


class Recording:
    """The record of one sampler call, filled evaluation by evaluation."""

    def __init__(self, family: Family, needs: frozenset[str], moments: tuple[Moment, ...] | None):
        self.family = family
        self.needs = needs
        self.moments = moments
        self.plan: MomentPlan | None = None
        self.sampler = ""
        self.noise: Tensor | None = None
        self.seed: int | None = None
        self.evaluations = 0
        self.model_rows = 0
        self.snapshots: dict[Moment, Snapshot] = {}

    def begin(self, model_sampling: Any, sigmas: Tensor, sampler: str, noise: Tensor, seed: int | None) -> None:
        """The sampler starts: what it starts from, and on which schedule."""
        self.plan = MomentPlan(self.moments, sigmas, model_sampling, sampler)
        self.sampler, self.noise, self.seed = sampler, noise, seed

    def evaluate(self, executor: Any, x: Tensor, timestep: Tensor, model_options: dict, seed: int | None) -> Tensor:
        """One model evaluation, captured if it is one of the moments. Returns what the model returns."""
        self.evaluations += 1
        sigma = float(timestep.flatten()[0])
        moments = self.plan.wanted(self.evaluations, sigma) if self.plan else []
        if not moments:
            return executor(x, timestep, model_options, seed)
        guider, tap = executor.class_obj, None
        if ATTENTION in self.needs:
            model_options = comfy.model_patcher.create_model_options_clone(model_options)
            options = model_options["transformer_options"]
            tap = AttentionTap(
                self.family,
                guider.inner_model.diffusion_model,
                guider.conds.get("positive") or [cond for conds in guider.conds.values() for cond in conds],
                x,
                options.get("optimized_attention_override"),
            )
            options["optimized_attention_override"] = tap
        denoised = executor(x, timestep, model_options, seed)
        snapshot = Snapshot(self.evaluations, sigma, tap.maps if tap else {}, denoised.detach().float().cpu().clone())
        self.snapshots.update(dict.fromkeys(moments, snapshot))
        return denoised

    def missing(self) -> dict[str, str]:
        """For each moment without a snapshot, why."""
        if self.plan is None:
            return {}
        absent = (moment for moment in self.plan.moments if moment not in self.snapshots)
        return {str(moment): self.plan.why_missing(moment, self.evaluations) for moment in absent}

    def row_features(self, row: int, latent_out: Any) -> dict[str, Features]:
        """The features of one row by moment, in the order of evaluation.

        Args:
            row: which row of the batch.
            latent_out: the model's ``process_latent_out``.
        """
        by_step = sorted(self.snapshots.items(), key=lambda item: item[1].step)
        return {str(moment): self._features(moment, snapshot, row, latent_out) for moment, snapshot in by_step}

    def _features(self, moment: Moment, snapshot: Snapshot, row: int, latent_out: Any) -> Features:
        entries = list(snapshot.maps.values())
        blocks = [block for block in (entries[0] if entries else ()) if all(block in maps for maps in entries)]
        attention = None
        if blocks:
            attention = torch.stack([torch.cat([maps[block][row] for maps in entries]) for block in blocks])
        return Features(
            family=self.family.name,
            moment=str(moment),
            step=snapshot.step,
            sigma=snapshot.sigma,
            percent=percent_of_sigma(self.plan.model_sampling, snapshot.sigma),
            blocks=tuple(f"{kind} {index}" for kind, index in blocks),
            attention=attention,
            denoised=latent_out(snapshot.denoised[row : row + 1])[0],
        )
