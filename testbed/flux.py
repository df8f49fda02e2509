"""FLUX of the testbed: ComfyUI's own ``Flux`` class, hidden 128, 2 double + 4 single blocks.

It has a guidance embedding, as FLUX.1-dev has, so the stock loader gives it dev's schedule (shift
1.15). Guidance is drawn at random in training, so that it has no effect: strength is set by
CFG alone, and a FluxGuidance node changes nothing.
"""

import comfy.latent_formats
import comfy.ldm.flux.model
import comfy.model_sampling
import comfy.ops
import torch

from .text import FLUX_TEXT as TEXT

LATENT_FORMAT = comfy.latent_formats.Flux()
SHIFT = 1.15
BATCH = 48
STEPS = 4000
RESTART = 2400
PEAK_RATE = 1.5e-3
MATRIX_RATE = 1e-2
CONFIG = {
    "image_model": "flux",
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": TEXT.pooled_width,
    "context_in_dim": TEXT.width,
    "hidden_size": 128,
    "mlp_ratio": 4.0,
    "num_heads": 1,
    "depth": 2,
    "depth_single_blocks": 4,
    "axes_dim": [16, 56, 56],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": True,
    "txt_ids_dims": [],
}
METADATA = None  # detection reads everything from the weights


def new_model() -> comfy.ldm.flux.model.Flux:
    """Build an untrained fp32 model; modulation and output start at zero, so every block starts as the identity."""
    model = comfy.ldm.flux.model.Flux(dtype=torch.float32, operations=comfy.ops.disable_weight_init, **CONFIG)
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
            if name.endswith(("mod.lin", "modulation.lin", "adaLN_modulation.1", "final_layer.linear")):
                torch.nn.init.zeros_(layer.weight)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.ones_(parameter)
    return model


def _prepare_tokens(args: dict) -> dict:
    """Keep the residual stream in fp32, and positions (the same in every row) to one row."""
    ids = {name: args[name][:1] for name in ("img_ids", "txt_ids")}
    return {**args, **ids, "img": args["img"].float(), "txt": args["txt"].float()}


def _explicit_attention(
    _default: object, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, **kwargs: object
) -> torch.Tensor:
    """Compute attention with an explicit softmax, which is faster to differentiate for few tokens than fused kernels.

    q, k, v: [B, heads, T, 128] → [B, T, heads·128].
    """
    weights = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1)
    return (weights.to(v) @ v).transpose(1, 2).flatten(2)


# Through ComfyUI's own hooks, so that training runs its forward as it is.
TRAINING_OPTIONS = {
    "optimized_attention_override": _explicit_attention,
    "patches": {"post_input": [_prepare_tokens]},
}


def diffusion_loss(
    model: comfy.ldm.flux.model.Flux,
    latents: torch.Tensor,
    context: torch.Tensor,
    pooled: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Compute the flow matching loss: mean squared error of the predicted velocity (noise − latent).

    Noise levels follow a logit-normal through FLUX's shift, so that they are distributed as in sampling.

    Args:
        latents: [B, 16, H, W] as the model sees them (after ``process_latent_in``).
        context, pooled: the text, [B, T, C] and [B, C].
    """
    size = len(latents)
    uniform = torch.sigmoid(torch.randn(size, generator=generator) * 1.2)
    sigma = comfy.model_sampling.flux_time_shift(SHIFT, 1.0, uniform).to(latents)
    guidance = (1 + 9 * torch.rand(size, generator=generator)).to(latents)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    mixed = torch.lerp(latents, noise, sigma[:, None, None, None])
    velocity = model(mixed, sigma, context, pooled, guidance, transformer_options=TRAINING_OPTIONS)
    return torch.nn.functional.mse_loss(velocity.float(), noise - latents)
