"""What learned networks are made of: convolutions and attention scaled by the noise level, and where things lie."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONDITION = 128
"""Channels of what scales and shifts."""

GROUPS = 8
FREQUENCIES = 16
"""Of the noise level."""

PLACES = 8
"""Frequencies of each coordinate."""


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


class AttentionLayer(nn.Module):
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
        present: Tensor | None = None,
        beside: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Tokens that look at each other, and at those beside them.

        Args:
            x: ``[items, tokens, width]``.
            condition: ``[items, CONDITION]``.
            present: bool ``[items, tokens]``, those that may be looked at; None: all.
            beside: ``[rows, others, width]``, which stay as they are; each row's are those of equally many items.
            bias: of the attention to those beside, ``[items, heads, tokens, others]``.
        """
        shift_in, scale_in, gate_in, shift_out, scale_out, gate_out = self._modulation(condition)
        normal = F.layer_norm(x, x.shape[-1:]) * (1 + scale_in) + shift_in
        query, keys = self.query(normal), self.keys(normal)
        mask = (
            None if present is None else torch.zeros_like(present, dtype=query.dtype).masked_fill(~present, -math.inf)
        )
        if beside is None:
            mixed = self._among(query, keys, mask)
        else:
            others = self.keys(F.layer_norm(beside, beside.shape[-1:]))
            mixed = self._beside(query, keys, others, mask, bias)
        x = x + (1 + gate_in) * self.out(mixed)
        normal = F.layer_norm(x, x.shape[-1:]) * (1 + scale_out) + shift_out
        return x + (1 + gate_out) * self.down(F.gelu(self.up(normal)))

    def _modulation(self, condition: Tensor) -> tuple[Tensor, ...]:
        return self.modulate(F.silu(condition))[:, None].chunk(6, -1)

    def _among(self, query: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """Attention within each item."""
        q, k, v = (self._by_head(part) for part in (query, *keys.chunk(2, -1)))
        mask = None if mask is None else mask[:, None, None]
        if self.training and q.device.type == "cpu":
            # PyTorch's own attention has a gradient so slow on CPUs that it alone would take half of the training.
            weights = q * q.shape[-1] ** -0.5 @ k.mT
            mixed = (weights if mask is None else weights + mask).softmax(-1).to(v) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, mask)
        return mixed.transpose(1, 2).flatten(2)

    def _beside(self, query: Tensor, keys: Tensor, others: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
        """One softmax over an item's own tokens and those beside it, which the items of a row share."""
        rows, tokens = len(others), query.shape[1]
        # [rows, heads, items of the row, tokens, channels]
        q, k, v = (self._by_head(part).unflatten(0, (rows, -1)).transpose(1, 2) for part in (query, *keys.chunk(2, -1)))
        q = q * q.shape[-1] ** -0.5
        other_k, other_v = (self._by_head(part) for part in others.chunk(2, -1))
        own = q @ k.mT
        if mask is not None:
            own = own + mask.unflatten(0, (rows, -1))[:, None, :, None]
        there = (q.flatten(2, 3) @ other_k.mT).unflatten(2, (-1, tokens))
        if bias is not None:
            there = there + bias.to(there).unflatten(0, (rows, -1)).transpose(1, 2)
        weights = torch.cat([own, there], -1).softmax(-1).to(v)
        own, there = weights.split([tokens, others.shape[1]], -1)
        mixed = own @ v + (there.flatten(2, 3) @ other_v).unflatten(2, (-1, tokens))
        return mixed.transpose(1, 2).flatten(0, 1).transpose(1, 2).flatten(2)

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Apart(nn.Module):
    """What words make of where those before and behind them lie in the image.

    "Above" says something of two places: what stands before it lies higher than what stands behind. Each word
    multiplies what it means with places, so that this much need not be found out by layers.

    Args:
        width: of a token.
        places: numbers that say where a word lies.
        heads: an even number; half of them look at words before, half at words behind.

    Raises:
        ValueError: the number is odd.
    """

    def __init__(self, width: int, places: int, heads: int):
        super().__init__()
        if heads % 2:
            raise ValueError(
                f"{heads} attention heads: give an even number, half for words before and half for those behind"
            )
        self.heads, self.places = heads, places
        self.look = nn.Linear(width, 2 * width)
        self.meant, self.distance = nn.Linear(width, width), nn.Linear((1 + heads) * places, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, words: Tensor, places: Tensor, present: Tensor) -> Tensor:
        """What is added to words.

        Args:
            words: ``[items, words, width]``.
            places: where each lies, ``[items, words, places]``.
            present: bool ``[items, words]``.
        """
        normal = F.layer_norm(words, words.shape[-1:])
        q, k = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in self.look(normal).chunk(2, -1))
        number = torch.arange(words.shape[1], device=words.device)
        before = number[:, None] > number
        allowed = torch.stack([before, before.mT]).repeat_interleave(self.heads // 2, 0) & present[:, None, None]
        logits = (q * q.shape[-1] ** -0.5 @ k.mT).float().masked_fill(~allowed, -1e4)
        there = (logits.softmax(-1) * allowed).to(places) @ places[:, None]
        known = torch.cat([places[:, None], there], 1).transpose(1, 2).flatten(2)
        return self.out(self.meant(normal) * self.distance(known))


def noise_embedding(percent: Tensor) -> Tensor:
    """Sines and cosines of the noise level ``[rows]`` (0 to 1), ``[rows, 2 * FREQUENCIES]``; from half a wave on."""
    frequencies = math.pi * torch.logspace(0, 6, FREQUENCIES, base=2, device=percent.device)
    angles = percent[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)


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
