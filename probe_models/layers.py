"""Layers of the trained networks: convolutions and attention conditioned on the noise level, and positions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONDITION = 128
"""Channels of the condition that scales and shifts layers."""

GROUPS = 8
"""Number of groups in group norms."""

FREQUENCIES = 16
"""Number of frequencies in the embedding of a noise level."""

WAVES = 8
"""Number of frequencies in the embedding of one coordinate of a position."""


class ResidualLayer(nn.Module):
    """Two convolutions with a residual connection around them; the condition scales and shifts between them."""

    def __init__(self, width: int):
        super().__init__()
        self.norm_in, self.norm_out = nn.GroupNorm(GROUPS, width), nn.GroupNorm(GROUPS, width)
        self.conv_in, self.conv_out = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.modulate = nn.Linear(CONDITION, 2 * width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Compute ``[items, width, h, w]``, ``[items, CONDITION]`` → ``[items, width, h, w]``."""
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
        context: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Let tokens attend to each other and to those of a context, ``[items, tokens, width]``.

        Args:
            x: ``[items, tokens, width]``.
            condition: ``[items, CONDITION]``.
            present: bool ``[items, tokens]``, the tokens that are attended to; None: all.
            context: ``[rows, others, width]``, tokens that don't change; equally many items share each row's.
            bias: addend to the logits of the attention to the context, ``[items, heads, tokens, others]``.
        """
        shift_in, scale_in, gate_in, shift_out, scale_out, gate_out = self._modulation(condition)
        normal = F.layer_norm(x, x.shape[-1:]) * (1 + scale_in) + shift_in
        query, keys = self.query(normal), self.keys(normal)
        mask = None
        if present is not None:
            mask = torch.zeros_like(present, dtype=query.dtype).masked_fill(~present, -math.inf)
        if context is None:
            mixed = self._self_attention(query, keys, mask)
        else:
            others = self.keys(F.layer_norm(context, context.shape[-1:]))
            mixed = self._joint_attention(query, keys, others, mask, bias)
        x = x + (1 + gate_in) * self.out(mixed)
        normal = F.layer_norm(x, x.shape[-1:]) * (1 + scale_out) + shift_out
        return x + (1 + gate_out) * self.down(F.gelu(self.up(normal)))

    def _modulation(self, condition: Tensor) -> tuple[Tensor, ...]:
        return self.modulate(F.silu(condition))[:, None].chunk(6, -1)

    def _self_attention(self, query: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        """Let the tokens of each item attend to each other."""
        q, k, v = (self._by_head(tokens) for tokens in (query, *keys.chunk(2, -1)))
        mask = None if mask is None else mask[:, None, None]
        if self.training and q.device.type == "cpu":
            # PyTorch's own attention has a gradient so slow on CPUs that it alone would take half of the training.
            weights = q * q.shape[-1] ** -0.5 @ k.mT
            mixed = (weights if mask is None else weights + mask).softmax(-1).to(v) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, mask)
        return mixed.transpose(1, 2).flatten(2)

    def _joint_attention(
        self, query: Tensor, keys: Tensor, others: Tensor, mask: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        """Let tokens attend to their own item and to its row's context, with one softmax over both."""
        rows, tokens = len(others), query.shape[1]
        by_head = (self._by_head(each) for each in (query, *keys.chunk(2, -1)))
        # [rows, heads, items of the row, tokens, channels]
        q, k, v = (each.unflatten(0, (rows, -1)).transpose(1, 2) for each in by_head)
        q = q * q.shape[-1] ** -0.5
        other_k, other_v = (self._by_head(each) for each in others.chunk(2, -1))
        own = q @ k.mT
        if mask is not None:
            own = own + mask.unflatten(0, (rows, -1))[:, None, :, None]
        outside = (q.flatten(2, 3) @ other_k.mT).unflatten(2, (-1, tokens))
        if bias is not None:
            outside = outside + bias.to(outside).unflatten(0, (rows, -1)).transpose(1, 2)
        weights = torch.cat([own, outside], -1).softmax(-1).to(v)
        own, outside = weights.split([tokens, others.shape[1]], -1)
        mixed = own @ v + (outside.flatten(2, 3) @ other_v).unflatten(2, (-1, tokens))
        return mixed.transpose(1, 2).flatten(0, 1).transpose(1, 2).flatten(2)

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class RelativePositions(nn.Module):
    """Attention of each word to the image positions of the words before and after it.

    "Above" relates two positions: what stands before it is higher in the image than what stands behind. Each word's
    token is multiplied with the positions, so that layers need not find out that much.

    Args:
        width: of a token.
        positions: number of coordinates of a word's position in the image.
        heads: an even number; half of them attend to words before, half to words after.

    Raises:
        ValueError: the number of heads is odd.
    """

    def __init__(self, width: int, positions: int, heads: int):
        super().__init__()
        if heads % 2:
            raise ValueError(
                f"{heads} attention heads: give an even number, half for words before and half for those behind"
            )
        self.heads, self.positions = heads, positions
        self.look = nn.Linear(width, 2 * width)
        self.meant, self.distance = nn.Linear(width, width), nn.Linear((1 + heads) * positions, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, words: Tensor, positions: Tensor, present: Tensor) -> Tensor:
        """Compute what is added to the tokens of words, ``[items, words, width]``.

        Args:
            words: ``[items, words, width]``.
            positions: of each word in the image, ``[items, words, positions]``.
            present: bool ``[items, words]``.
        """
        normal = F.layer_norm(words, words.shape[-1:])
        q, k = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in self.look(normal).chunk(2, -1))
        number = torch.arange(words.shape[1], device=words.device)
        before = number[:, None] > number
        allowed = torch.stack([before, before.mT]).repeat_interleave(self.heads // 2, 0) & present[:, None, None]
        logits = (q * q.shape[-1] ** -0.5 @ k.mT).float().masked_fill(~allowed, -1e4)
        others = (logits.softmax(-1) * allowed).to(positions) @ positions[:, None]
        known = torch.cat([positions[:, None], others], 1).transpose(1, 2).flatten(2)
        return self.out(self.meant(normal) * self.distance(known))


def averaged_to(images: Tensor, longest: int) -> Tensor:
    """Average images ``[..., h, w]`` to a grid whose longer side has so many cells; smaller ones are unchanged."""
    longer = max(images.shape[-2:])
    if longer <= longest:
        return images
    height, width = (-(-side * longest // longer) for side in images.shape[-2:])
    return F.adaptive_avg_pool2d(images.flatten(0, -4), (height, width)).unflatten(0, images.shape[:-3])


def noise_embedding(percent: Tensor) -> Tensor:
    """Encode noise levels ``[rows]``, 0 to 1, as sines and cosines from half a wave on, ``[rows, 2 * FREQUENCIES]``."""
    frequencies = math.pi * torch.logspace(0, 6, FREQUENCIES, base=2, device=percent.device)
    angles = percent[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)


def word_order(words: int) -> Tensor:
    """Encode each word's position in the prompt as sines and cosines, ``[words, 2 * WAVES]``."""
    angles = torch.arange(words)[:, None] / 2.0 ** torch.arange(WAVES)
    return torch.cat([angles.sin(), angles.cos()], 1)


def cell_positions(height: int, width: int) -> Tensor:
    """Encode the positions of a grid's cells as sines and cosines, ``[4 * WAVES, height, width]``.

    The longer side goes from 0 to 1.
    """
    longest = max(height, width)
    axes = [(torch.arange(side) + (longest - side) / 2 + 0.5) / longest for side in (height, width)]
    angles = torch.stack(torch.meshgrid(*axes, indexing="ij"))[:, None] * (
        math.pi * 2.0 ** torch.arange(WAVES)[:, None, None] / 2
    )
    return torch.cat([angles.sin(), angles.cos()], 1).flatten(0, 1)
