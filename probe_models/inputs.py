"""Inputs of the trained networks: features of rows as tensors, captured a moment ago or read from a dataset.

There is one way from features to a network. :func:`row_tensors` takes what networks read out of captured features; a
recording keeps that in half precision. :func:`network_inputs` makes network inputs of it, kept or not, and
:func:`stacked` makes batches of those.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..engine.core.features import ACTIVATION, ATTENTION, DENOISED, LATENT, TEXT, Features, as_image, on_grid

SPELLING = 64
"""Number of signs that stand for a word's spelling."""

TENSORS = {ATTENTION: "maps", TEXT: "text", ACTIVATION: "activation", LATENT: "latent", DENOISED: "denoised"}
"""Names of the tensors in :func:`row_tensors`, by the feature that each is made of."""

BY_WORD = ("maps", "present", "text", "spelling")
"""Fields of :class:`Inputs` whose second axis is the words of a prompt."""

_REPEATED = re.compile(r" \(\d+\)$")


@dataclass(frozen=True)
class Inputs:
    """Rows as networks read them, each at one moment.

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

    def __getitem__(self, rows: slice) -> "Inputs":
        """Return some of the rows."""
        return Inputs(**{name: value[rows] for name, value in self.tensors()})

    def tensors(self) -> list[tuple[str, Tensor]]:
        """Return the fields that are not None, with their names."""
        return [(name, value) for name, value in vars(self).items() if value is not None]

    def shapes(self) -> tuple:
        """Return names and shapes of one row's fields: rows of equal shapes fit into one batch without padding."""
        return tuple((name, tuple(value.shape[1:])) for name, value in self.tensors())

    def to(self, device: torch.device) -> "Inputs":
        """Return the same inputs on a device."""
        return Inputs(**{name: value.to(device) for name, value in self.tensors()})


def spelled(names: Sequence[str]) -> Tensor:
    """Turn words into vectors of 1 and -1 that are random, but the same for the same word.

    They say which word it is, whatever a text encoder makes of it. An encoder may tell "above" from "below" by what
    it does to their neighbours; a probe has too few prompts to find that out.

    Args:
        names: of words, as ``Word.name``; upper and lower case and the number behind a repeated word don't matter.

    Returns:
        ``[words, SPELLING]`` float32.
    """
    return torch.stack([_signs(_REPEATED.sub("", name).casefold()) for name in names])


@lru_cache(maxsize=4096)
def _signs(word: str) -> Tensor:
    number = int.from_bytes(hashlib.sha256(word.encode()).digest()[: SPELLING // 8], "big")
    return torch.tensor([1.0 if number >> bit & 1 else -1.0 for bit in range(SPELLING)])


def row_tensors(row: Features, needs: frozenset[str]) -> dict[str, Tensor]:
    """Return what networks read of one captured row: words instead of tokens, and latents on the common grid.

    Args:
        needs: features that are wanted, names as in ``features.NEEDS``.

    Returns:
        By the names in ``TENSORS``: maps ``[blocks, words, height, width]`` float32 of all captured blocks, text
        ``[words, channels]`` float32, activation and latent ``[channels, height, width]`` as captured, denoised
        ``[channels, height, width]`` float32.

    Raises:
        ValueError: a wanted feature wasn't captured; the message names it.
    """
    captured = {
        ATTENTION: row.attention,
        ACTIVATION: row.activation,
        LATENT: row.latent,
        DENOISED: row.denoised,
        TEXT: row.text,
    }
    missing = sorted(name for name in needs if captured[name] is None)
    if missing:
        raise ValueError(f"{', '.join(missing)} was not captured")
    tensors = {TENSORS[name]: value for name, value in captured.items() if name in needs}
    if ATTENTION in needs:
        tensors["maps"] = row.word_maps()
    if TEXT in needs:
        tensors["text"] = row.word_embeddings()
    if DENOISED in needs:
        tensors["denoised"] = on_grid(as_image(row.denoised).float())
    return tensors


def network_inputs(
    tensors: Mapping[str, Tensor],
    words: Sequence[str],
    percents: Sequence[float],
    blocks: Sequence[int] | None = None,
) -> Inputs:
    """Make network inputs of rows of one prompt on one grid.

    Args:
        tensors: those of :func:`row_tensors` that the network needs, in any precision, with an axis of rows before
            the others; only ``text`` has none, which all rows share.
        words: names of the words.
        percents: noise level of each row.
        blocks: numbers of the attention blocks whose maps are read, in this order; None: all.
    """
    rows = len(percents)
    fields = {name: tensor.float() for name, tensor in tensors.items() if name not in ("maps", "text")}
    if "maps" in tensors:
        maps = tensors["maps"] if blocks is None else tensors["maps"][:, list(blocks)]
        fields["maps"] = maps.float().transpose(1, 2)
    if "text" in tensors:
        fields["text"] = tensors["text"].float().expand(rows, -1, -1)
        fields["spelling"] = spelled(words).expand(rows, -1, -1)
    if "maps" in tensors or "text" in tensors:
        fields["present"] = torch.ones(rows, len(words), dtype=torch.bool)
    return Inputs(percent=torch.tensor(percents), **fields)


def row_inputs(row: Features, blocks: Sequence[str], needs: frozenset[str]) -> Inputs:
    """Make network inputs of one captured row, with the maps of ``blocks`` in that order, whatever others it has.

    Raises:
        ValueError: a needed feature wasn't captured; the message names it.
    """
    tensors = row_tensors(row, needs)
    text = tensors.pop("text", None)
    tensors = {name: tensor[None] for name, tensor in tensors.items()}
    if text is not None:
        tensors["text"] = text
    words = row.text_words() if needs & {ATTENTION, TEXT} else ()
    numbers = [row.blocks.index(block) for block in blocks] if ATTENTION in needs else None
    return network_inputs(tensors, [word.name for word in words], [row.percent], numbers)


def stacked(parts: Sequence[Inputs]) -> Inputs:
    """Make one batch of inputs on one grid; rows with fewer words than others are filled up with zeros."""
    names = [name for name, _ in parts[0].tensors()]
    return Inputs(**{name: _stacked([getattr(part, name) for part in parts], name in BY_WORD) for name in names})


def _stacked(tensors: Sequence[Tensor], by_word: bool) -> Tensor:
    if not by_word or len({tensor.shape[1] for tensor in tensors}) == 1:
        return torch.cat(list(tensors))
    return pad_sequence([row for tensor in tensors for row in tensor], batch_first=True)
