"""SDXL of the testbed: ComfyUI's own ``UNetModel`` under ``model_base.SDXL``, 64 and 128 channels.

Attention starts at the first level, where one image token is one latent pixel (16×16). What SDXL
calls adm (image sizes, pooled text) is an input as in SDXL and has no effect: its layers stay zero.
"""

import json
from typing import Any

import comfy.latent_formats
import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.ops
import comfy.supported_models
import torch

from .text import SDXL_TEXT as TEXT

LATENT_FORMAT = comfy.latent_formats.SDXL()
BATCH = 32
STEPS = 3600
RESTART = 1800
PEAK_RATE = 1.5e-3
MATRIX_RATE = 1e-2
WEIGHT_CAP = 50.0
"""Largest weight of a noise level in the loss."""

SDXL_FIXED = {
    "use_checkpoint": False,
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "use_spatial_transformer": True,
    "legacy": False,
    "num_classes": "sequential",
    "use_linear_in_transformer": True,
    "num_head_channels": 64,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
}
"""Configuration that SDXLs of any size share."""

CONFIG: dict[str, Any] = {
    **SDXL_FIXED,
    "model_channels": 64,
    "channel_mult": [1, 2],
    "num_res_blocks": [1, 1],
    "transformer_depth": [1, 3],
    "transformer_depth_middle": -2,  # no middle block: its parameters do more in the encoder
    "transformer_depth_output": [0, 1, 0, 1],
    "num_head_channels": 32,
    "context_dim": TEXT.width,
    "adm_in_channels": TEXT.pooled_width + 6 * 256,
}
CONFIG_KEY = "unet_config"
"""Key of the configuration in a file's metadata."""

METADATA = {CONFIG_KEY: json.dumps(CONFIG)}


def base_model(unet_config: dict[str, Any], dtype: torch.dtype, cast: torch.dtype | None = None) -> Any:
    """Build an SDXL of any size, weights unset. ComfyUI's detection knows only SDXL's own widths.

    Args:
        unet_config: arguments of ``UNetModel``.
        dtype: of the weights.
        cast: type that is computed in, if another.
    """
    config = comfy.supported_models.SDXL(dict(unet_config))
    config.unet_config.update(unet_config)  # it sets 64 channels per head by itself
    config.set_inference_dtype(dtype, cast)
    return config.get_model({}, "")


def load_model(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> comfy.model_patcher.ModelPatcher:
    """Load a MODEL from a shipped file and its metadata, in the dtypes that ComfyUI's loader would choose."""
    management = comfy.model_management
    device, supported = management.get_torch_device(), comfy.supported_models.SDXL.supported_inference_dtypes
    weight_dtype = next(iter(tensors.values())).dtype
    size = sum(value.numel() for value in tensors.values())
    dtype = management.unet_dtype(model_params=size, supported_dtypes=supported, weight_dtype=weight_dtype)
    model = base_model(json.loads(metadata[CONFIG_KEY]), dtype, management.unet_manual_cast(dtype, device, supported))
    model.diffusion_model.load_state_dict(tensors)
    offload = management.unet_offload_device()
    return comfy.model_patcher.CoreModelPatcher(model, load_device=device, offload_device=offload)


def new_model() -> openaimodel.UNetModel:
    """Build an untrained fp32 UNet; each block's last layer starts at zero, so every block starts as the identity."""
    model = openaimodel.UNetModel(dtype=torch.float32, operations=comfy.ops.disable_weight_init, **CONFIG)
    for name, layer in model.named_modules():
        kinds: tuple[Any, ...] = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm)
        for kind in kinds:
            if isinstance(layer, kind):
                kind.reset_parameters(layer)
        if name.endswith(("out_layers.3", "proj_out")) or name == "out.2":
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    for parameter in model.label_emb.parameters():
        torch.nn.init.zeros_(parameter).requires_grad_(False)
    return model


def _explicit_attention(
    _default: object, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, **kwargs: object
) -> torch.Tensor:
    """Compute attention with an explicit softmax, for 256 tokens twice as fast to differentiate as PyTorch's kernel.

    q, k, v: [B, T, heads·C] → [B, T, heads·C].
    """
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    weights = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1)
    return (weights.to(v) @ v).transpose(1, 2).flatten(2)


# Through ComfyUI's own hook, so that training runs its forward as it is.
TRAINING_OPTIONS = {"optimized_attention_override": _explicit_attention}


def diffusion_loss(
    model: openaimodel.UNetModel,
    latents: torch.Tensor,
    context: torch.Tensor,
    pooled: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Compute the squared error of SDXL's eps prediction at a uniform timestep, times 1 + σ² up to a cap.

    That weight makes it the error of v (Progressive Distillation, section 4), which is as large at
    high noise, where a scene is laid out, as at low noise. Without the cap, the first steps would be about
    repeating the input.

    Args:
        latents: [B, 4, H, W] as the model sees them (after ``process_latent_in``).
        context, pooled: the text, [B, T, C] and [B, C].
    """
    sampling = comfy.model_sampling.ModelSamplingDiscrete()
    timestep = torch.randint(0, sampling.num_timesteps, (len(latents),), generator=generator)
    sigma = sampling.sigmas[timestep].to(latents)[:, None, None, None]
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    mixed = (latents + sigma * noise) * (1 + sigma.square()).rsqrt()
    adm = torch.nn.functional.pad(pooled, (0, CONFIG["adm_in_channels"] - pooled.shape[1]))
    options = dict(TRAINING_OPTIONS)  # the UNet writes into it
    mixed = mixed.contiguous(memory_format=torch.channels_last)
    predicted = model(mixed, timestep.to(latents), context, adm, transformer_options=options)
    weight = (1 + sigma.square()).clamp(max=WEIGHT_CAP)
    return (weight * (predicted.float() - noise).square()).mean()
