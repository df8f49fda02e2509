"""Sizes of pictures that are kept and shown."""

import torch
from torch import Tensor


def at_most(images: Tensor, longer_side: int) -> Tensor:
    """Average images ``[..., H, W, 3]`` float by area to a longer side of so many px; smaller ones are unchanged."""
    height, width = images.shape[-3:-1]
    scale = longer_side / max(height, width)
    if scale >= 1:
        return images
    size = [max(1, round(side * scale)) for side in (height, width)]
    flat = images.reshape(-1, height, width, 3).movedim(-1, 1)
    return torch.nn.functional.interpolate(flat, size, mode="area").movedim(1, -1).reshape(*images.shape[:-3], *size, 3)
