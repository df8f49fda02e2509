"""Features of words' attention maps: images of them, and a summary of each in a few numbers."""

import math

import torch
from torch import Tensor

from . import signatures
from .inputs import Inputs

VIEWS = 2
"""Number of images of one word's map in one block: its shape, and its share of the attention to all words."""

STATISTICS, CENTRE = 3, 2
SUMMARY = STATISTICS + CENTRE
"""Number of values that summarise one word's map in one block: mass, entropy, peak mass, then its centre."""

LEAST_MASS = 1e-6
"""Smallest softmax weight that counts: float16 holds no smaller ones well."""


def maps_of(inputs: Inputs) -> Tensor:
    """Return the maps as networks read them, without negative values and with zeros for words that are padding."""
    return inputs.maps.float().clamp(min=0) * inputs.present[:, :, None, None, None]


def views(maps: Tensor) -> Tensor:
    """Make the images of maps, ``[rows, words, blocks, h, w]`` → ``[rows, words, VIEWS * blocks, h, w]``."""
    mean = maps.mean((-2, -1), keepdim=True).clamp(min=LEAST_MASS)
    share = maps / maps.sum(1, keepdim=True).clamp(min=LEAST_MASS)
    return torch.cat([(maps / mean).log1p(), share], 2)


def statistics(maps: Tensor) -> Tensor:
    """Compute log mass, entropy and peak mass of maps.

    ``[rows, words, blocks, h, w]`` → ``[rows, words, STATISTICS * blocks]``.
    """
    mass = maps.mean((-2, -1)).clamp(min=LEAST_MASS).log() / -math.log(LEAST_MASS)
    return torch.cat([mass, signatures.entropy(maps), signatures.peak_mass(maps)], -1)


def centres(maps: Tensor) -> Tensor:
    """Compute the centre of mass of each map, ``[..., height, width]`` → ``[..., 2]``.

    Row and column, from the middle of the map, in halves of its longer side.
    """
    height, width = maps.shape[-2:]
    mass = maps.sum((-2, -1), keepdim=True)
    share = maps / mass.clamp(min=torch.finfo(maps.dtype).tiny)
    rows, columns = (
        (torch.arange(side, device=maps.device) + 0.5 - side / 2) * 2 / max(height, width) for side in (height, width)
    )
    return torch.stack([share.sum(-1) @ rows.to(maps), share.sum(-2) @ columns.to(maps)], -1)


def summary(maps: Tensor) -> Tensor:
    """Compute statistics and centres of maps, ``[rows, words, blocks, h, w]`` → ``[rows, words, SUMMARY * blocks]``."""
    return torch.cat([statistics(maps), centres(maps).flatten(2)], -1)
