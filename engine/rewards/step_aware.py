"""Step-Aware Preference Model (Liang et al., "SPO", arXiv 2406.04314): a PickScore that knows the noise level.

A CLIP whose image tower is modulated by the timestep, so that it scores finished images and also
the x0 predictions of a UNet's first steps. Its tensors have the names of transformers' CLIP, after ``model.``.
"""

import copy
from typing import Any

import comfy.clip_model
import torch
from comfy.ldm.modules.attention import optimized_attention_for_device
from torch import Tensor, nn
from torch.nn.functional import normalize

from .clip import ClipSimilarity
from .reward_model import RewardModel

LAST_TIMESTEP = 999
"""Timestep of pure noise. ComfyUI's fraction of the noise range of a UNet, ``Features.percent``, is linear in it."""
FREQUENCIES = 128
"""Number of sines, and of cosines, that a timestep is embedded by."""
SLOWEST = 10000.0
"""Ratio of the fastest frequency to the slowest, but for one step."""


class StepAwareReward(RewardModel):
    """Reward of finished images and, by :meth:`at`, of previews at any noise level of a UNet.

    Its authors publish no figure of how well it ranks the seeds of one prompt, and none was measured here.
    """

    preview_families = frozenset({"SD1.5", "SDXL"})
    previews_skilled = False
    timestep = 0

    def at(self, family: str, percent: float) -> "StepAwareReward":
        """Return the reward for previews at a noise level; see :meth:`Reward.at`."""
        preview = copy.copy(self)
        preview.timestep = round((1 - percent) * LAST_TIMESTEP)
        return preview

    @torch.no_grad()
    def score_in_place(self, images: Tensor, prompts: list[str]) -> Tensor:
        """Score images as :meth:`RewardModel.score_in_place`, as those of the noise level of :meth:`at`."""
        return self._scores(images, prompts, torch.full((len(images),), self.timestep))


class StepAwareNetwork(ClipSimilarity):
    """Scaled cosine between the embeddings of an image at a noise level and of a text.

    Arguments as for :class:`ClipSimilarity`.
    """

    def __init__(self, vision: dict[str, Any], text: dict[str, Any], operations: Any):
        super().__init__(vision, text, operations)
        width = vision["hidden_size"]
        self.vision.vision_model = _ModulatedVision(vision, operations)
        self.t_embedder = nn.ModuleDict(
            {
                "mlp": nn.Sequential(
                    operations.Linear(2 * FREQUENCIES, width), nn.SiLU(), operations.Linear(width, width)
                )
            }
        )

    def forward(self, pixels: Tensor, ids: Tensor, timesteps: Tensor | None = None) -> Tensor:
        """Return the scores ``[rows]`` of pixels ``[rows, 3, size, size]`` that were predicted at these timesteps.

        Args:
            pixels: normalised.
            ids: word ids ``[rows, 77]``.
            timesteps: ``[rows]``, 0 for finished images, 999 for pure noise; None: finished images.
        """
        if timesteps is None:
            timesteps = torch.zeros(len(pixels), device=pixels.device)
        time = self.t_embedder["mlp"](_waves(timesteps).to(pixels))
        image = self.vision.visual_projection(self.vision.vision_model(pixels, time))
        cosines = (normalize(image, dim=-1) * normalize(self.text(ids)[2], dim=-1)).sum(-1)
        return self.logit_scale.to(pixels).exp() * cosines


def _waves(timesteps: Tensor) -> Tensor:
    """Return cosines, then sines, of timesteps ``[rows]`` at 128 frequencies, ``[rows, 256]`` float32."""
    powers = torch.arange(FREQUENCIES, device=timesteps.device) / FREQUENCIES
    angles = timesteps[:, None].float() * SLOWEST**-powers
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class _ModulatedVision(comfy.clip_model.CLIPVision):
    """Image tower from pixels to pooled features, whose layers and output depend on a time embedding."""

    def __init__(self, config: dict[str, Any], operations: Any):
        super().__init__(config, torch.float32, None, operations)
        width = config["hidden_size"]
        sizes = (width, config["num_attention_heads"], config["intermediate_size"], config["hidden_act"])
        layers = (_ModulatedLayer(*sizes, torch.float32, None, operations) for _ in self.encoder.layers)
        self.encoder.layers = nn.ModuleList(layers)
        self.adaLN_modulation = _modulation(width, 2, operations)

    def forward(self, pixels: Tensor, time: Tensor) -> Tensor:
        """Return features ``[rows, width]`` of pixels, by a time embedding ``[rows, width]``."""
        attention = optimized_attention_for_device(pixels.device, mask=False, small_input=True)
        tokens = self.pre_layrnorm(self.embeddings(pixels))
        for layer in self.encoder.layers:
            tokens = layer(tokens, time, attention)
        shift, scale = self.adaLN_modulation(time).chunk(2, dim=-1)
        return self.post_layernorm(tokens[:, 0]) * (1 + scale) + shift


class _ModulatedLayer(comfy.clip_model.CLIPLayer):
    def __init__(self, width: int, heads: int, inner: int, activation: str, dtype: Any, device: Any, operations: Any):
        super().__init__(width, heads, inner, activation, dtype, device, operations)
        self.adaLN_modulation = _modulation(width, 6, operations)

    def forward(self, tokens: Tensor, time: Tensor, attention: Any) -> Tensor:
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.adaLN_modulation(time)[:, None].chunk(6, dim=-1)
        normed = self.layer_norm1(tokens) * (1 + scale) + shift
        tokens = tokens + gate * self.self_attn(normed, None, attention)
        normed = self.layer_norm2(tokens) * (1 + mlp_scale) + mlp_shift
        return tokens + mlp_gate * self.mlp(normed)


def _modulation(width: int, values: int, operations: Any) -> nn.Sequential:
    return nn.Sequential(nn.SiLU(), operations.Linear(width, values * width))
