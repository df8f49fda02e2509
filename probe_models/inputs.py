"""What a trained network is given: rows of features as tensors, words padded to the same number."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..engine.core.features import ACTIVATION, ATTENTION, DENOISED, LATENT, TEXT, Features, as_image, on_grid

SPELLING = 64
"""Signs that stand for a word's spelling."""

_AGAIN = re.compile(r" \(\d+\)$")


@dataclass(frozen=True)
class Inputs:
    """Rows at one moment each.

    Attributes:
        percent: noise level ``[rows]``, as ``Features.percent``.
        maps: softmax weights ``[rows, words, blocks, height, width]``.
        present: bool ``[rows, words]``, False where a row has fewer words; at least one per row.
        text: embedding of each word, ``[rows, words, channels]``.
        spelling: of each word, see :func:`spelled`, ``[rows, words, SPELLING]``.
        activation, latent, denoised: ``[rows, channels, height, width]``, on the grid of ``features.on_grid``.
    """

    percent: Tensor
    maps: Tensor | None = None
    present: Tensor | None = None
    text: Tensor | None = None
    activation: Tensor | None = None
    latent: Tensor | None = None
    denoised: Tensor | None = None
    spelling: Tensor | None = None

    def tensors(self) -> list[tuple[str, Tensor]]:
        """What is given, by name."""
        return [(name, value) for name, value in vars(self).items() if value is not None]

    def shapes(self) -> tuple:
        """Of one row; rows of equal shapes can be stacked."""
        return tuple((name, tuple(value.shape[1:])) for name, value in self.tensors())

    def to(self, device: torch.device) -> "Inputs":
        """The same on a device."""
        return Inputs(**{name: value.to(device) for name, value in self.tensors()})


def spelled(names: Sequence[str]) -> Tensor:
    """Which words these are, whatever a text encoder makes of them: 1 and -1, at random but for the same word the same.

    An encoder may tell "above" from "below" by what it does to their neighbours; a probe has too few prompts to find
    that out.

    Args:
        names: of words, as ``Word.name``; upper and lower case, and how often it came before, make no difference.

    Returns:
        ``[words, SPELLING]`` float32.
    """
    return torch.stack([_signs(_AGAIN.sub("", name).casefold()) for name in names])


@lru_cache(maxsize=4096)
def _signs(word: str) -> Tensor:
    number = int.from_bytes(hashlib.sha256(word.encode()).digest()[: SPELLING // 8], "big")
    return torch.tensor([1.0 if number >> bit & 1 else -1.0 for bit in range(SPELLING)])


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
        spelling=spelled([word.name for word in row.text_words()])[None] if TEXT in needs else None,
        activation=row.activation.float()[None] if ACTIVATION in needs else None,
        latent=row.latent.float()[None] if LATENT in needs else None,
        denoised=on_grid(as_image(row.denoised).float())[None] if DENOISED in needs else None,
    )
