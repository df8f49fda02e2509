"""What the joint probe is made of: attention layers, normalised channels, and where cells and words lie."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention_cnn import CONDITION

DROPOUT = 0.1
"""Share of channels and of what layers add that training leaves out at random."""

PLACES = 8
"""Frequencies of each coordinate of an image token."""


def attention_bias(about: Tensor | None, present: Tensor, cells: int, heads: int) -> Tensor:
    """``[items, heads, 1 + words, 1 + words + cells]``: words see cells by the maps, and nobody sees absent words."""
    items, words = present.shape
    bias = torch.zeros(items, heads, 1 + words, 1 + words + cells, device=present.device)
    if about is not None:
        bias[:, :, 1:, 1 + words :] = about
    return bias.masked_fill(F.pad(~present, (1, cells))[:, None, None, :], -math.inf)


class JointLayer(nn.Module):
    """Attention, then a two-layer network, each scaled and shifted by the noise level (adaLN-zero)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.modulate = nn.Linear(CONDITION, 6 * width)
        self.query, self.keys = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        beside: Tensor | None = None,
        rows: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Tokens that look at each other, and at those beside them.

        Args:
            x: ``[items, tokens, width]``.
            condition: ``[items, CONDITION]``.
            beside: ``[rows, others, width]``, which stay as they are.
            rows: ``[items]``, which row each item has beside it; None: the one of its own number.
            bias: of the attention, ``[items, heads, tokens, tokens + others]``.
        """
        shift_in, scale_in, gate_in, shift_out, scale_out, gate_out = self._modulation(condition)
        normal = F.layer_norm(x, x.shape[-1:]) * (1 + scale_in) + shift_in
        keys = self.keys(normal)
        if beside is not None:
            others = self.keys(F.layer_norm(beside, beside.shape[-1:]))
            keys = torch.cat([keys, others if rows is None else others[rows]], 1)
        q, k, v = (self._by_head(part) for part in (self.query(normal), *keys.chunk(2, -1)))
        bias = None if bias is None else bias.to(q)
        attend = _attention if self.training and x.device.type == "cpu" else F.scaled_dot_product_attention
        mixed = attend(q, k, v, bias)
        x = x + (1 + gate_in) * self._drop(self.out(mixed.transpose(1, 2).flatten(2)))
        normal = F.layer_norm(x, x.shape[-1:]) * (1 + scale_out) + shift_out
        return x + (1 + gate_out) * self._drop(self.down(F.gelu(self.up(normal))))

    def _modulation(self, condition: Tensor) -> tuple[Tensor, ...]:
        return self.modulate(F.silu(condition))[:, None].chunk(6, -1)

    def _drop(self, tokens: Tensor) -> Tensor:
        """In training, some channels of each item are left out, in all of its tokens: fewer random numbers."""
        return F.dropout1d(tokens.mT, DROPOUT, self.training).mT

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """As PyTorch's own, whose gradient on a CPU takes so long that training does two thirds of the steps."""
    weights = (q * q.shape[-1] ** -0.5) @ k.mT
    return (weights if bias is None else weights + bias).softmax(-1).to(v) @ v


class ChannelNorm(nn.Module):
    """Channels at zero mean and unit variance over a dataset; what these were is set by :meth:`fit`."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def fit(self, images: Tensor) -> None:
        """Take mean and deviation from ``[rows, channels, height, width]``."""
        self.mean.copy_(images.float().mean((0, 2, 3)))
        self.std.copy_(images.float().std((0, 2, 3)).clamp(min=1e-4))

    def forward(self, images: Tensor) -> Tensor:
        """``[rows, channels, height, width]``, normalised."""
        return (images - self.mean[:, None, None]) / self.std[:, None, None]


def order(words: int) -> Tensor:
    """Sines and cosines of each word's place in the prompt, ``[words, 2 * PLACES]``."""
    waves = torch.arange(words)[:, None] / 2.0 ** torch.arange(PLACES)
    return torch.cat([waves.sin(), waves.cos()], 1)


def places(height: int, width: int) -> Tensor:
    """Sines and cosines of where a grid's cells lie, ``[4 * PLACES, height, width]``; its longer side is 0 to 1."""
    longest = max(height, width)
    axes = [(torch.arange(side) + (longest - side) / 2 + 0.5) / longest for side in (height, width)]
    waves = torch.stack(torch.meshgrid(*axes, indexing="ij"))[:, None] * (
        math.pi * 2.0 ** torch.arange(PLACES)[:, None, None] / 2
    )
    return torch.cat([waves.sin(), waves.cos()], 1).flatten(0, 1)
