"""Models of the real architectures with random weights, for tests and measurements of cost.

FLUX is built through ComfyUI's own detection and loading, from the shapes of a state dict alone. For
the others detection wants the widths of the real models, so they are built from ComfyUI's own classes.
"""

from typing import Any

import comfy.ldm.flux.model
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models
import torch

from ..testbed.sdxl import SDXL_FIXED

FLUX_DEV = {"hidden_size": 3072, "depth": 19, "depth_single_blocks": 38, "context_in_dim": 4096, "vec_in_dim": 768}
"""Dimensions of FLUX.1-dev."""

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
"""Dimensions of SDXL base 1.0."""

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

_HEADS_OF_16 = {"axes_dim": [4, 6, 6], "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2.0, "theta": 10000}
_LUMINA = {
    "patch_size": 2, "in_channels": 16, "dim": 64, "cap_feat_dim": 32, "n_layers": 3, "qk_norm": True,
    "n_heads": 4, "axes_dims": [4, 6, 6], "axes_lens": [300, 512, 512], "ffn_dim_multiplier": 1.0,
}  # fmt: skip

SMALL_MODELS: dict[str, tuple[type, dict[str, Any]]] = {
    "SDXL": (comfy.supported_models.SDXL, {**SDXL_FIXED, **SMALL_SDXL}),
    "SD1.5": (
        comfy.supported_models.SD15,
        {
            "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 64, "num_res_blocks": [1, 1],
            "channel_mult": [1, 2], "transformer_depth": [1, 1], "transformer_depth_middle": 1,
            "transformer_depth_output": [1, 1, 1, 1], "context_dim": 32, "use_spatial_transformer": True,
            "use_linear_in_transformer": False, "legacy": False, "num_heads": 4,
        },
    ),
    "SD3.5 medium": (
        comfy.supported_models.SD3,
        {
            "in_channels": 16, "patch_size": 2, "input_size": None, "depth": 2, "num_blocks": 4, "qk_norm": "rms",
            "adm_in_channels": 32, "pos_embed_max_size": 16, "num_patches": 256, "x_block_self_attn_layers": [0, 1],
            "context_embedder_config": {
                "target": "torch.nn.Linear", "params": {"in_features": 32, "out_features": 128},
            },
        },
    ),
    "Qwen-Image": (
        comfy.supported_models.QwenImage,
        {
            "in_channels": 64, "out_channels": 16, "num_layers": 3, "attention_head_dim": 16,
            "num_attention_heads": 2, "joint_attention_dim": 32, "axes_dims_rope": (4, 6, 6),
        },
    ),
    "Chroma": (
        comfy.supported_models.Chroma,
        {
            **_HEADS_OF_16, "in_channels": 64, "out_channels": 64, "context_in_dim": 32, "vec_in_dim": 32,
            "depth": 2, "depth_single_blocks": 2, "patch_size": 2, "qkv_bias": True, "txt_ids_dims": [],
            "in_dim": 64, "out_dim": 32, "hidden_dim": 32, "n_layers": 1,
        },
    ),
    "Z-Image": (
        comfy.supported_models.ZImage,
        {
            **_LUMINA, "dim": 256, "axes_dims": [16, 24, 24], "rope_theta": 256.0, "n_kv_heads": 4,
            "z_image_modulation": True, "time_scale": 1000.0, "pad_tokens_multiple": 32,
        },
    ),
    "Lumina 2": (comfy.supported_models.Lumina2, {**_LUMINA, "rope_theta": 10000.0, "n_kv_heads": 2}),
    "FLUX.2": (
        comfy.supported_models.Flux2,
        {
            **_HEADS_OF_16, "axes_dim": [4, 4, 4, 4], "in_channels": 128, "out_channels": 128, "context_in_dim": 32,
            "vec_in_dim": None, "depth": 2, "depth_single_blocks": 2, "patch_size": 1, "qkv_bias": False,
            "guidance_embed": True, "txt_ids_dims": [3], "global_modulation": True, "mlp_silu_act": True,
            "ops_bias": False, "default_ref_method": "index", "ref_index_scale": 10.0,
        },
    ),
    "HiDream": (
        comfy.supported_models.HiDream,
        {
            "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 2, "num_single_layers": 2,
            "attention_head_dim": 16, "num_attention_heads": 2, "caption_channels": [32, 32], "text_emb_dim": 32,
            "num_routed_experts": 2, "num_activated_experts": 1, "axes_dims_rope": (8, 4, 4),
            "max_resolution": (32, 32), "llama_layers": [0, 1, 2, 3],
        },
    ),
    "Wan 2.1": (
        comfy.supported_models.WAN21_T2V,
        {
            "model_type": "t2v", "dim": 64, "ffn_dim": 64, "freq_dim": 32, "text_dim": 32, "num_heads": 4,
            "num_layers": 2, "patch_size": (1, 2, 2), "in_dim": 16, "out_dim": 16,
        },
    ),
}  # fmt: skip
"""Small models by family: ComfyUI's configuration class, and the configuration of the diffusion model."""

SMALL_MODELS["SD3.5 large"] = (
    comfy.supported_models.SD3,
    {**SMALL_MODELS["SD3.5 medium"][1], "x_block_self_attn_layers": []},
)
SMALL_MODELS["FLUX.2 Klein"] = (
    comfy.supported_models.Flux2,
    {**SMALL_MODELS["FLUX.2"][1], "guidance_embed": False, "depth": 1},
)


def random_flux(
    seed: int = 0, dtype: torch.dtype = torch.float32, guidance_embed: bool = False, scale: float = 1.0, **shape: int
) -> Any:
    """Build a FLUX MODEL (``ModelPatcher``) with random weights.

    Args:
        seed: of the weights.
        dtype: of the weights.
        guidance_embed: whether it reads a guidance value as FLUX.1-dev does.
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
    """Build an SDXL MODEL (``ModelPatcher``) with random weights; see :func:`random_model`."""
    return random_model("SDXL", seed, dtype, scale, **shape)


def random_model(name: str, seed: int = 0, dtype: torch.dtype = torch.float32, scale: float = 1.0, **shape: Any) -> Any:
    """Build a small MODEL (``ModelPatcher``) with random weights.

    Args:
        name: one of :data:`SMALL_MODELS`.
        seed: of the weights.
        dtype: of the weights.
        scale: factor on the usual initialisation; larger makes attention less flat.
        shape: changes of the diffusion model's configuration.
    """
    kind, unet_config = SMALL_MODELS[name]
    return random_of(kind, {**unet_config, **shape}, seed, dtype, scale)


def random_of(
    kind: type, unet_config: dict[str, Any], seed: int = 0, dtype: torch.dtype = torch.float32, scale: float = 1.0
) -> Any:
    """Build a MODEL of one of ComfyUI's configuration classes from ``unet_config``, else as :func:`random_model`."""
    config = kind(dict(unet_config))
    config.unet_config.update(unet_config)  # some set fields by themselves
    config.set_inference_dtype(dtype, None)
    model = config.get_model({}, "")
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.diffusion_model.state_dict(keep_vars=True).values():
        width = tensor.shape[1:].numel() if tensor.ndim > 1 else 1
        random = torch.randn(tensor.shape, generator=generator) * (scale * width**-0.5)
        tensor.data = (random if tensor.ndim > 1 else torch.ones_like(random)).to(dtype)
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.ModelPatcher(model.to(device), load_device=device, offload_device=torch.device("cpu"))


def random_conditioning(seed: int, tokens: int = 12, context: int = 32, pooled: int = 32) -> list:
    """Draw a CONDITIONING of one entry: ``[1, tokens, context]`` and pooled ``[1, pooled]``."""
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn((1, tokens, context), generator=generator)
    return [[embedding, {"pooled_output": torch.randn((1, pooled), generator=generator)}]]
