"""Models of the real architectures with random weights, for tests and for measuring cost.

Built through ComfyUI's own detection and loading, from the shapes of a state dict alone.
"""

from typing import Any

import comfy.ldm.flux.model
import comfy.ops
import comfy.sd
import torch

FLUX_DEV = {"hidden_size": 3072, "depth": 19, "depth_single_blocks": 38, "context_in_dim": 4096, "vec_in_dim": 768}
"""The dimensions of FLUX.1-dev."""

SMALL_FLUX = {"hidden_size": 256, "depth": 2, "depth_single_blocks": 4, "context_in_dim": 32, "vec_in_dim": 32}


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


def random_conditioning(seed: int, tokens: int = 12, context: int = 32, pooled: int = 32) -> list:
    """A CONDITIONING of one entry: ``[1, tokens, context]`` and pooled ``[1, pooled]``."""
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn((1, tokens, context), generator=generator)
    return [[embedding, {"pooled_output": torch.randn((1, pooled), generator=generator)}]]
