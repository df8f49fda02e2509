"""Step-Aware Preference Model (Liang et al., "SPO", arXiv 2406.04314): a PickScore that knows the noise level.

A CLIP whose image tower is modulated by the timestep, so that it scores the x0 predictions of the first steps of a
UNet as well as finished images. Its tensors have the names of transformers' CLIP, after ``model.``.
"""

from typing import Any

import comfy.clip_model
import numpy as np
import torch
from comfy.ldm.modules.attention import optimized_attention_for_device
from torch import Tensor, nn
from torch.nn.functional import normalize

from .clip import ClipSimilarity
from .reward_model import RewardModel

TIMESTEPS = 1000
FREQUENCIES = 128
"""Number of sines, and of cosines, that a timestep is embedded by."""
SLOWEST = 10000.0
"""Ratio of the fastest frequency to the slowest, but for one step."""


class StepAwareReward(RewardModel):
    """Reward of finished images and of previews at any noise level of a UNet.

    Its authors publish no figure of how well it ranks the seeds of one prompt, and none was measured here.
    """

    preview_families = frozenset({"SD1.5", "SDXL"})
    previews_skilled = False

    @torch.no_grad()
    def score(self, images: Tensor, prompts: list[str]) -> Tensor:
        """Score finished images as :meth:`RewardModel.score`, at timestep 0."""
        return self._scores(images, prompts, torch.zeros(len(images)))

    @torch.no_grad()
    def score_previews(self, images: Tensor, prompts: list[str], sigmas: list[float]) -> Tensor:
        """Score x0 predictions at their noise levels; see :meth:`Reward.score_previews`."""
        return self._scores(images, prompts, torch.tensor([timestep_of(sigma) for sigma in sigmas]))


def timestep_of(sigma: float) -> int:
    """Return the timestep 0 … 999 of SD1.5 and SDXL whose noise level is nearest to a sigma.

    Args:
        sigma: standard deviation of the noise beside a latent of unit scale, as ComfyUI's UNets have it; 0 or more.
    """
    if sigma <= 0:
        return 0
    return int(np.abs(np.log(_sigmas()) - np.log(sigma)).argmin())


def _sigmas() -> np.ndarray:
    """Return the noise levels of the timesteps, ``[1000]``: betas whose roots are equally spaced."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS) ** 2
    kept = np.cumprod(1 - betas)
    return np.sqrt((1 - kept) / kept)


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

    def forward(self, pixels: Tensor, ids: Tensor, timesteps: Tensor) -> Tensor:
        """Return the scores ``[rows]`` of pixels ``[rows, 3, size, size]`` that were predicted at these timesteps.

        Args:
            pixels: normalised.
            ids: word ids ``[rows, 77]``.
            timesteps: ``[rows]``, 0 for finished images, 999 for pure noise.
        """
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
