"""Ground truth: how well does an image show what its prompt says, 0…1, from image and prompt alone.

The blobs of the image (``segment.py``) are assigned to the objects that the prompt names; then there are seven
criteria:

=========  ============================================================  =======
criterion  1 when                                                        loss
=========  ============================================================  =======
presence   every named object was found (by its colour or its shape)     0.7
colour     every found object has the colour the prompt binds to it      0.45
count      there are as many blobs as named objects                      0.25
relation   every stated relation holds between the found objects         0.45
stray      no blob is there that no named object accounts for            0.15
shape      every found object has the shape the prompt binds to it       0.4
outline    the outlines are clean and the stated sizes right             0.2
=========  ============================================================  =======

The score is the product of (1 − loss·(1 − criterion)), so each fault costs a share of what is left: one
lowers the score clearly, two lower it more, and a criterion that doesn't apply is 1.

**Structure and appearance.** The first five criteria depend on which blobs are where: omitted
objects, wrong binding, wrong count, wrong relation. Their product is the *structure*. Shape and
outline change when an outline is ragged, so their product is the *appearance*; that a cleanly drawn
wrong shape is counted as appearance makes the structural share a lower bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from ..engine.core.reward import Reward
from ..engine.core.skill import Skill
from .scenes import RELATIONS, Scene, SceneObject, parse_prompt
from .segment import Blob, find_blobs

LOSS = {
    "presence": 0.7,
    "colour": 0.45,
    "count": 0.25,
    "relation": 0.45,
    "stray": 0.15,
    "shape": 0.4,
    "outline": 0.2,
}
STRUCTURE = ("presence", "colour", "count", "relation", "stray")
APPEARANCE = ("shape", "outline")

RELATION_MIN_PX = 16.0  # of 128: how far apart the centres must be for "left of", "above" … to hold
SMALL_BELOW_PX = 34.0  # the rendered sizes are 21–27 and 37–47 pixels wide
CLEAN_OVERLAP = (0.5, 0.78)  # intersection over union with the shape's template: ragged … clean


@dataclass(frozen=True)
class Criteria:
    """Criteria of one score, each 0…1."""

    presence: float
    colour: float
    count: float
    relation: float
    stray: float
    shape: float
    outline: float

    def _product(self, names: tuple[str, ...]) -> float:
        return float(np.prod([1 - LOSS[name] * (1 - getattr(self, name)) for name in names]))

    @property
    def structure(self) -> float:
        """Factor of the score that depends on which objects are where."""
        return self._product(STRUCTURE)

    @property
    def appearance(self) -> float:
        """Factor of the score that depends on shapes and outlines."""
        return self._product(APPEARANCE)

    @property
    def total(self) -> float:
        """Score."""
        return self.structure * self.appearance


def _affinity(wanted: SceneObject, blob: Blob) -> float:
    """Compute how well a blob fits an object: colour counts before shape, and overlap breaks ties."""
    same_colour, same_shape = blob.colour == wanted.colour, blob.shape == wanted.shape
    if not (same_colour or same_shape):
        return 0.0
    return 1.0 * same_colour + 0.6 * same_shape + 0.1 * blob.overlap[wanted.shape] + blob.side / 1280


def assign(scene: Scene, blobs: list[Blob]) -> list[Blob | None]:
    """Assign each named object the blob that shows it, or None; a blob shows one object at most.

    Blobs of the right colour are assigned first, so that an object in the image can't lose its blob to
    one that is missing.
    """
    if not blobs:
        return [None] * len(scene.objects)
    affinity = np.array([[_affinity(wanted, blob) for blob in blobs] for wanted in scene.objects])
    rows, columns = linear_sum_assignment(np.where(affinity >= 1, affinity**2 * 10, affinity), maximize=True)
    shown: list[Blob | None] = [None] * len(scene.objects)
    for row, column in zip(rows, columns):
        if affinity[row, column] > 0:
            shown[row] = blobs[column]
    return shown


def _holds(relation: str, subject: Blob, other: Blob) -> bool:
    step_x, step_y = RELATIONS[relation]
    return (subject.x - other.x) * step_x + (subject.y - other.y) * step_y >= RELATION_MIN_PX


def _outline(wanted: SceneObject, blob: Blob) -> float:
    low, high = CLEAN_OVERLAP
    clean = float(np.clip((blob.overlap[wanted.shape] - low) / (high - low), 0, 1))
    right_size = wanted.size is None or (wanted.size == "small") == (blob.side < SMALL_BELOW_PX)
    return clean * (1.0 if right_size else 0.4)


def compare(blobs: list[Blob], scene: Scene) -> Criteria:
    """Compare the blobs of one image with a scene."""
    shown = assign(scene, blobs)
    pairs = [(wanted, blob) for wanted, blob in zip(scene.objects, shown) if blob is not None]
    named = len(scene.objects)
    stated = [(name, other) for name, other in zip(scene.relations, shown[1:]) if name is not None]
    held = [shown[0] is not None and other is not None and _holds(name, shown[0], other) for name, other in stated]

    def share(values: Sequence[float]) -> float:
        return float(np.mean(values)) if values else 0.0

    return Criteria(
        presence=len(pairs) / named,
        colour=share([blob.colour == wanted.colour for wanted, blob in pairs]),
        count=max(0.0, 1 - abs(len(blobs) - named) / named),
        relation=share(held) if stated else 1.0,
        stray=1 / (1 + len(blobs) - len(pairs)),
        shape=share([blob.shape == wanted.shape for wanted, blob in pairs]),
        outline=share([_outline(wanted, blob) for wanted, blob in pairs]),
    )


def criteria_of(images: torch.Tensor, prompts: list[str]) -> list[Criteria]:
    """Compute the criteria of each image's score.

    Args:
        images: [B, H, W, 3] float in 0…1, ComfyUI's IMAGE.
        prompts: B prompts, or one for all.

    Raises:
        ValueError: the numbers of images and prompts differ, or a prompt names no testbed object.
    """
    if len(prompts) == 1:
        prompts = prompts * len(images)
    if len(prompts) != len(images):
        raise ValueError(f"{len(images)} images but {len(prompts)} prompts; give one prompt per image, or one for all.")
    scenes = {prompt: parse_prompt(prompt) for prompt in set(prompts)}
    return [compare(blobs, scenes[prompt]) for blobs, prompt in zip(blobs_of(images), prompts)]


def blobs_of(images: torch.Tensor) -> list[list[Blob]]:
    """Find the blobs of each image, [B, H, W, 3] float in 0…1: all that a score depends on beside the prompt."""
    return [find_blobs(array) for array in images.detach().float().cpu().numpy()]


def score(images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
    """Compute the score of each image: [B, H, W, 3] float in 0…1 and prompts → float32 [B] in 0…1."""
    return torch.tensor([criteria.total for criteria in criteria_of(images, prompts)], dtype=torch.float32)


class GroundTruth(Reward):
    """The ground-truth score as a reward, which no other reward can beat on the testbed."""

    label = "truth"
    preview_skill = Skill(
        progress=(0.04, 0.12, 0.2, 0.32, 0.4, 0.6),
        correlation=(0.22, 0.34, 0.52, 0.76, 0.85, 0.93),
        spread=(0.095, 0.12, 0.132, 0.157, 0.161, 0.17),
        source="previews, means of both testbeds (benchmarks.preview_skill)",
    )

    def score(self, images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        """Score images as :func:`score`."""
        return score(images, prompts)

    def require_readable(self, prompt: str) -> None:
        """Refuse a prompt that is empty or names no testbed object; see :meth:`Reward.require_readable`."""
        super().require_readable(prompt)
        parse_prompt(prompt)


def score_each(images: torch.Tensor, prompts: Sequence[str]) -> list[list[float]]:
    """Score all images by each of several prompts; each image is segmented once."""
    blobs = blobs_of(images)
    return [[compare(each, scene).total for each in blobs] for scene in map(parse_prompt, prompts)]


def structural_share(criteria: list[list[Criteria]]) -> float:
    """Compute the share of the within-prompt score variance that comes from structure; NaN if nothing varies.

    With T = S·A (structure times appearance) and Ā the prompt's mean appearance, S·Ā is the score
    the seed would have if it were drawn as well as the others. The share is
    Σ cov(S·Ā, T) / Σ var(T) over prompts, both taken between the seeds of one prompt; the remainder,
    cov(S·(A − Ā), T), is what ragged outlines, wrong sizes and wrong shapes add.

    Args:
        criteria: of each seed's score, per prompt.
    """
    covariance = variance = 0.0
    for seeds in criteria:
        structure = np.array([p.structure for p in seeds])
        appearance = np.array([p.appearance for p in seeds])
        total = structure * appearance
        covariance += float(np.mean(structure * appearance.mean() * (total - total.mean())))
        variance += float(total.var())
    return covariance / variance if variance > 0 else float("nan")
