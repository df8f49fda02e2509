"""Choice of precision: devices on which bfloat16 is faster than float32."""

import torch


def bfloat16_is_fast(device: torch.device) -> bool:
    """Return whether a device has instructions that multiply in bfloat16.

    A processor without them (no AVX-512) computes bfloat16 one number at a time, seventy times slower than float32.
    """
    return device.type != "cpu" or (
        torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
