"""Heat maps over pictures, and captions below them."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..core.plotting import require_matplotlib

COLOURS = "inferno"
"""Colormap of matplotlib from cold to hot. Brightness rises throughout, so it reads without colour vision too."""

PAPER, INK = "#202020", "#f0f0f0"
"""Colours of captions."""

MISSING = "\U0010ffff"
"""Character that no font has."""


def coloured(heat: Tensor) -> Tensor:
    """Map heat from 0 to 1 of any shape ``[...]`` to colours ``[..., 3]``, float 0 to 1.

    Raises:
        ValueError: there is no matplotlib; the message says what to install.
    """
    colours = np.asarray(require_matplotlib().colormaps[COLOURS](heat.clamp(0, 1).cpu().numpy()))
    return torch.from_numpy(colours[..., :3]).float()


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
    font: Any = ImageFont.load_default(max(10, min(24, wide // 16)))
    line = Image.new("RGB", (wide, 2 * int(font.size)), PAPER)
    draw = ImageDraw.Draw(line)
    while text and draw.textlength(text, font) > wide - font.size:
        text = text[:-1]
    draw.text((font.size / 2, line.height / 2), text, fill=INK, font=font, anchor="lm")
    return torch.cat([image, torch.from_numpy(np.array(line)).float() / 255])


def writable(text: str) -> str:
    """Replace every character that Pillow's own font lacks by "?": it has little more than ASCII."""
    font = ImageFont.load_default(16)
    missing = bytes(font.getmask(MISSING))
    return "".join("?" if bytes(font.getmask(character)) == missing else character for character in text)
