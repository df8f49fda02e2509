"""Scenes of the testbed, their prompts, and the split of the prompts.

A scene names one to three objects of different colours, each with a shape and perhaps a size, and
where the first object is relative to the others. The prompt text says exactly that and nothing
else, so prompt → scene is a lossless parse: the scorer needs only the image and the prompt.
"""

import hashlib
import random
import re
from dataclasses import dataclass

from ..engine.core.texts import quoted

COLOURS = {  # RGB in 0…1; hues far enough apart that a blurred pixel still falls to its own colour
    "red": (0.87, 0.11, 0.13),
    "yellow": (0.96, 0.83, 0.10),
    "green": (0.10, 0.65, 0.18),
    "cyan": (0.10, 0.78, 0.82),
    "blue": (0.12, 0.20, 0.85),
    "purple": (0.65, 0.14, 0.76),
}
SHAPES = ("circle", "square", "triangle", "cross")
SIZES = ("small", "large")
RELATIONS = {  # name → (column step, row step) from the object to the subject
    "to the left of": (-1, 0),
    "to the right of": (1, 0),
    "above": (0, -1),
    "below": (0, 1),
}
HELD_OUT_ONE_IN = 8
"""Share of the prompts that are held out: one in so many."""

OBJECT_COUNT_WEIGHTS = {1: 5, 2: 20, 3: 75}
"""Relative frequency of scenes by number of objects."""


@dataclass(frozen=True)
class SceneObject:
    """Object of a scene; its size is None where the prompt doesn't say it."""

    colour: str
    shape: str
    size: str | None = None

    @property
    def text(self) -> str:
        """Words for the object: "a small red circle"."""
        return " ".join(word for word in ("a", self.size, self.colour, self.shape) if word)


@dataclass(frozen=True)
class Scene:
    """Objects, and the position of the first one relative to each other one.

    ``relations[i]`` means "objects[0] is RELATION objects[i + 1]"; None where the prompt doesn't say it.
    """

    objects: tuple[SceneObject, ...]
    relations: tuple[str | None, ...] = ()

    @property
    def prompt(self) -> str:
        """Text of the scene: "a small red circle to the left of a large blue square and above a green triangle"."""
        words = [self.objects[0].text]
        for index, (relation, other) in enumerate(zip(self.relations, self.objects[1:])):
            words += ["and"] * (index > 0) + [relation or "and", other.text]
        return " ".join(words)


_OBJECT = re.compile(rf"\b(?:(?:an?|the)\s+)?(?:({'|'.join(SIZES)})\s+)?({'|'.join(COLOURS)})\s+({'|'.join(SHAPES)})\b")


def parse_prompt(prompt: str) -> Scene:
    """Read a prompt back into its scene.

    Raises:
        ValueError: the prompt names no object the testbed knows.
    """
    text = " ".join(prompt.lower().split())
    matches = list(_OBJECT.finditer(text))
    if not matches:
        raise ValueError(
            f"The prompt {quoted(prompt)} names no testbed object. Write e.g. 'a small red circle above a blue "
            f"square': colours {', '.join(COLOURS)}; shapes {', '.join(SHAPES)}."
        )
    relations = []
    for previous, current in zip(matches, matches[1:]):
        between = text[previous.end() : current.start()]
        relations.append(next((name for name in RELATIONS if name in between), None))
    objects = tuple(SceneObject(match[2], match[3], match[1]) for match in matches)
    return Scene(objects, tuple(relations))


def is_held_out(prompt: str) -> bool:
    """Return whether a prompt is held out: its text decides, so that training can't contain it."""
    digest = hashlib.sha256(prompt.encode()).digest()
    return int.from_bytes(digest[:4], "big") % HELD_OUT_ONE_IN == 0


def _opposite(first: str, second: str) -> bool:
    (a, b), (c, d) = RELATIONS[first], RELATIONS[second]
    return (a, b) == (-c, -d)


def random_scene(rng: random.Random) -> Scene:
    """Draw a scene of one to three objects; never "left of X and right of Y", which needs a third column."""
    count = rng.choices(list(OBJECT_COUNT_WEIGHTS), weights=list(OBJECT_COUNT_WEIGHTS.values()))[0]
    colours = rng.sample(list(COLOURS), count)
    objects = tuple(SceneObject(colour, rng.choice(SHAPES), rng.choice(SIZES + SIZES + (None,))) for colour in colours)
    relations: list[str] = []
    while len(relations) < count - 1:
        candidate = rng.choice(list(RELATIONS))
        if not any(_opposite(candidate, other) for other in relations):
            relations.append(candidate)
    return Scene(objects, tuple(relations))


def sample_scenes(count: int, seed: int, split: str = "held_out", object_count: int | None = None) -> list[Scene]:
    """Draw different scenes of one split, the same for the same seed.

    Args:
        count: how many.
        split: "train" or "held_out".
        object_count: number of objects in each; None: any.

    Raises:
        ValueError: another split.
    """
    if split not in ("train", "held_out"):
        raise ValueError(f"split is {split!r}; accepted: 'train', 'held_out'.")
    rng = random.Random(f"{split}-{seed}")
    scenes: dict[str, Scene] = {}
    while len(scenes) < count:
        scene = random_scene(rng)
        if object_count is not None and len(scene.objects) != object_count:
            continue
        if is_held_out(scene.prompt) == (split == "held_out"):
            scenes.setdefault(scene.prompt, scene)
    return list(scenes.values())


def vocabulary() -> list[str]:
    """Return every word that a prompt can contain, sorted."""
    words = {"a", "and", *COLOURS, *SHAPES, *SIZES}
    for relation in RELATIONS:
        words.update(relation.split())
    return sorted(words)
