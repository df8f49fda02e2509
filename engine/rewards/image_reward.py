"""Network of ImageReward: a BLIP whose text encoder attends to the image, and a linear head.

Xu et al., "ImageReward", arXiv 2304.05977. The modules are named as the tensors of the official
``ImageReward.pt``, so the file loads as it is; every size is read off its tensors. torch only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

HEAD_WIDTH = 64
PADDING_ID = 0
SCORE_MEAN, SCORE_STD = 0.16717362830052426, 1.0333394966054072
"""Mean and deviation of the raw score over the authors' own data: a score of 0 is their average image."""

UNUSED = ("blip.vision_proj.", "blip.text_proj.", "blip.text_encoder.embeddings.position_ids")
"""Tensors of the official file that scoring doesn't need: BLIP's contrastive heads and a range."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the network, read from the shapes of its tensors."""

    patch: int
    patches: int
    vision_width: int
    vision_layers: int
    vocabulary: int
    positions: int
    text_width: int
    text_layers: int

    @property
    def image(self) -> int:
        """Height and width of the input images in pixels."""
        return round(self.patches**0.5) * self.patch

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Sizes":
        """Read the sizes from the tensors of a file.

        Raises:
            KeyError: a tensor that has one of the sizes is missing.
        """
        vision, text = "blip.visual_encoder.", "blip.text_encoder."
        width, _, _, patch = tensors[vision + "patch_embed.proj.weight"].shape
        vocabulary, text_width = tensors[text + "embeddings.word_embeddings.weight"].shape
        return cls(
            patch=patch,
            patches=tensors[vision + "pos_embed"].shape[1] - 1,
            vision_width=width,
            vision_layers=sum(name.startswith(vision) and name.endswith(".attn.qkv.weight") for name in tensors),
            vocabulary=vocabulary,
            positions=tensors[text + "embeddings.position_embeddings.weight"].shape[0],
            text_width=text_width,
            text_layers=sum(name.startswith(text) and name.endswith(".intermediate.dense.weight") for name in tensors),
        )


OFFICIAL = Sizes(16, 196, 1024, 24, 30524, 512, 768, 12)


class ImageRewardNetwork(nn.Module):
    """Network from pixels and word ids to scores.

    Args:
        sizes: of the network.
        operations: module with Linear, LayerNorm, Conv2d and Embedding come from; ComfyUI's cast their
            weights to the input as they are used.
    """

    def __init__(self, sizes: Sizes, operations: Any = nn):
        super().__init__()
        self.sizes = sizes
        self.blip = nn.ModuleDict(
            {"visual_encoder": _VisionEncoder(sizes, operations), "text_encoder": _TextEncoder(sizes, operations)}
        )
        self.mlp = ScoreHead(sizes.text_width, operations)

    def forward(self, pixels: Tensor, ids: Tensor) -> Tensor:
        """Return scores ``[rows]``.

        Args:
            pixels: ``[rows, 3, size, size]``, normalised.
            ids: ``[rows, words]``, padded with ``PADDING_ID``.
        """
        image = self.blip["visual_encoder"](pixels)
        text = self.blip["text_encoder"](ids, image)
        return (self.mlp(text[:, 0]) - SCORE_MEAN) / SCORE_STD


class ScoreHead(nn.Module):
    """Linear head from an embedding to one number. LAION's aesthetic predictor has the same."""

    def __init__(self, width: int, operations: Any = nn):
        super().__init__()
        rows = {"0": (width, 1024), "2": (1024, 128), "4": (128, 64), "6": (64, 16), "7": (16, 1)}
        self.layers = nn.ModuleDict({name: operations.Linear(*row) for name, row in rows.items()})

    def forward(self, embedding: Tensor) -> Tensor:
        """Map ``[rows, width]`` to ``[rows]``."""
        for layer in self.layers.values():
            embedding = layer(embedding)
        return embedding.squeeze(-1)


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute attention of ``[rows, tokens, width]`` each; mask ``[rows, 1, 1, key tokens]``, True where keys count."""
    query, key, value = (x.unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2) for x in (query, key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)


class _VisionEncoder(nn.Module):
    def __init__(self, sizes: Sizes, ops: Any):
        super().__init__()
        width = sizes.vision_width
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, sizes.patches + 1, width))
        self.patch_embed = nn.ModuleDict({"proj": ops.Conv2d(3, width, sizes.patch, stride=sizes.patch)})
        self.blocks = nn.ModuleList([_VisionBlock(width, ops) for _ in range(sizes.vision_layers)])
        self.norm = ops.LayerNorm(width, eps=1e-6)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map ``[rows, 3, size, size]`` to ``[rows, 1 + patches, width]``."""
        x = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.to(x).expand(len(x), -1, -1), x], dim=1) + self.pos_embed.to(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class _VisionBlock(nn.Module):
    def __init__(self, width: int, ops: Any):
        super().__init__()
        self.norm1 = ops.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": ops.Linear(width, 3 * width), "proj": ops.Linear(width, width)})
        self.norm2 = ops.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": ops.Linear(width, 4 * width), "fc2": ops.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn["proj"](_attention(*self.attn["qkv"](self.norm1(x)).chunk(3, dim=-1)))
        return x + self.mlp["fc2"](gelu(self.mlp["fc1"](self.norm2(x))))


class _TextEncoder(nn.Module):
    def __init__(self, sizes: Sizes, ops: Any):
        super().__init__()
        width = sizes.text_width
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": ops.Embedding(sizes.vocabulary, width),
                "position_embeddings": ops.Embedding(sizes.positions, width),
                "LayerNorm": ops.LayerNorm(width, eps=1e-12),
            }
        )
        layers = [_TextLayer(width, sizes.vision_width, ops) for _ in range(sizes.text_layers)]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, ids: Tensor, image: Tensor) -> Tensor:
        """Map ``[rows, words]`` and ``[rows, tokens, vision width]`` to ``[rows, words, width]``."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        words = self.embeddings["word_embeddings"](ids).to(image)
        x = self.embeddings["LayerNorm"](words + self.embeddings["position_embeddings"](positions).to(image))
        mask = (ids != PADDING_ID)[:, None, None]
        layers: Any = self.encoder["layer"]
        for layer in layers:
            x = layer(x, mask, image)
        return x


class _TextLayer(nn.Module):
    def __init__(self, width: int, vision_width: int, ops: Any):
        super().__init__()
        self.attention = _TextAttention(width, width, ops)
        self.crossattention = _TextAttention(width, vision_width, ops)
        self.intermediate = nn.ModuleDict({"dense": ops.Linear(width, 4 * width)})
        self.output = _AddAndNorm(4 * width, width, ops)

    def forward(self, x: Tensor, mask: Tensor, image: Tensor) -> Tensor:
        x = self.attention(x, x, mask)
        x = self.crossattention(x, image)
        return self.output(gelu(self.intermediate["dense"](x)), x)


class _TextAttention(nn.Module):
    def __init__(self, width: int, context_width: int, ops: Any):
        super().__init__()
        sources = {"query": width, "key": context_width, "value": context_width}
        self.self = nn.ModuleDict({name: ops.Linear(source, width) for name, source in sources.items()})
        self.output = _AddAndNorm(width, width, ops)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        query, key, value = self.self["query"](x), self.self["key"](context), self.self["value"](context)
        return self.output(_attention(query, key, value, mask), x)


class _AddAndNorm(nn.Module):
    def __init__(self, source: int, width: int, ops: Any):
        super().__init__()
        self.dense = ops.Linear(source, width)
        self.LayerNorm = ops.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(x) + residual)
