"""From an image to what is seen in it: coloured blobs with a shape each. No neural net.

Pixels are grey (background) or belong to the palette colour nearest in hue; connected pixels of one
colour are a blob; a blob's shape is the template that overlaps it best.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from .render import signed_distance
from .scenes import COLOURS, SHAPES

CHROMA_MIN = 0.27  # about half of the dullest colour's: an antialiased edge is cut in its middle
AREA_MIN_PX = 70  # a third of the smallest true object; less is a speck, not an object
TEMPLATE_PX = 48


@dataclass(frozen=True)
class Blob:
    """One thing seen: colour name, centre (x, y) and larger side in pixels of a 128-pixel image.

    ``overlap[shape]`` is the intersection over union with that shape's template at the blob's size.
    """

    colour: str
    x: float
    y: float
    side: float
    area: float
    overlap: dict[str, float]

    @property
    def shape(self) -> str:
        return max(self.overlap, key=self.overlap.get)


def _hue(rgb: np.ndarray) -> np.ndarray:
    """Hue angle in radians of [..., 3] colours, from the plane perpendicular to grey."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    return np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)


def colour_map(image: np.ndarray) -> np.ndarray:
    """[H, W, 3] in 0…1 → int [H, W]: index into ``COLOURS``, or -1 where the pixel is grey."""
    smooth = ndimage.gaussian_filter(np.nan_to_num(image.astype(np.float32)), sigma=(0.7, 0.7, 0)).clip(0, 1)
    chroma = smooth.max(-1) - smooth.min(-1)
    palette = _hue(np.asarray(list(COLOURS.values())))
    difference = np.angle(np.exp(1j * (_hue(smooth)[..., None] - palette)))
    return np.where(chroma > CHROMA_MIN, np.abs(difference).argmin(-1), -1)


@lru_cache
def _templates() -> dict[str, np.ndarray]:
    """Each shape filling a square of ``TEMPLATE_PX``, centred by its bounding box."""
    axis = (np.arange(TEMPLATE_PX) + 0.5) - TEMPLATE_PX / 2
    x, y = np.meshgrid(axis, axis)
    extent = TEMPLATE_PX / 2
    scale = {"square": 1 / 0.9}  # the renderer draws squares a little smaller than their extent
    return {shape: signed_distance(shape, x, y, extent * scale.get(shape, 1)) < 0 for shape in SHAPES}


def _overlaps(mask: np.ndarray) -> dict[str, float]:
    """Intersection over union of a bounding-box crop with each shape, aspect ratio kept."""
    height, width = mask.shape
    side = max(height, width)
    rows = (np.arange(TEMPLATE_PX) + 0.5) / TEMPLATE_PX * side - (side - height) / 2
    columns = (np.arange(TEMPLATE_PX) + 0.5) / TEMPLATE_PX * side - (side - width) / 2
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    sampled = mask[rows.astype(int).clip(0, height - 1)][:, columns.astype(int).clip(0, width - 1)] & inside
    return {name: (sampled & t).sum() / max((sampled | t).sum(), 1) for name, t in _templates().items()}


def find_blobs(image: np.ndarray) -> list[Blob]:
    """What an image shows, the largest first. Any size of image, blurred or noisy; [H, W, 3] in 0…1."""
    scale = 128 / image.shape[0]
    colours = colour_map(image)
    blobs = []
    for index, colour in enumerate(COLOURS):
        mask = ndimage.binary_opening(colours == index, np.ones((3, 3)))  # rims between two colours are no objects
        labels, _ = ndimage.label(mask)
        for label, window in enumerate(ndimage.find_objects(labels), start=1):
            part = labels[window] == label
            area = float(part.sum()) * scale**2
            if area < AREA_MIN_PX:
                continue
            part = ndimage.binary_fill_holes(part)
            row, column = ndimage.center_of_mass(part)
            x, y = column + window[1].start + 0.5, row + window[0].start + 0.5
            blobs.append(Blob(colour, x * scale, y * scale, max(part.shape) * scale, area, _overlaps(part)))
    return sorted(blobs, key=lambda blob: -blob.area)
