"""Models at their real dimensions, whose weights have shapes and no values."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ldm.models.autoencoder
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models
import torch
from comfy.ldm.flux.controlnet import ControlNetFlux
from comfy.model_base import ModelType
from comfy.taesd.taesd import TAESD
from safetensors.torch import save_file
from torch import Tensor, nn

from ...engine.rewards.catalog import OPERATIONS
from ...engine.rewards.image_reward import OFFICIAL, ImageRewardNetwork
from ...engine.rewards.pixels import centre_crop
from ...engine.rewards.reward_model import RewardModel
from ...testbed.sdxl import SDXL_FIXED
from ..random_models import FLUX_DEV, SDXL_BASE, random_conditioning
from .tensors import VirtualTensor

FLUX_CONFIG = {
    **FLUX_DEV, "image_model": "flux", "in_channels": 16, "out_channels": 16, "patch_size": 2, "mlp_ratio": 4.0,
    "num_heads": 24, "axes_dim": [16, 56, 56], "theta": 10000, "qkv_bias": True, "guidance_embed": True,
    "txt_ids_dims": [],
}  # fmt: skip
FEW_BLOCKS = {
    "FLUX": {"depth": 2, "depth_single_blocks": 4},
    "SDXL": {"transformer_depth": [0, 0, 1, 1, 1, 1], "transformer_depth_middle": 1,
             "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1]},
}  # fmt: skip
VAE_CONFIG = {
    "double_z": True, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip
WORDS = 35
"""Word ids of a prompt in ImageReward."""

MODELS: dict[str, tuple[str, torch.dtype]] = {
    "FLUX.1-dev bf16": ("FLUX", torch.bfloat16),
    "FLUX.1-dev fp8": ("FLUX", torch.float8_e4m3fn),
    "SDXL fp16": ("SDXL", torch.float16),
    "SDXL fp8": ("SDXL", torch.float8_e4m3fn),
}
"""Family and type of the weights by the name of the model."""


@dataclass(frozen=True)
class Subject:
    """A model, and what is commonly sampled with it at 1024².

    Attributes:
        model: a MODEL (``ModelPatcher``).
        positive, negative: CONDITIONING.
        cfg: of the sampler; 1 for a model with guidance of its own.
        latent: shape of one row.
    """

    model: Any
    positive: list
    negative: list
    cfg: float
    latent: tuple[int, int, int]

    def vae(self) -> Any:
        """Build the VAE of the model's family."""
        channels = self.latent[0]
        config = {"ddconfig": {**VAE_CONFIG, "z_channels": channels, "double_z": True}, "embed_dim": channels}
        return _vae(config, channels)


@lru_cache(maxsize=1)
def build(name: str, few_blocks: bool = False, controlled: bool = False) -> Subject:
    """Build a model of :data:`MODELS`; the last one that was built is returned again.

    Args:
        few_blocks: leave out most of its blocks.
        controlled: put a ControlNet on the positive conditioning.
    """
    family, dtype = MODELS[name]
    subject = (_flux if family == "FLUX" else _sdxl)(dtype, FEW_BLOCKS[family] if few_blocks else {})
    if controlled:
        net = _flux_controlnet(dtype) if family == "FLUX" else _sdxl_controlnet(dtype)
        net.set_cond_hint(torch.zeros(1, 3, 1024, 1024))
        subject.positive[0][1].update(control=net, control_apply_to_uncond=True)
    return subject


def _flux(dtype: torch.dtype, changes: dict[str, Any]) -> Subject:
    config = comfy.supported_models.Flux({**FLUX_CONFIG, **changes})
    config.set_inference_dtype(dtype, torch.bfloat16)
    positive, negative = (random_conditioning(seed, tokens=256, context=4096, pooled=768) for seed in (1, 2))
    positive[0][1]["guidance"] = 3.5
    return Subject(_patcher(config, ModelType.FLUX, dtype), positive, negative, 1.0, (16, 128, 128))


