"""The learned signal of Diffusion Probe: a CNN on the cross-attention maps of a prompt's words.

After the paper (section 3.3): maps and noise level → DownBlocks with residual layers → output layer
(norm, pooling, convolution) → score. It leaves map size, widths and the treatment of words open; here
every word is an item of its own, and the items are pooled, so that any prompt and any grid fits.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import signatures
from .features import ATTENTION
from .inputs import Inputs
from .norms import ChannelNorm, FeatureNorm

WIDTHS = (48, 96, 192)
LAYERS = 2
FREQUENCIES = 16
CONDITION = 128
GROUPS = 8
VIEWS = 2
"""Pictures of one word's map: its shape, and its share of what all words get."""
STATISTICS = 3
LEAST_MASS = 1e-6
"""Softmax weights below this count as none: float16 holds no smaller ones well."""


class AttentionCNN(nn.Module):
    """Maps of words and the noise level → one number per head.

    The score doesn't depend on the order of the words, only on which maps there are.

    Args:
        blocks: how many attention blocks a word's maps come from.
        heads: how many numbers it gives.
        widths: channels of the DownBlocks, multiples of ``GROUPS``; each halves the grid but the last.
        layers: residual layers per DownBlock.
    """

    needs = frozenset({ATTENTION})

    def __init__(self, blocks: int, heads: int = 1, widths: Sequence[int] = WIDTHS, layers: int = LAYERS):
        super().__init__()
        self.condition = nn.Sequential(
            nn.Linear(STATISTICS * blocks + 2 * FREQUENCIES, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION)
        )
        self.statistics_norm, self.views_norm = FeatureNorm(STATISTICS * blocks), ChannelNorm(VIEWS * blocks)
        self.stem = nn.Conv2d(VIEWS * blocks, widths[0], 3, padding=1)
        following = [*widths[1:], None]
        self.down = nn.ModuleList(DownBlock(width, layers, after) for width, after in zip(widths, following))
        self.output = OutputLayer(widths[-1], heads)

    @property
    def last_layer(self) -> nn.Linear:
        """What gives the scores; their unit can be changed in it."""
        return self.output.score[-1]

    def fit_norms(self, inputs: Inputs) -> None:
        """Set what maps and their statistics are normalised by: they differ little from one image to another."""
        maps = inputs.maps.float().clamp(min=0)
        self.statistics_norm.fit(statistics(maps)[inputs.present])
        self.views_norm.fit(views(maps)[inputs.present])

    def forward(self, inputs: Inputs) -> Tensor:
        """Rate rows by their maps and noise level, ``[rows, heads]`` float32."""
        present = inputs.present
        rows, words = present.shape
        maps = inputs.maps.float().clamp(min=0) * present[:, :, None, None, None]
        level = noise_embedding(inputs.percent.float())[:, None].expand(-1, words, -1)
        condition = self.condition(torch.cat([self.statistics_norm(statistics(maps)), level], -1)).flatten(0, 1)
        x = self.stem(self.views_norm(views(maps).flatten(0, 1)))
        for block in self.down:
            x = block(x, condition)
        return self.output(x.unflatten(0, (rows, words)), present).float()


class DownBlock(nn.Module):
    """Residual layers, then half the grid with ``after`` channels; None: the grid stays."""

    def __init__(self, width: int, layers: int, after: int | None):
        super().__init__()
        self.layers = nn.ModuleList(ResidualLayer(width) for _ in range(layers))
        self.smaller = nn.Identity() if after is None else nn.Conv2d(width, after, 3, stride=2, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``[items, width, h, w]``, ``[items, CONDITION]`` → ``[items, after, ⌈h/2⌉, ⌈w/2⌉]``."""
        for layer in self.layers:
            x = layer(x, condition)
        return self.smaller(x)


class ResidualLayer(nn.Module):
    """Two convolutions around which the input goes on unchanged; the condition scales and shifts between them."""

    def __init__(self, width: int):
        super().__init__()
        self.norm_in, self.norm_out = nn.GroupNorm(GROUPS, width), nn.GroupNorm(GROUPS, width)
        self.conv_in, self.conv_out = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.modulate = nn.Linear(CONDITION, 2 * width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``[items, width, h, w]``, ``[items, CONDITION]`` → the shape of ``x``."""
        scale, shift = self.modulate(F.silu(condition))[:, :, None, None].chunk(2, 1)
        inner = self.norm_out(self.conv_in(F.silu(self.norm_in(x)))) * (1 + scale) + shift
        return x + self.conv_out(F.silu(inner))


class OutputLayer(nn.Module):
    """Norm, pooling over the grid, pooling over the words (mean and maximum each), pointwise convolutions."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.word = nn.Linear(2 * width, width)
        self.score = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, heads))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """``[rows, words, width, h, w]`` and bool ``[rows, words]`` → ``[rows, heads]``."""
        x = F.silu(self.norm(x.flatten(0, 1))).unflatten(0, present.shape)
        words = F.silu(self.word(torch.cat([x.mean((-2, -1)), x.amax((-2, -1))], -1)))
        there = present[:, :, None]
        mean = (words * there).sum(1) / there.sum(1).clamp(min=1)
        return self.score(torch.cat([mean, words.masked_fill(~there, -math.inf).amax(1)], -1))


def noise_embedding(percent: Tensor) -> Tensor:
    """Sines and cosines of the noise level ``[rows]`` (0 to 1), ``[rows, 2 * FREQUENCIES]``; from half a wave on."""
    frequencies = math.pi * torch.logspace(0, 6, FREQUENCIES, base=2, device=percent.device)
    angles = percent[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)


def views(maps: Tensor) -> Tensor:
    """``[rows, words, blocks, h, w]`` → ``[rows, words, VIEWS * blocks, h, w]``: shape, and share among the words."""
    mean = maps.mean((-2, -1), keepdim=True).clamp(min=LEAST_MASS)
    share = maps / maps.sum(1, keepdim=True).clamp(min=LEAST_MASS)
    return torch.cat([(maps / mean).log1p(), share], 2)


def statistics(maps: Tensor) -> Tensor:
    """``[rows, words, blocks, h, w]`` → ``[rows, words, STATISTICS * blocks]``: mass (log), entropy, peak mass."""
    mass = maps.mean((-2, -1)).clamp(min=LEAST_MASS).log() / -math.log(LEAST_MASS)
    return torch.cat([mass, signatures.entropy(maps), signatures.peak_mass(maps)], -1)
