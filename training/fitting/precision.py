"""Where bfloat16 is faster than float32."""

import torch


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 by its own instructions.

    A processor without them (no AVX-512) computes bfloat16 one number at a time, seventy times slower than float32.
    """
    return device.type != "cpu" or (
        torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
