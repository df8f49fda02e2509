"""The tap on one block's output at the image tokens, for one evaluation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import torch
from torch import Tensor

from ..probe_models.features import halved, on_grid, project_channels
from .families import Family
from .stacks import AFTER, Block

ACTIVATION_TAPS = "diffusion_probe_activation_taps"
"""In ``transformer_options``: which tap wants the activation of a conditioning entry, by the entry's uuid."""


class ActivationTap:
    """Collects the activation of each conditioning entry that covers the whole latent.

    Args:
        family: of the model.
        diffusion_model: the model itself.
        conds: the entries whose activations are wanted, as the guider processed them.
        height, width: of the latent.
        projection: ``[kept channels, channels]``, applied to each token; None keeps all channels.
    """

    def __init__(
        self,
        family: Family,
        diffusion_model: Any,
        conds: list[dict[str, Any]],
        height: int,
        width: int,
        projection: Tensor | None = None,
    ):
        self.block = family.activation(diffusion_model)
        self.wanted = {cond["uuid"] for cond in conds if "area" not in cond}
        self.height, self.width = height, width
        self.side = getattr(diffusion_model, "patch_size", 1)
        self.projection = projection
        self.found: dict[UUID, Tensor] = {}

    def install(self, options: dict[str, Any]) -> None:
        """Tap the block through the evaluation's own copy of ``transformer_options``.

        What other packs put in the block's place is called as if the tap weren't there, and seen.
        """
        options[ACTIVATION_TAPS] = dict.fromkeys(self.wanted, self)
        kind, index = self.block
        patches = options.setdefault("patches", {})
        if kind == "output":
            patches.setdefault("output_block_patch", []).append(TappedEntry(self.block))
        elif kind.startswith(AFTER):
            patches.setdefault(kind.removeprefix(AFTER).strip(), []).append(TappedPatch(index))
        else:
            replacements = options.setdefault("patches_replace", {}).setdefault("dit", {})
            replacements[self.block] = TappedBlock(replacements.get(self.block))

    def keep_tokens(self, uuid: UUID, tokens: Tensor, start: int = 0) -> None:
        """The image tokens of one entry's ``[rows, tokens, channels]``: those from ``start`` on that the image has."""
        high, wide = -(-self.height // self.side), -(-self.width // self.side)
        image = tokens[:, start : start + high * wide]
        self.keep(uuid, image.unflatten(1, (high, wide)).movedim(-1, 1))

    def keep(self, uuid: UUID, images: Tensor) -> None:
        """One entry's ``[rows, channels, height, width]``; a second pass through the block is ignored, and so is what
        has other channels than the projection takes."""
        if uuid in self.found or self.projection is not None and images.shape[1] != self.projection.shape[1]:
            return
        small = on_grid(images.detach().float())
        if self.projection is not None:
            small = project_channels(small, self.projection)
        self.found[uuid] = halved(small)

    def image(self) -> Tensor | None:
        """The mean over the entries, ``[rows, channels, height, width]`` float16; None if none was computed."""
        return torch.stack(list(self.found.values())).float().mean(0).half() if self.found else None


@dataclass(frozen=True)
class TappedBlock:
    """A replacement of a DiT's block that runs ``previous``, or else the block, and shows what it gives.

    Image tokens come before those of reference images, and behind those of text where they are one stream.
    """

    previous: Callable | None

    def __call__(self, args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        output = extra["original_block"](args) if self.previous is None else self.previous(args, extra)
        options = args["transformer_options"]
        for uuid, tap, rows in _shares(output["img"], options):
            tap.keep_tokens(uuid, rows, options.get("img_slice", (0,))[0])
        return output


@dataclass(frozen=True)
class TappedPatch:
    """A patch that follows each block of a DiT, shows what one of them gives, and changes nothing.

    It is given the image alone, filled up at its end.
    """

    index: int

    def __call__(self, args: dict[str, Any]) -> dict[str, Any]:
        if args["block_index"] == self.index:
            for uuid, tap, rows in _shares(args["img"], args["transformer_options"]):
                tap.keep_tokens(uuid, rows)
        return {}


@dataclass(frozen=True)
class TappedEntry:
    """An ``output_block_patch`` that shows what enters one block of a UNet's decoder."""

    block: Block

    def __call__(self, h: Tensor, skip: Tensor, options: dict[str, Any]) -> tuple[Tensor, Tensor]:
        if tuple(options["block"]) == self.block:
            for uuid, tap, rows in _shares(h, options):
                tap.keep(uuid, rows)
        return h, skip


def _shares(values: Tensor, options: dict[str, Any]) -> list[tuple[UUID, ActivationTap, Tensor]]:
    """The rows of a model call that a tap waits for, by conditioning entry."""
    uuids, taps = options.get("uuids", ()), options[ACTIVATION_TAPS]
    return [(uuid, taps[uuid], rows) for uuid, rows in zip(uuids, values.chunk(max(1, len(uuids)))) if uuid in taps]
