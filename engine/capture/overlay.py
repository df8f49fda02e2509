"""Heat drawn over a picture, and a line of text below it."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

COLOURS = ((0.10, 0.05, 0.35), (0.55, 0.05, 0.50), (0.95, 0.30, 0.25), (1.00, 0.75, 0.15), (1.00, 1.00, 0.80))
"""From cold to hot, evenly spaced. Brightness rises throughout, so it reads without colour vision too."""

PAPER, INK = "#202020", "#f0f0f0"
MISSING = "\U0010ffff"
"""A character that no font has."""


def coloured(heat: Tensor) -> Tensor:
    """Heat from 0 to 1 of any shape ``[...]`` as colours ``[..., 3]``, float 0 to 1."""
    stops = torch.tensor(COLOURS)
    place = heat.clamp(0, 1) * (len(stops) - 1)
    low = place.floor().long().clamp(max=len(stops) - 2)
    part = (place - low)[..., None]
    return stops[low] * (1 - part) + stops[low + 1] * part


def heat_overlay(picture: Tensor, heat: Tensor, opacity: float, size: int) -> Tensor:
    """Heat over a picture, both enlarged to ``size`` pixels on the longer side.

    Where it is cold the picture shows through, only darker.

    Args:
        picture: ``[height, width, 3]`` float 0 to 1.
        heat: ``[rows, columns]`` float 0 to 1, of any resolution.
        opacity: of the heat, 0 to 1.

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
    """``[height, width, 3]`` with a line of text below it, cut where it is too long."""
    wide = image.shape[1]
    font = ImageFont.load_default(max(10, min(24, wide // 16)))
    line = Image.new("RGB", (wide, 2 * int(font.size)), PAPER)
    draw = ImageDraw.Draw(line)
    while text and draw.textlength(text, font) > wide - font.size:
        text = text[:-1]
    draw.text((font.size / 2, line.height / 2), text, fill=INK, font=font, anchor="lm")
    return torch.cat([image, torch.from_numpy(np.array(line)).float() / 255])


def writable(text: str) -> str:
    """A text with "?" for every character that Pillow's own font lacks: it has little more than ASCII."""
    font = ImageFont.load_default(16)
    missing = bytes(font.getmask(MISSING))
    return "".join("?" if bytes(font.getmask(character)) == missing else character for character in text)
