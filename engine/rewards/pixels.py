"""Preprocessing of images for each reward model: the authors' own resizing, cropping and normalising."""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, pad

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

View = Callable[[Tensor, int], Tensor]
"""Function from images ``[rows, H, W, 3]`` float 0 … 1 and a size to ``[rows, 3, size, size]`` float32, normalised."""


def eight_bit(images: Tensor) -> np.ndarray:
    """Round images as ComfyUI does when it saves them, so that a score is that of the saved file.

    Args:
        images: ``[rows, H, W, 3 or 4]`` float in 0 … 1; alpha is dropped.

    Returns:
        ``[rows, H, W, 3]`` uint8.
    """
    return (255.0 * images[..., :3].detach().cpu().float().numpy()).clip(0, 255).astype(np.uint8)


def centre_crop(images: Tensor, size: int) -> Tensor:
    """Crop the middle as torchvision does, for OpenAI's CLIP, open_clip and ImageReward."""
    return _cropped(images, size, lambda rest: round(rest / 2))


def centre_crop_rounding_down(images: Tensor, size: int) -> Tensor:
    """Crop the middle as transformers' image processors do, for PickScore."""
    return _cropped(images, size, lambda rest: rest // 2)


def unrounded_centre_crop(images: Tensor, size: int) -> Tensor:
    """Crop the middle for the Step-Aware Preference Model: resized as floats, without averaging over small pixels."""
    pixels = images[..., :3].detach().cpu().float().movedim(-1, 1)
    scale = size / min(pixels.shape[-2:])
    height, width = (int(side * scale + 0.5) for side in pixels.shape[-2:])
    pixels = interpolate(pixels, (height, width), mode="bicubic", align_corners=False)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return _normalised(pixels[..., top : top + size, left : left + size].clamp(0, 1))


def whole(images: Tensor, size: int) -> Tensor:
    """Fit the whole image between black bars, for HPSv2.1, resized as floats after the division by 255."""
    pixels = _eight_bit_levels(images) / 255
    scale = size / max(pixels.shape[-2:])
    if scale == 1:
        height, width = pixels.shape[-2:]
    else:
        height, width = (max(1, round(side * scale)) for side in pixels.shape[-2:])
        pixels = interpolate(pixels, (height, width), mode="bicubic", antialias=True, align_corners=False)
    bar_x, bar_y = size - width, size - height
    bars = (bar_x // 2, bar_x - bar_x // 2, bar_y // 2, bar_y - bar_y // 2)
    return _normalised(pad(pixels, bars))


def _cropped(images: Tensor, size: int, start: Callable[[int], int]) -> Tensor:
    """Resize the shorter side to ``size``, bicubic on 8-bit pixels, and crop the middle of the longer one."""
    if not is_on_host(images):
        return _normalised(_cropped_on_device(images, size, start))
    pictures = []
    for image in eight_bit(images):
        height, width = image.shape[:2]
        short, (new_height, new_width) = min(height, width), _sides(height, width, size)
        resized = Image.fromarray(image)
        if short != size:
            resized = resized.resize((new_width, new_height), Image.Resampling.BICUBIC)
        left, top = start(new_width - size), start(new_height - size)
        pictures.append(np.asarray(resized.crop((left, top, left + size, top + size))))
    return _normalised(torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 255)


def is_on_host(images: Tensor) -> bool:
    """Tell whether PIL can read images without a copy from another device."""
    return images.device.type == "cpu"


def _sides(height: int, width: int, size: int) -> tuple[int, int]:
    """Return height and width of an image whose shorter side is resized to ``size``."""
    short = min(height, width)
    new_height, new_width = (size if side == short else int(size * side / short) for side in (height, width))
    return new_height, new_width


def _cropped_on_device(images: Tensor, size: int, start: Callable[[int], int]) -> Tensor:
    """Resize and crop on the images' device as PIL does: the columns, then the rows, rounded to 8 bits after both.

    PIL computes in integers, so single pixels differ by one level of 255.

    Returns:
        ``[rows, 3, size, size]`` float32 in 0 … 1.
    """
    pixels = _eight_bit_levels(images)
    height, width = pixels.shape[-2:]
    sides = _sides(height, width, size)
    for passed in ((height, sides[1]), sides):
        if passed != pixels.shape[-2:]:
            pixels = interpolate(pixels, passed, mode="bicubic", antialias=True).clamp(0, 255).round()
    left, top = start(sides[1] - size), start(sides[0] - size)
    return pixels[..., top : top + size, left : left + size] / 255


def _eight_bit_levels(images: Tensor) -> Tensor:
    """Return :func:`eight_bit` levels as ``[rows, 3, H, W]`` float32 on the images' device."""
    return (255.0 * images[..., :3].detach().float()).clamp(0, 255).floor().movedim(-1, 1)


def _normalised(pixels: Tensor) -> Tensor:
    mean, std = (
        torch.stack([torch.full((1, 1), value, device=pixels.device) for value in values]) for values in (MEAN, STD)
    )
    return (pixels - mean) / std
