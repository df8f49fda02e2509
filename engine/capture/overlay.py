"""Heat maps over pictures, and captions below them."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..core.plotting import require_matplotlib

COLOURS = "inferno"
"""Colormap of matplotlib from cold to hot. Brightness rises throughout, for readers without colour vision."""

PAPER, INK = "#202020", "#f0f0f0"
"""Colours of captions."""

MISSING = "\U0010ffff"
"""Character that no font has."""


def coloured(heat: Tensor) -> Tensor:
    """Draw heat from 0 to 1 of any shape ``[...]`` in colours, float 0 to 1 ``[..., 3]``.

    Raises:
        ValueError: there is no matplotlib; the message says what to install.
    """
    colours = np.array(require_matplotlib().colormaps[COLOURS].colors)
    values, stops = heat.cpu().numpy(), np.linspace(0, 1, len(colours))
    # Interpolated: matplotlib itself takes the nearest of 256 colours, and rounding would show as a step.
    return torch.from_numpy(np.stack([np.interp(values, stops, channel) for channel in colours.T], -1)).float()


def heat_overlay(picture: Tensor, heat: Tensor, opacity: float, size: int) -> Tensor:
    """Draw heat over a picture, both enlarged to ``size`` pixels on the longer side.

    In cold areas the picture stays visible, only darker.

    Args:
        picture: ``[height, width, 3]`` float 0 to 1.
        heat: ``[rows, columns]`` float 0 to 1, of any resolution.
        opacity: of the heat, 0 to 1.
        size: longer side of the result in pixels.

    Returns:
        ``[high, wide, 3]`` float 0 to 1, in the picture's proportions.
    """
    longer = max(picture.shape[:2])
    shape = [max(1, round(side * size / longer)) for side in picture.shape[:2]]
    below = F.interpolate(picture.movedim(-1, 0)[None], shape, mode="bilinear")[0].movedim(0, -1)
    above = F.interpolate(heat[None, None], shape, mode="bicubic")[0, 0].clamp(0, 1)
    cover = opacity * above[..., None]
    return (1 - cover) * (1 - opacity / 2) * below + cover * coloured(above)


def with_caption(image: Tensor, text: str) -> Tensor:
    """Add a line of text below an image ``[height, width, 3]``, cut where it is too long."""
    wide = image.shape[1]
    size = max(10, min(24, wide // 16))
    font = ImageFont.load_default(size)
    line = Image.new("RGB", (wide, 2 * size), PAPER)
    draw = ImageDraw.Draw(line)
    while text and draw.textlength(text, font) > wide - size:
        text = text[:-1]
    draw.text((size / 2, line.height / 2), text, fill=INK, font=font, anchor="lm")
    return torch.cat([image, torch.from_numpy(np.array(line)).float() / 255])


def writable(text: str) -> str:
    """Replace every character that Pillow's own font lacks by "?": it has little more than ASCII."""
    font = ImageFont.load_default(16)
    missing = bytes(font.getmask(MISSING))
    return "".join("?" if bytes(font.getmask(character)) == missing else character for character in text)
