"""The failure signatures of Diffusion Probe as statistics of cross-attention maps.

The paper (section 3.2, figures 4, 7 and 8) describes them in words: the map of an object that gets
omitted is diffuse; a wrong attribute's map dissipates; where there are too few objects the maps
collapse on one position, where there are too many they fragment into several weak spots.

Every function takes maps ``[..., height, width]`` of non-negative weights of any scale, works on
all leading axes at once, and depends on where the attention of a map is, not on how much there is. A map
without any attention counts as spread evenly.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

PEAK_SHARE = 0.1
"""Share of a map's cells that are its peak."""


def as_distribution(maps: Tensor) -> Tensor:
    """Normalise maps to float32 that sums to 1 over height and width."""
    maps = maps.float().clamp(min=0)
    total = maps.sum((-2, -1), keepdim=True)
    even = torch.full_like(maps, 1 / (maps.shape[-2] * maps.shape[-1]))
    return torch.where(total > 0, maps / total.clamp(min=torch.finfo(torch.float32).tiny), even)


def shares(maps: Tensor) -> Tensor:
    """Compute each token's share of the attention that each cell gives to the text, 0 to 1.

    How much attention a cell gives to the whole text differs from block to block and is the same for all
    tokens; dividing by it leaves what distinguishes one token from the others.

    Args:
        maps: ``[..., tokens, height, width]`` softmax weights.
    """
    maps = maps.float().clamp(min=0)
    return maps / maps.sum(-3, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def entropy(maps: Tensor) -> Tensor:
    """Compute how diffuse maps are: -Σ p ln p / ln(cells), ``[...]`` from 0 (one cell) to 1 (even)."""
    p = as_distribution(maps)
    cells = p.shape[-2] * p.shape[-1]
    if cells == 1:
        return p.new_zeros(p.shape[:-2])
    return (torch.special.entr(p).sum((-2, -1)) / math.log(cells)).clamp(0, 1)


def peak_mass(maps: Tensor, share: float = PEAK_SHARE) -> Tensor:
    """Sum the attention of the ⌈share · cells⌉ strongest cells, ``[...]`` from ``share`` (even) to 1."""
    p = as_distribution(maps).flatten(-2)
    return p.topk(max(1, math.ceil(share * p.shape[-1])), dim=-1).values.sum(-1).clamp(max=1)


def spread(maps: Tensor) -> Tensor:
    """Compute how far a map reaches from its own centre, ``[...]`` from 0 (one cell) to 1 (opposite corners).

    √(variance of the row + variance of the column, under p) / (half the grid's diagonal). An even
    map has about 0.58. In cells, so a wide picture is not squeezed.
    """
    p = as_distribution(maps)
    high, wide = p.shape[-2:]
    rows = torch.arange(high, dtype=torch.float32) - (high - 1) / 2
    columns = torch.arange(wide, dtype=torch.float32) - (wide - 1) / 2
    variance = torch.zeros(p.shape[:-2])
    for marginal, position in ((p.sum(-1), rows), (p.sum(-2), columns)):
        variance = variance + (marginal @ position.square() - (marginal @ position).square())
    half_diagonal = math.hypot(high - 1, wide - 1) / 2
    return (variance.clamp(min=0).sqrt() / half_diagonal).clamp(max=1) if half_diagonal else variance


def hot_spots(maps: Tensor) -> Tensor:
    """Count the separate regions where a map is strong, ``[...]``: 0 for an even map, else at least 1.

    Connected components (a cell has 8 neighbours) of the cells above the middle between the map's
    mean and its maximum.
    """
    p = as_distribution(maps)
    high, wide = p.shape[-2:]
    flat = p.reshape(-1, 1, high, wide)
    mean, peak = flat.mean((-2, -1), keepdim=True), flat.amax((-2, -1), keepdim=True)
    strong = (flat > (mean + peak) / 2) & (peak > mean * (1 + 1e-4))
    number = torch.arange(1, high * wide + 1, dtype=torch.float32).reshape(1, 1, high, wide)
    label = number * strong
    while True:  # the highest number of a component spreads to all its cells
        spread_label = F.max_pool2d(label, 3, stride=1, padding=1) * strong
        if torch.equal(spread_label, label):
            break
        label = spread_label
    return (strong & (label == number)).sum((-3, -2, -1)).reshape(p.shape[:-2])


def overlap(maps: Tensor) -> Tensor:
    """Compute how much maps overlap: cosine of ``[..., tokens, height, width]``, every token with every other.

    ``[..., tokens, tokens]``, from 0 (disjoint) to 1 (the same cells).
    """
    p = F.normalize(as_distribution(maps).flatten(-2), dim=-1)
    return (p @ p.mT).clamp(0, 1)


def likeness(maps: Tensor) -> Tensor:
    """Compute how similar the shapes of maps are: correlation of ``[..., tokens, height, width]``, negative as 0.

    ``[..., tokens, tokens]`` from 0 to 1. Unlike :func:`overlap` it leaves out what even maps share.
    """
    unit = _centred(maps)
    return (unit @ unit.mT).clamp(0, 1)


def agreement(maps: Tensor) -> Tensor:
    """Compute how similar the maps of different blocks are, ``[blocks, ...]`` maps → ``[...]`` from 0 to 1.

    Mean correlation between the maps of two blocks, negative means as 0. With one block 1; an even
    map agrees with nothing.
    """
    blocks = maps.shape[0]
    if blocks == 1:
        return torch.ones(maps.shape[1:-2])
    unit = _centred(maps)
    together = unit.sum(0).square().sum(-1) - unit.square().sum(-1).sum(0)
    return (together / (blocks * (blocks - 1))).clamp(0, 1)


def _centred(maps: Tensor) -> Tensor:
    """Flatten maps to vectors ``[..., cells]`` of mean 0 and length 1; even maps become 0."""
    p = as_distribution(maps).flatten(-2)
    centred = p - p.mean(-1, keepdim=True)
    # Rounding of an even map must not pass for structure: float16 carries 3 digits.
    length = centred.norm(dim=-1, keepdim=True)
    return torch.where(length > 1e-3 * p.norm(dim=-1, keepdim=True), centred / length.clamp(min=1e-12), 0.0)
