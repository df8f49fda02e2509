"""Segmentation of an image into coloured blobs with a shape each, without a neural network.

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
    """Blob of an image: colour name, centre (x, y) and larger side in pixels of a 128-pixel image.

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
        """Name of the shape that overlaps the blob best."""
        return max(self.overlap, key=self.overlap.get)


def _hue(rgb: np.ndarray) -> np.ndarray:
    """Compute the hue angle of [..., 3] colours in radians, in the plane perpendicular to grey."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    return np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)


def colour_map(image: np.ndarray) -> np.ndarray:
    """Sort pixels by colour, [H, W, 3] in 0…1 → int [H, W]: index into ``COLOURS``, or -1 where the pixel is grey."""
    planes = np.nan_to_num(np.moveaxis(image, -1, 0).astype(np.float32, order="C"))
    red, green, blue = smooth = ndimage.gaussian_filter(planes, sigma=(0, 0.7, 0.7)).clip(0, 1)
    chroma = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    coloured = chroma > CHROMA_MIN
    palette = _hue(np.asarray(list(COLOURS.values())))
    difference = np.angle(np.exp(1j * (_hue(smooth[:, coloured].T)[..., None] - palette)))
    colours = np.full(coloured.shape, -1)
    colours[coloured] = np.abs(difference).argmin(-1)
    return colours


def opened(mask: np.ndarray) -> np.ndarray:
    """Compute the binary opening of bool [H, W] by 3×3 pixels: the union of all 3×3 squares inside of the mask."""
    core = mask[:-2] & mask[1:-1] & mask[2:]
    core = core[:, :-2] & core[:, 1:-1] & core[:, 2:]
    covered = np.zeros_like(mask)
    height, width = core.shape
    for row, column in np.ndindex(3, 3):
        covered[row : row + height, column : column + width] |= core
    return covered


def filled(mask: np.ndarray) -> np.ndarray:
    """Fill the holes of a mask: background that can't be reached from outside."""
    outside, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    return outside[1:-1, 1:-1] != outside[0, 0]


@lru_cache
def _templates() -> np.ndarray:
    """Draw each shape into a square of ``TEMPLATE_PX`` that its bounding box fills: 0 or 1 [shape, pixel]."""
    axis = (np.arange(TEMPLATE_PX) + 0.5) - TEMPLATE_PX / 2
    x, y = np.meshgrid(axis, axis)
    extent = TEMPLATE_PX / 2
    scale = {"square": 1 / 0.9}  # the renderer draws squares a little smaller than their extent
    masks = [signed_distance(shape, x, y, extent * scale.get(shape, 1)) < 0 for shape in SHAPES]
    return np.stack(masks).reshape(len(SHAPES), -1).astype(np.float32)


def _overlaps(mask: np.ndarray) -> dict[str, float]:
    """Compute the intersection over union of a bounding-box crop with each shape, aspect ratio kept."""
    height, width = mask.shape
    side = max(height, width)
    rows = (np.arange(TEMPLATE_PX) + 0.5) / TEMPLATE_PX * side - (side - height) / 2
    columns = (np.arange(TEMPLATE_PX) + 0.5) / TEMPLATE_PX * side - (side - width) / 2
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    sampled = mask[rows.astype(int).clip(0, height - 1)][:, columns.astype(int).clip(0, width - 1)] & inside
    templates = _templates()
    both = (templates @ sampled.ravel().astype(np.float32)).astype(np.float64)  # whole numbers, so exact
    either = templates.sum(axis=1) + sampled.sum() - both
    return dict(zip(SHAPES, both / np.maximum(either, 1)))


def find_blobs(image: np.ndarray) -> list[Blob]:
    """Find the blobs of an image, the largest first; [H, W, 3] in 0…1 of any size, blurred or noisy."""
    scale = 128 / image.shape[0]
    colours = colour_map(image)
    blobs = []
    for index, (colour, window) in enumerate(zip(COLOURS, ndimage.find_objects(colours + 1, len(COLOURS)))):
        if window is None:
            continue
        labels, _ = ndimage.label(opened(colours[window] == index))  # rims between two colours are no objects
        areas = np.bincount(labels.ravel()) * scale**2
        for label, box in enumerate(ndimage.find_objects(labels), start=1):
            if areas[label] < AREA_MIN_PX:
                continue
            mask = filled(labels[box] == label)
            row, column = (np.arange(n) @ mask.sum(axis=1 - axis) / mask.sum() for axis, n in enumerate(mask.shape))
            top, left = (outer.start + inner.start for outer, inner in zip(window, box))
            x, y = (column + left + 0.5) * scale, (row + top + 0.5) * scale
            blobs.append(Blob(colour, x, y, max(mask.shape) * scale, float(areas[label]), _overlaps(mask)))
    return sorted(blobs, key=lambda blob: -blob.area)
