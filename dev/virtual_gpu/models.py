"""Models at their real dimensions, whose weights have shapes and no values."""

from __future__ import annotations

from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch
from comfy.model_base import ModelType
from torch import nn

from ...testbed.sdxl import SDXL_FIXED
from ..random_models import FLUX_DEV, SDXL_BASE, random_conditioning

FLUX_CONFIG = {
    **FLUX_DEV, "image_model": "flux", "in_channels": 16, "out_channels": 16, "patch_size": 2, "mlp_ratio": 4.0,
    "num_heads": 24, "axes_dim": [16, 56, 56], "theta": 10000, "qkv_bias": True, "guidance_embed": True,
    "txt_ids_dims": [],
}  # fmt: skip


def flux_dev(tensor_type: type, dtype: torch.dtype = torch.bfloat16) -> Any:
    """Build FLUX.1-dev as a MODEL (``ModelPatcher``).

    Args:
        tensor_type: :class:`dev.virtual_gpu.tensors.VirtualTensor`, as the running process has it.
        dtype: of the weights.
    """
    config = comfy.supported_models.Flux(dict(FLUX_CONFIG))
    config.set_inference_dtype(dtype, torch.bfloat16)
    return _patcher(config, ModelType.FLUX, dtype, tensor_type)


def sdxl_base(tensor_type: type, dtype: torch.dtype = torch.float16) -> Any:
    """Build SDXL base as a MODEL; arguments as :func:`flux_dev`."""
    config = comfy.supported_models.SDXL({**SDXL_FIXED, **SDXL_BASE})
    config.set_inference_dtype(dtype, None)
    return _patcher(config, ModelType.EPS, dtype, tensor_type)


def flux_conditioning(tokens: int = 256) -> tuple[list, list]:
    """Make a positive and a negative CONDITIONING with the widths of FLUX.1-dev."""
    positive, negative = (random_conditioning(seed, tokens=tokens, context=4096, pooled=768) for seed in (1, 2))
    positive[0][1]["guidance"] = 3.5
    return positive, negative


def sdxl_conditioning() -> tuple[list, list]:
    """Make a positive and a negative CONDITIONING with the widths of SDXL."""
    return tuple(random_conditioning(seed, tokens=77, context=2048, pooled=1280) for seed in (1, 2))


def _patcher(config: Any, kind: ModelType, dtype: torch.dtype, tensor_type: type) -> Any:
    with torch.device("meta"):
        model = config.get_model({}, "")
    model.model_sampling = comfy.model_base.model_sampling(config, kind)  # its tables need their values
    without_values(model.diffusion_model, dtype, tensor_type)
    return comfy.model_patcher.ModelPatcher(
        model.eval(),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def without_values(module: nn.Module, dtype: torch.dtype, tensor_type: type) -> None:
    """Put weights on the host that have a shape and no values in the place of all weights of a module."""
    host = torch.device("cpu")
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                kept = dtype if weight.dtype.is_floating_point else weight.dtype
                empty = torch.empty(weight.shape, dtype=kept, device="meta")
                part._parameters[name] = nn.Parameter(tensor_type(empty, host), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.is_meta:
                part._buffers[name] = tensor_type(buffer, host)
