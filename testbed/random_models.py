"""Models of the real architectures with random weights, for tests and for measuring cost.

Built through ComfyUI's own detection and loading, from the shapes of a state dict alone.
"""

from typing import Any

import comfy.ldm.flux.model
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import torch

from .sdxl import SDXL_FIXED, base_model

FLUX_DEV = {"hidden_size": 3072, "depth": 19, "depth_single_blocks": 38, "context_in_dim": 4096, "vec_in_dim": 768}
"""The dimensions of FLUX.1-dev."""

SMALL_FLUX = {"hidden_size": 256, "depth": 2, "depth_single_blocks": 4, "context_in_dim": 32, "vec_in_dim": 32}

SDXL_BASE = {
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_middle": 10,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "context_dim": 2048,
    "adm_in_channels": 2816,
}
"""The dimensions of SDXL base 1.0."""

SMALL_SDXL = {
    "model_channels": 64,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 2],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 2, 2],
    "context_dim": 32,
    "adm_in_channels": 32 + 6 * 256,
}


def random_flux(
    seed: int = 0, dtype: torch.dtype = torch.float32, guidance_embed: bool = False, scale: float = 1.0, **shape: int
) -> Any:
    """A FLUX MODEL (``ModelPatcher``) with random weights.

    Args:
        seed: of the weights.
        dtype: of the weights.
        guidance_embed: whether it takes a guidance value as FLUX.1-dev does.
        scale: factor on the usual initialisation; larger makes attention less flat.
        shape: ``hidden_size``, ``depth``, ``depth_single_blocks``, ``context_in_dim``, ``vec_in_dim``;
            :data:`SMALL_FLUX` by default.
    """
    shape = {**SMALL_FLUX, **shape}
    with torch.device("meta"):
        flux = comfy.ldm.flux.model.Flux(
            in_channels=16,
            out_channels=16,
            mlp_ratio=4.0,
            num_heads=shape["hidden_size"] // 128,
            axes_dim=[16, 56, 56],
            theta=10000,
            patch_size=2,
            qkv_bias=True,
            guidance_embed=guidance_embed,
            txt_ids_dims=[],
            operations=comfy.ops.disable_weight_init,
            dtype=dtype,
            **shape,
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device).manual_seed(seed)

    def weight(like: torch.Tensor) -> torch.Tensor:
        if like.ndim < 2:
            return torch.ones(like.shape, dtype=dtype, device=device)
        random = torch.randn(like.shape, generator=generator, device=device) * (scale * like.shape[-1] ** -0.5)
        return random.to(dtype)

    return comfy.sd.load_diffusion_model_state_dict(
        {name: weight(like) for name, like in flux.state_dict().items()}, model_options={"dtype": dtype}
    )


def random_sdxl(seed: int = 0, dtype: torch.dtype = torch.float32, scale: float = 1.0, **shape: Any) -> Any:
    """An SDXL MODEL (``ModelPatcher``) with random weights.

    Detection wants SDXL's own widths, so a smaller one is built from ComfyUI's model class.

    Args:
        seed: of the weights.
        dtype: of the weights.
        scale: factor on the usual initialisation.
        shape: what to change of :data:`SMALL_SDXL`, in ComfyUI's ``unet_config``.
    """
    model = base_model({**SDXL_FIXED, **SMALL_SDXL, **shape}, dtype)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.diffusion_model.parameters():
        width = parameter.shape[1:].numel() if parameter.ndim > 1 else 1
        random = torch.randn(parameter.shape, generator=generator) * (scale * width**-0.5)
        parameter.data = (random if parameter.ndim > 1 else torch.ones_like(random)).to(dtype)
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.ModelPatcher(model.to(device), load_device=device, offload_device=torch.device("cpu"))


def random_conditioning(seed: int, tokens: int = 12, context: int = 32, pooled: int = 32) -> list:
    """A CONDITIONING of one entry: ``[1, tokens, context]`` and pooled ``[1, pooled]``."""
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn((1, tokens, context), generator=generator)
    return [[embedding, {"pooled_output": torch.randn((1, pooled), generator=generator)}]]
