"""Pictures of rows: small ones that are sent while rows are sampled, and large ones that a page asks for."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...probe_models import signatures
from ..core.features import Features, on_grid, over_words
from ..core.prompt_words import content_words
from ..core.scores import PICTURE_PX, Look

LONGER_SIDE = 160
MOST_BYTES = 10_000
QUALITIES = (80, 60, 40)
LARGE_SIDE = PICTURE_PX
MOST_LARGE_BYTES = 96_000
LARGE_QUALITIES = (88, 75, 60, 40)
MOST_MAP_BYTES = 800_000
"""Bound of the maps of all rows together, as text."""

FULL_MAP_BYTES, SMALL_MAP_BYTES = 1000, 440
"""Bounds of a map on the grid of attention, and on that of :data:`SMALL_GRID`."""

SMALL_GRID = 16
"""Longer side of maps where those of all words would take too much."""

LEVELS = 16
COVER = 200
"""Opacity at the highest value of a map, of 255."""


def small_picture(picture: Tensor) -> str:
    """Return a picture as a data URL of at most about 10 kB.

    Args:
        picture: ``[height, width, 3]``, float 0 to 1 or uint8.
    """
    return jpeg_url(_jpeg(picture, LONGER_SIDE, QUALITIES, MOST_BYTES))


def large_picture(picture: Tensor) -> bytes:
    """Return a picture as a JPEG file of at most about 96 kB, its longer side at most 512 px, never enlarged.

    Args:
        picture: ``[height, width, 3]``, float 0 to 1 or uint8.
    """
    return _jpeg(picture, LARGE_SIDE, LARGE_QUALITIES, MOST_LARGE_BYTES)


def jpeg_url(data: bytes) -> str:
    """Return the data URL of a JPEG file."""
    return _url(data, "jpeg")


def _jpeg(picture: Tensor, longer_side: int, qualities: Sequence[int], most_bytes: int) -> bytes:
    """Return a picture as a JPEG file, in the first of the qualities in which it is small enough, or the last."""
    if picture.dtype != torch.uint8:
        picture = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
    image = Image.fromarray(picture.cpu().numpy())
    image.thumbnail((longer_side, longer_side))
    for quality in qualities:
        data = _file(image, "JPEG", quality=quality)
        if len(data) <= most_bytes:
            break
    return data


def word_maps(features: Features, rows: int = 1) -> tuple[tuple[str, str], ...]:
    """Return the map of attention of each word but stop words: (word, data URL of a map to draw over the picture).

    Its values are the word's share of the attention that each position of the image gives to the text, averaged over
    blocks, and stretched from the lowest to the highest value of the map.

    Args:
        features: of one row.
        rows: how many rows are shown together: of many, maps are coarser, and the last words may have none.
    """
    words, room = content_words(features.words), MOST_MAP_BYTES // max(1, rows)
    is_small = len(words) * FULL_MAP_BYTES > room
    words = words[: room // SMALL_MAP_BYTES] if is_small else words
    if features.attention is None or not words:
        return ()
    heats = over_words(signatures.shares(features.attention), words).mean(0)
    if is_small:
        heats = on_grid(heats, SMALL_GRID)
    return tuple((word.name, _heat(heat)) for word, heat in zip(words, heats, strict=True))


def looks(pictures: Tensor | None, features: list[Features]) -> tuple[Look, ...]:
    """Return the rows' pictures and maps; ``pictures`` is ``[rows, height, width, 3]``, None if there are none."""
    shown = [None] * len(features) if pictures is None else [small_picture(picture) for picture in pictures]
    return tuple(Look(picture, word_maps(row, len(features))) for picture, row in zip(shown, features, strict=True))


def _heat(heat: Tensor) -> str:
    low, high = heat.min(), heat.max()
    stretched = (heat - low) / (high - low) if high > low else torch.zeros_like(heat)
    image = Image.fromarray((stretched * (LEVELS - 1)).round().to(torch.uint8).cpu().numpy(), "P")
    steps = np.linspace(0, 1, LEVELS)
    image.putpalette(np.stack([255 * np.ones(LEVELS), 255 * steps, 255 * steps**3], 1).astype(np.uint8).tobytes())
    cover = bytes(int(COVER * step) for step in steps)
    return _url(_file(image, "PNG", transparency=cover, bits=4), "png")


def _file(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, optimize=True, **options)
    return file.getvalue()


def _url(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
