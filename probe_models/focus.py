"""Attention focus: an untrained score from the failure signatures of cross-attention maps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..engine.core.features import ATTENTION, Features, over_words
from ..engine.core.probe import Probe
from ..engine.core.prompt_words import Word
from . import signatures

WEIGHTS = {
    "concentration": 0.25,  # 1 - entropy: an omitted object's map is diffuse
    "peak mass": 0.20,  # a wrong attribute's map dissipates
    "compactness": 0.20,  # 1 - spread
    "wholeness": 0.10,  # 1 / hot spots: too many objects fragment into weak spots
    "agreement": 0.05,  # of blocks; little, because blocks that work well may each have their own task
    "separation": 0.20,  # 1 - overlap: too few objects, the maps collapse on one position
}
"""Weight of each signature in the score; they sum to 1. By reasoning, and the last digit by training prompts of the
testbed (``docs/notes/attention-focus.md``)."""

NEIGHBOURS = 3
"""Largest distance of two words or tokens that belong to one phrase ("a small red circle"), whose maps should
overlap."""

LIKENESS_POWER = 4
"""Power that likeness is raised to, so that no maps count as one but those that are nearly the same."""


def token_weights(attention: Tensor, shares: Tensor) -> Tensor:
    """Compute the weight of each word or text position, ``[tokens]`` that sum to 1.

    A weight is the token's share of the attention, at most the average share, divided by the number of tokens
    with a map like its own. Start, end and padding positions get much attention without meaning anything. Where
    no words are known these count little: paddings look alike, whether there are ten of them or five hundred.

    Args:
        attention: ``[blocks, tokens, height, width]`` softmax weights.
        shares: the same as shares of the text's attention.
    """
    mass = attention.float().mean((0, -2, -1))
    if not mass.sum() > 0:
        return torch.full_like(mass, 1 / len(mass))
    look_alikes = signatures.likeness(shares.mean(0)).pow(LIKENESS_POWER).sum(-1)
    weight = mass.clamp(max=float(mass.mean())) / look_alikes.clamp(min=1)
    return weight / weight.sum()


def signature_values(attention: Tensor, words: Sequence[Word] = ()) -> dict[str, float]:
    """Compute the signatures of one row, each from 0 (failure) to 1, by the names of ``WEIGHTS``.

    They are of each word's share of the text's attention, averaged over blocks (agreement: block by
    block) and over words with :func:`token_weights`. Without words every token counts as one.

    Args:
        attention: ``[blocks, tokens, height, width]`` softmax weights.
        words: the words of the text, if known.
    """
    maps = signatures.shares(attention)
    if words:
        attention, maps = over_words(attention.float(), words), over_words(maps, words)
    weight = token_weights(attention, maps)
    mean = maps.mean(0)
    spots = signatures.hot_spots(mean)
    position = torch.arange(len(weight))
    pair = weight[:, None] * weight[None, :] * ((position[:, None] - position[None, :]).abs() > NEIGHBOURS)
    shared = (pair * signatures.overlap(mean)).sum() / pair.sum() if pair.sum() > 0 else torch.tensor(0.0)
    per_token = {
        "concentration": 1 - signatures.entropy(mean),
        "peak mass": signatures.peak_mass(mean),
        "compactness": 1 - signatures.spread(mean),
        "wholeness": torch.where(spots > 0, 1 / spots.clamp(min=1), 0.0),
        "agreement": signatures.agreement(maps),
    }
    return {**{name: float(values @ weight) for name, values in per_token.items()}, "separation": float(1 - shared)}


class AttentionFocus(Probe):
    """Probe of how concentrated, whole and separate the attention to the words is, 0 to 1.

    Where no words are known it reads the attention to tokens. Rows may differ in their number of tokens and in
    the shape of their grid.
    """

    name = "attention focus"
    label = "focus"
    needs = frozenset({ATTENTION})

    def score(self, rows: Sequence[Features]) -> Tensor:
        """Score rows captured at one moment, ``[rows]`` float32, as the weighted sum of the signatures."""
        return torch.tensor([self._score(number, row) for number, row in enumerate(rows)], dtype=torch.float32)

    def _score(self, number: int, row: Features) -> float:
        attention = row.attention
        if attention is None:
            raise ValueError(
                f"Attention focus: no attention was captured for row {number}. "
                "Attach this probe to the MODEL before sampling."
            )
        if attention.ndim != 4 or 0 in attention.shape:
            raise ValueError(
                f"Attention focus: row {number} has attention of shape {list(attention.shape)}; "
                "[blocks, tokens, height, width] with at least one of each is needed."
            )
        if not attention.isfinite().all():
            raise ValueError(f"Attention focus: the attention of row {number} holds NaN or infinity.")
        values = signature_values(attention, row.words)
        return sum(WEIGHTS[name] * values[name] for name in WEIGHTS)
