"""One run being recorded: which evaluations are captured, and what of them.

Everything here lives from the start of one sampler call to its end.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import comfy.model_patcher
import torch
from torch import Tensor

from ..probe_models.features import ACTIVATION, ATTENTION, DENOISED, LATENT, TEXT, Features, on_grid
from ..probe_models.words import Word
from .activation import ActivationTap
from .families import Family, block_names
from .moments import Moment, MomentPlan, percent_of_sigma
from .stacks import Block
from .tap import AttentionTap
from .words import context_lengths, text_of, words_of

LOOKING = "diffusion_probe_looking"
"""In the ``transformer_options`` of an evaluation that is captured: a step cache has to compute it."""


@dataclass
class Snapshot:
    """What one evaluation gave.

    Attributes:
        maps: by conditioning entry and block.
        words: of all entries.
        text: embeddings of all entries' tokens, ``[rows or 1, tokens, channels]``, where asked for.
        activation, latent: ``[rows, channels, height, width]``, where asked for.
        denoised: x0, ``[rows, channels, ...]`` in the model's own scale.
    """

    step: int
    sigma: float
    maps: dict[UUID, dict[Block, Tensor]]
    words: tuple[Word, ...]
    text: Tensor | None
    activation: Tensor | None
    latent: Tensor | None
    denoised: Tensor


class Recording:
    """The record of one sampler call, filled evaluation by evaluation.

    Attributes:
        capturing: whether the evaluation that runs is one of the moments.
        pruning: the run's :class:`pruning.RowPruning`, or None. Nothing is captured once it has decided.
        watch: the run's :class:`run_watch.RunWatch`, or None.
    """

    def __init__(
        self,
        family: Family,
        needs: frozenset[str],
        moments: tuple[Moment, ...] | None,
        projection: Tensor | None = None,
    ):
        self.family = family
        self.projection = projection
        self.needs = needs
        self.moments = moments
        self.plan: MomentPlan | None = None
        self.sampler = ""
        self.noise: Tensor | None = None
        self.seed: int | None = None
        self.evaluations = 0
        self.model_rows = 0
        self.snapshots: dict[Moment, Snapshot] = {}
        self.capturing = False
        self.pruning: Any = None
        self.watch: Any = None

    def begin(self, model_sampling: Any, sigmas: Tensor, sampler: str, noise: Tensor, seed: int | None) -> None:
        """The sampler starts: what it starts from, and on which schedule."""
        self.plan = MomentPlan(self.moments, sigmas, model_sampling, sampler, self.family.moment)
        self.sampler, self.noise, self.seed = sampler, noise, seed

    def evaluate(self, executor: Any, x: Tensor, timestep: Tensor, model_options: dict, seed: int | None) -> Tensor:
        """One model evaluation, captured if it is one of the moments. Returns what the model returns."""
        self.evaluations += 1
        sigma = float(timestep.flatten()[0])
        decided = self.pruning is not None and self.pruning.moment is not None
        moments = self.plan.wanted(self.evaluations, sigma) if self.plan and not decided else []
        self.capturing = bool(moments)
        if not moments:
            return executor(x, timestep, model_options, seed)
        if x.ndim > 4 and x.shape[2] > 1 and self.needs - {DENOISED}:
            raise ValueError(
                f"a probe looks at single images, and this latent has {x.shape[2]} frames or layers. "
                "Sample an empty latent of one, or connect the MODEL from before the probe."
            )
        guider = executor.class_obj
        model_options = comfy.model_patcher.create_model_options_clone(model_options)
        options = model_options["transformer_options"]
        options[LOOKING] = True
        conds = guider.conds.get("positive") or [cond for conds in guider.conds.values() for cond in conds]
        model, size = guider.inner_model.diffusion_model, x.shape[-2:]
        maps = AttentionTap(self.family, model, conds, *size) if ATTENTION in self.needs else None
        activation = (
            ActivationTap(self.family, model, conds, *size, self.projection) if ACTIVATION in self.needs else None
        )
        for tap in filter(None, (maps, activation)):
            tap.install(options)
        denoised = executor(x, timestep, model_options, seed)
        entries = maps.entries() if maps else list(zip(conds, context_lengths(conds), strict=True))
        snapshot = Snapshot(
            step=self.evaluations,
            sigma=sigma,
            maps=maps.maps if maps else {},
            words=words_of(entries),
            text=text_of(entries) if TEXT in self.needs else None,
            activation=activation.image() if activation else None,
            latent=_model_input(guider, x, timestep) if LATENT in self.needs else None,
            denoised=denoised.detach().float().cpu().clone(),
        )
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
            blocks=block_names(blocks),
            attention=attention,
            words=snapshot.words,
            denoised=latent_out(snapshot.denoised[row : row + 1])[0],
            latent=None if snapshot.latent is None else snapshot.latent[row],
            activation=None if snapshot.activation is None else snapshot.activation[row],
            text=None if snapshot.text is None else snapshot.text[row % len(snapshot.text)],
        )


def _model_input(guider: Any, x: Tensor, timestep: Tensor) -> Tensor:
    """The latent as the model's first layer is given it, ``[rows, channels, height, width]`` float16 on the CPU.

    Without the axis of frames, of which there is one, where the model has such an axis.
    """
    scaled = guider.inner_model.model_sampling.calculate_input(timestep, x.detach())
    return on_grid(scaled.float().flatten(1, -3)).half().cpu()
