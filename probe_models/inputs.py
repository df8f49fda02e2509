"""What a trained network is given: rows of features as tensors, words padded to the same number."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .features import ACTIVATION, ATTENTION, DENOISED, LATENT, TEXT, Features, as_image, on_grid


@dataclass(frozen=True)
class Inputs:
    """Rows at one moment each.

    Attributes:
        percent: noise level ``[rows]``, as ``Features.percent``.
        maps: softmax weights ``[rows, words, blocks, height, width]``.
        present: bool ``[rows, words]``, False where a row has fewer words; at least one per row.
        text: embedding of each word, ``[rows, words, channels]``.
        activation, latent, denoised: ``[rows, channels, height, width]``, on the grid of ``features.on_grid``.
    """

    percent: Tensor
    maps: Tensor | None = None
    present: Tensor | None = None
    text: Tensor | None = None
    activation: Tensor | None = None
    latent: Tensor | None = None
    denoised: Tensor | None = None

    def tensors(self) -> list[tuple[str, Tensor]]:
        """What is given, by name."""
        return [(name, value) for name, value in vars(self).items() if value is not None]

    def shapes(self) -> tuple:
        """Of one row; rows of equal shapes can be stacked."""
        return tuple((name, tuple(value.shape[1:])) for name, value in self.tensors())

    def to(self, device: torch.device) -> "Inputs":
        """The same on a device."""
        return Inputs(**{name: value.to(device) for name, value in self.tensors()})


def stacked(rows: Sequence[Inputs]) -> Inputs:
    """Rows of equal shapes as one."""
    names = [name for name, _ in rows[0].tensors()]
    return Inputs(**{name: torch.cat([getattr(row, name) for row in rows]) for name in names})


def row_inputs(row: Features, blocks: Sequence[str], needs: frozenset[str]) -> Inputs:
    """One captured row, with the maps of ``blocks`` in that order, whatever others it has.

    Raises:
        ValueError: something that is needed wasn't captured; the message names it.
    """
    given = {ATTENTION: row.attention, ACTIVATION: row.activation, LATENT: row.latent, DENOISED: row.denoised}
    missing = sorted(name for name in needs if {**given, TEXT: row.text}[name] is None)
    if missing:
        raise ValueError(f"{', '.join(missing)} was not captured")
    maps = present = None
    if ATTENTION in needs:
        maps = row.word_maps()[[row.blocks.index(block) for block in blocks]].movedim(1, 0)[None]
    if needs & {ATTENTION, TEXT}:
        present = torch.ones(1, len(row.text_words()), dtype=torch.bool)
    return Inputs(
        percent=torch.tensor([row.percent]),
        maps=maps,
        present=present,
        text=row.word_embeddings()[None] if TEXT in needs else None,
        activation=row.activation.float()[None] if ACTIVATION in needs else None,
        latent=row.latent.float()[None] if LATENT in needs else None,
        denoised=on_grid(as_image(row.denoised).float())[None] if DENOISED in needs else None,
    )
