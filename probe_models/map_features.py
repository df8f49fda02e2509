"""What a network reads of words' attention maps: pictures of them, and numbers that say how each lies."""

import math

import torch
from torch import Tensor

from . import signatures
from .inputs import Inputs

VIEWS = 2
"""Pictures of one word's map: its shape, and its share of what all words get."""

STATISTICS, CENTRE = 3, 2
LIE = STATISTICS + CENTRE
"""Numbers that say how one word's map lies in one block: its statistics, then its centre."""

LEAST_MASS = 1e-6
"""Softmax weights below this count as none: float16 holds no smaller ones well."""


def maps_of(inputs: Inputs) -> Tensor:
    """Maps as networks read them, nothing below zero and nothing of words that only fill up."""
    return inputs.maps.float().clamp(min=0) * inputs.present[:, :, None, None, None]


def views(maps: Tensor) -> Tensor:
    """``[rows, words, blocks, h, w]`` → ``[rows, words, VIEWS * blocks, h, w]``: shape, and share among the words."""
    mean = maps.mean((-2, -1), keepdim=True).clamp(min=LEAST_MASS)
    share = maps / maps.sum(1, keepdim=True).clamp(min=LEAST_MASS)
    return torch.cat([(maps / mean).log1p(), share], 2)


def statistics(maps: Tensor) -> Tensor:
    """``[rows, words, blocks, h, w]`` → ``[rows, words, STATISTICS * blocks]``: mass (log), entropy, peak mass."""
    mass = maps.mean((-2, -1)).clamp(min=LEAST_MASS).log() / -math.log(LEAST_MASS)
    return torch.cat([mass, signatures.entropy(maps), signatures.peak_mass(maps)], -1)


def centres(maps: Tensor) -> Tensor:
    """Where the mass of each map lies, ``[..., height, width]`` → ``[..., 2]``: row and column from the middle.

    In halves of the longer side.
    """
    height, width = maps.shape[-2:]
    mass = maps.sum((-2, -1), keepdim=True)
    share = maps / mass.clamp(min=torch.finfo(maps.dtype).tiny)
    across = [
        (torch.arange(side, device=maps.device) + 0.5 - side / 2) * 2 / max(height, width) for side in (height, width)
    ]
    return torch.stack([share.sum(-1) @ across[0].to(maps), share.sum(-2) @ across[1].to(maps)], -1)


def lie(maps: Tensor) -> Tensor:
    """``[rows, words, blocks, h, w]`` → ``[rows, words, LIE * blocks]``: statistics, then centres."""
    return torch.cat([statistics(maps), centres(maps).flatten(2)], -1)