def _sdxl(dtype: torch.dtype, changes: dict[str, Any]) -> Subject:
    config = comfy.supported_models.SDXL({**SDXL_FIXED, **SDXL_BASE, **changes})
    config.set_inference_dtype(dtype, None if dtype == torch.float16 else torch.float16)
    positive, negative = (random_conditioning(seed, tokens=77, context=2048, pooled=1280) for seed in (1, 2))
    return Subject(_patcher(config, ModelType.EPS, dtype), positive, negative, 7.0, (4, 128, 128))


def _patcher(config: Any, kind: ModelType, dtype: torch.dtype) -> Any:
    with torch.device("meta"):
        model = config.get_model({}, "")
    model.model_sampling = comfy.model_base.model_sampling(config, kind)  # its tables need their values
    without_values(model.diffusion_model, dtype)
    return comfy.model_patcher.ModelPatcher(
        model.eval(),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def _flux_controlnet(dtype: torch.dtype) -> Any:
    config = {**FLUX_CONFIG, "depth": 5, "depth_single_blocks": 10}
    with torch.device("meta"):
        network = ControlNetFlux(dtype=dtype, operations=comfy.ops.manual_cast, **config)
    return _controlnet(network, dtype, torch.bfloat16, ["y", "guidance"])


def _sdxl_controlnet(dtype: torch.dtype) -> Any:
    config = {**SDXL_FIXED, **SDXL_BASE, "hint_channels": 3, "transformer_depth": SDXL_BASE["transformer_depth"].copy()}
    for name in ("out_channels", "transformer_depth_output"):
        config.pop(name, None)
    with torch.device("meta"):
        network = comfy.cldm.cldm.ControlNet(dtype=dtype, operations=comfy.ops.manual_cast, **config)
    return _controlnet(network, dtype, torch.float16, ["y"])


def _controlnet(network: nn.Module, dtype: torch.dtype, cast: torch.dtype, extra: list[str]) -> Any:
    without_values(network, dtype)
    device = comfy.model_management.get_torch_device()
    return comfy.controlnet.ControlNet(network, load_device=device, manual_cast_dtype=cast, extra_conds=extra)


def _vae(config: dict[str, Any], channels: int) -> Any:
    with torch.device("meta"):
        vae = comfy.sd.VAE(sd={}, config={"params": config})
    vae.latent_channels = channels
    without_values(vae.first_stage_model, vae.vae_dtype)
    return vae


@cache
def small_decoder_file(channels: int) -> str:
    """Write a small decoder with random weights for latents of so many channels; return its path."""
    path = Path(tempfile.mkdtemp()) / f"taesd_decoder_{channels}.safetensors"
    weights = TAESD(latent_channels=channels).taesd_decoder.state_dict()
    save_file({name: torch.zeros_like(weight) for name, weight in weights.items()}, path)
    return str(path)


class SameWords:
    """Tokenizer that reads the same words in every prompt."""

    most = WORDS

    def __call__(self, prompts: list[str]) -> Tensor:
        """Return ones as the ids."""
        return torch.ones(len(prompts), WORDS, dtype=torch.long)

    def count(self, prompt: str) -> int:
        """Return the number of ids."""
        return WORDS

    def knows(self, prompt: str) -> bool:
        """Return True."""
        return True


def image_reward() -> RewardModel:
    """Build ImageReward."""
    with torch.device("meta"):
        network = ImageRewardNetwork(OFFICIAL, OPERATIONS)
    without_values(network, torch.float16)
    return RewardModel("ImageReward", network, OFFICIAL.image, centre_crop, SameWords())


def without_values(module: nn.Module, dtype: torch.dtype) -> None:
    """Put weights on the host that have a shape and no values in the place of all weights of a module."""
    host = torch.device("cpu")
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                kept = dtype if weight.dtype.is_floating_point else weight.dtype
                empty = torch.empty(weight.shape, dtype=kept, device="meta")
                part._parameters[name] = nn.Parameter(VirtualTensor(empty, host), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.is_meta:
                part._buffers[name] = VirtualTensor(buffer, host)
