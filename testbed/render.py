"""Renderer of scenes: images of 128×128 RGB, antialiased, with random positions, sizes and backgrounds."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .scenes import COLOURS, RELATIONS, Scene

SIZE_PX = 128
CELL_PX = 64
EXTENT_PX = {"small": (11.5, 13.5), "large": (20.5, 23.5)}  # half the width of the object
JITTER_PX = 5.0
TRIANGLE_HEIGHT = 0.87  # of its width


@dataclass(frozen=True)
class Placed:
    """Object of a picture: names of colour and shape, half width and centre in pixels."""

    colour: str
    shape: str
    extent: float
    x: float
    y: float


@dataclass(frozen=True)
class Picture:
    """Description of an image: objects, background grey in 0…1, and a brightness factor of all colours."""

    objects: tuple[Placed, ...]
    background: float
    brightness: float = 1.0


def _cells_for(scene: Scene, rng: random.Random) -> list[tuple[int, int]]:
    """Choose random cells of a 2×2 grid, (column, row) per object, that fulfil every relation."""
    cells = [(column, row) for column in (0, 1) for row in (0, 1)]
    while True:  # a third of all placements fit, at worst one in six
        rng.shuffle(cells)
        subject = cells[0]
        offsets = [(subject[0] - other[0], subject[1] - other[1]) for other in cells[1 : len(scene.objects)]]
        if all(
            relation is None or np.dot(offset, RELATIONS[relation]) > 0
            for offset, relation in zip(offsets, scene.relations)
        ):
            return cells[: len(scene.objects)]


def object_in_cell(colour: str, shape: str, size: str | None, cell: tuple[int, int], rng: random.Random) -> Placed:
    """Place an object near the middle of a grid cell; without a size it is small or large."""
    extent = rng.uniform(*EXTENT_PX[size or rng.choice(("small", "large"))])
    x, y = (CELL_PX * (index + 0.5) + rng.uniform(-JITTER_PX, JITTER_PX) for index in cell)
    return Placed(colour, shape, extent, x, y)


def arrange(scene: Scene, seed: int | str) -> Picture:
    """Make a picture that shows the scene correctly; another seed gives other positions, sizes and shades."""
    rng = random.Random(f"arrange-{seed}")
    cells = _cells_for(scene, rng)
    placed = tuple(object_in_cell(o.colour, o.shape, o.size, cell, rng) for o, cell in zip(scene.objects, cells))
    return Picture(placed, background=rng.uniform(0.82, 0.95), brightness=rng.uniform(0.95, 1.03))


def signed_distance(shape: str, x: np.ndarray, y: np.ndarray, extent: float) -> np.ndarray:
    """Compute the signed distance in pixels from points, relative to the centre, to the outline, negative inside."""
    if shape == "circle":
        return np.hypot(x, y) - extent
    if shape == "square":
        return np.maximum(abs(x), abs(y)) - 0.9 * extent
    if shape == "cross":
        arm = 0.34 * extent
        upright = np.maximum(abs(x) - arm, abs(y) - extent)
        level = np.maximum(abs(x) - extent, abs(y) - arm)
        return np.minimum(upright, level)
    half_height = TRIANGLE_HEIGHT * extent
    slant = np.hypot(2 * half_height, extent)  # of the two upper sides
    sides = (2 * half_height * abs(x) - extent * (y + half_height)) / slant
    return np.maximum(sides, y - half_height)


def draw(picture: Picture) -> np.ndarray:
    """Paint a picture as an image, float32 [128, 128, 3] in 0…1, with edges one pixel soft."""
    image = np.full((SIZE_PX, SIZE_PX, 3), picture.background, dtype=np.float32)
    rows, columns = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32) + 0.5
    for placed in picture.objects:
        distance = signed_distance(placed.shape, columns - placed.x, rows - placed.y, placed.extent)
        coverage = np.clip(0.5 - distance, 0, 1)[..., None].astype(np.float32)
        colour = np.clip(np.asarray(COLOURS[placed.colour]) * picture.brightness, 0, 1).astype(np.float32)
        image += coverage * (colour - image)
    return image


def render(scene: Scene, seed: int | str) -> np.ndarray:
    """Paint a correct image of the scene, float32 [128, 128, 3] in 0…1."""
    return draw(arrange(scene, seed))


# Planted faults: each makes a picture wrong in one way, for tests and measurements of the scorer.


def _free_cell(picture: Picture) -> tuple[int, int]:
    taken = {(int(o.x // CELL_PX), int(o.y // CELL_PX)) for o in picture.objects}
    return next(cell for cell in [(0, 0), (1, 0), (0, 1), (1, 1)] if cell not in taken)


def _with_object(picture: Picture, index: int, **changes) -> Picture:
    objects = list(picture.objects)
    objects[index] = replace(objects[index], **changes)
    return replace(picture, objects=tuple(objects))


def _omit(picture: Picture, index: int, rng: random.Random) -> Picture:
    return replace(picture, objects=tuple(o for i, o in enumerate(picture.objects) if i != index))


def _recolour(picture: Picture, index: int, rng: random.Random) -> Picture:
    used = {o.colour for o in picture.objects}
    return _with_object(picture, index, colour=rng.choice([c for c in COLOURS if c not in used]))


def _reshape(picture: Picture, index: int, rng: random.Random) -> Picture:
    others = [s for s in ("circle", "square", "triangle", "cross") if s != picture.objects[index].shape]
    return _with_object(picture, index, shape=rng.choice(others))


def _add(picture: Picture, index: int, rng: random.Random) -> Picture:
    used = {o.colour for o in picture.objects}
    colour = rng.choice([c for c in COLOURS if c not in used])
    extra = object_in_cell(colour, rng.choice(("circle", "square")), None, _free_cell(picture), rng)
    return replace(picture, objects=picture.objects + (extra,))


def _duplicate(picture: Picture, index: int, rng: random.Random) -> Picture:
    column, row = _free_cell(picture)
    copy = replace(picture.objects[index], x=CELL_PX * (column + 0.5), y=CELL_PX * (row + 0.5))
    return replace(picture, objects=picture.objects + (copy,))


def _swap(picture: Picture, index: int, rng: random.Random) -> Picture:
    """Swap the positions of the first object and another, which reverses their relation."""
    other = max(index, 1)
    first, second = picture.objects[0], picture.objects[other]
    return _with_object(_with_object(picture, 0, x=second.x, y=second.y), other, x=first.x, y=first.y)


FAULTS: dict[str, Callable[[Picture, int, random.Random], Picture]] = {
    "omit": _omit,
    "colour": _recolour,
    "shape": _reshape,
    "extra": _add,
    "duplicate": _duplicate,
    "swap": _swap,
}


def plant_fault(picture: Picture, fault: str, index: int, seed: int | str) -> Picture:
    """Return the picture with one fault (a key of ``FAULTS``) at object ``index``."""
    return FAULTS[fault](picture, index, random.Random(f"{fault}-{index}-{seed}"))
