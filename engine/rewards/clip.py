"""Rewards built on CLIP, with ComfyUI's own towers in the sizes and layout of a file.

A file may have the layout of transformers (``text_model.…``, ``vision_model.…``) or that of
OpenAI's CLIP and open_clip (``transformer.resblocks.…``, ``visual.…``).
"""

from typing import Any

import comfy.clip_model
import comfy.clip_vision
import comfy.utils
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from .image_reward import ScoreHead

END_OF_TEXT = 49407
VISION, TEXT = "vision.", "text."

QUICK_GELU = "quick_gelu"
"""Activation that OpenAI trained with. It is not stored in a file, and with another one scores are wrong."""
GELU = "gelu"


def towers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a file of either layout, under the names of the networks below.

    Older files of transformers also hold the ranges ``position_ids``, which nothing needs. Names in the file of a
    Step-Aware Preference Model begin with ``model.``.
    """
    tensors = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    if "visual.conv1.weight" in tensors:
        tensors = comfy.clip_vision.convert_to_transformers(tensors, "visual.")
        tensors = comfy.utils.clip_text_transformers_convert(tensors, "", "")
    prefixes = {"vision_model": VISION, "visual_projection": VISION, "text_model": TEXT, "text_projection": TEXT}
    return {
        prefixes.get(name.split(".")[0], "") + name: tensor
        for name, tensor in tensors.items()
        if not name.endswith(".position_ids")
    }


def vision_config(tensors: dict[str, Tensor], activation: str) -> dict[str, Any]:
    """Return the configuration of ComfyUI's image tower.

    Raises:
        KeyError: a tensor that has one of the sizes is missing.
    """
    width, channels, _, patch = tensors["vision.vision_model.embeddings.patch_embedding.weight"].shape
    patches = tensors["vision.vision_model.embeddings.position_embedding.weight"].shape[0] - 1
    return {
        "model_type": "clip_vision_model",
        "hidden_size": width,
        "num_attention_heads": width // (80 if width == 1280 else 64),  # ViT-H has heads of 80
        "num_hidden_layers": _layers(tensors, VISION),
        "intermediate_size": tensors["vision.vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        "hidden_act": activation,
        "num_channels": channels,
        "patch_size": patch,
        "image_size": round(patches**0.5) * patch,
        "projection_dim": tensors["vision.visual_projection.weight"].shape[0],
    }


def text_config(tensors: dict[str, Tensor], activation: str) -> dict[str, Any]:
    """Return the configuration of ComfyUI's text tower.

    Raises:
        KeyError: a tensor that has one of the sizes is missing.
    """
    width = tensors["text.text_model.embeddings.token_embedding.weight"].shape[1]
    return {
        "hidden_size": width,
        "num_attention_heads": width // 64,
        "num_hidden_layers": _layers(tensors, TEXT),
        "intermediate_size": tensors["text.text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        "hidden_act": activation,
        "max_position_embeddings": tensors["text.text_model.embeddings.position_embedding.weight"].shape[0],
        "eos_token_id": END_OF_TEXT,
    }


def _layers(tensors: dict[str, Tensor], tower: str) -> int:
    return sum(name.startswith(tower) and name.endswith(".layer_norm1.weight") for name in tensors)


class ClipImages(nn.Module):
    """Image tower from pixels to embeddings of length 1."""

    def __init__(self, config: dict[str, Any], operations: Any):
        super().__init__()
        self.image_size = config["image_size"]
        self.vision = comfy.clip_model.CLIPVisionModelProjection(config, torch.float32, None, operations)

    def embed(self, pixels: Tensor) -> Tensor:
        """Compute the embeddings ``[rows, width]`` of pixels ``[rows, 3, size, size]``."""
        return normalize(self.vision(pixel_values=pixels)[2], dim=-1)


class ClipSimilarity(ClipImages):
    """Cosine between the embeddings of image and text."""

    def __init__(self, vision: dict[str, Any], text: dict[str, Any], operations: Any):
        super().__init__(vision, operations)
        self.text = comfy.clip_model.CLIPTextModel(text, torch.float32, None, operations)
        self.logit_scale = nn.Parameter(torch.empty(()))

    def forward(self, pixels: Tensor, ids: Tensor) -> Tensor:
        """Return the cosines ``[rows]`` of pixels ``[rows, 3, size, size]`` and word ids ``[rows, 77]``."""
        return (self.embed(pixels) * normalize(self.text(ids)[2], dim=-1)).sum(-1)


class ClipScore(ClipSimilarity):
    """CLIPScore (Hessel et al., arXiv 2104.08718) as a percentage: 100 · max(cos, 0)."""

    def forward(self, pixels: Tensor, ids: Tensor) -> Tensor:
        """Return the scores ``[rows]``; arguments as for :meth:`ClipSimilarity.forward`."""
        return 100 * super().forward(pixels, ids).clamp(min=0)


class PickScore(ClipSimilarity):
    """PickScore (Kirstain et al., arXiv 2305.01569): the cosine times the learned scale, about 100."""

    def forward(self, pixels: Tensor, ids: Tensor) -> Tensor:
        """Return the scores ``[rows]``; arguments as for :meth:`ClipSimilarity.forward`."""
        return self.logit_scale.to(pixels).exp() * super().forward(pixels, ids)


class Aesthetic(ClipImages):
    """LAION's aesthetic predictor v2: a linear head on CLIP's image embedding. Doesn't read the prompt."""

    def __init__(self, vision: dict[str, Any], operations: Any):
        super().__init__(vision, operations)
        self.head = ScoreHead(vision["projection_dim"], operations)

    def forward(self, pixels: Tensor, ids: Tensor) -> Tensor:
        """Return the scores ``[rows]``, about 1 … 10, of pixels ``[rows, 3, size, size]``."""
        return self.head(self.embed(pixels))
