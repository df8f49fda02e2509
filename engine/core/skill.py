"""Skill of a score: how well it predicts the finished image, by moment of the run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

UNSURE = 1e-6
"""Least weight and spread of a score in a combination."""

SURE = 0.999
"""Largest correlation that counts of a score before the end."""


@dataclass(frozen=True)
class Skill:
    """Correlation and spread of a score at a few points of a run, linear between them and from 0 before the first.

    ``dataclasses.asdict`` gives what a probe's file can hold as JSON, ``Skill(**record)`` reads it.

    Attributes:
        progress: evaluations done as a share of all, ascending, in (0, 1).
        correlation: between the score there and that of the finished image, *within* a prompt.
        spread: standard deviation of the score there, between the seeds of one prompt. Only ratios
            matter. Empty: the same everywhere.
        source: origin of the numbers, for reports.
    """

    progress: tuple[float, ...]
    correlation: tuple[float, ...]
    spread: tuple[float, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("progress", "correlation", "spread"):  # lists, as JSON has them, could not be hashed
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        count = len(self.progress)
        if count < 1 or len(self.correlation) != count or len(self.spread) not in (0, count):
            raise ValueError(f"{count} points, {len(self.correlation)} correlations, {len(self.spread)} spreads")
        if list(self.progress) != sorted(set(self.progress)) or not 0 < self.progress[0] <= self.progress[-1] < 1:
            raise ValueError(f"progress has to ascend between 0 and 1, not {self.progress}")
        if not all(-1 <= value <= 1 for value in self.correlation) or not all(value > 0 for value in self.spread):
            raise ValueError(f"correlations {self.correlation} or spreads {self.spread} are out of range")

    def certainty(self, moments: Sequence[int], steps: int) -> np.ndarray:
        """Return the share of the finished image's within-prompt variance that is known, ``[1 + moments + 1]``.

        Before the run (0), at each moment, and at the end (1); it never falls.
        """
        knots = [0.0, *self.progress, 1.0]
        values = [0.0, *(max(0.0, value) for value in self.correlation), 1.0]
        at = np.interp(np.asarray(moments, float) / steps, knots, values)
        return np.concatenate([[0.0], np.minimum(np.maximum.accumulate(at), SURE) ** 2, [1.0]])

    def spreads(self, moments: Sequence[int], steps: int) -> np.ndarray:
        """Return the within-prompt standard deviation of the score at each moment ``[moments]``, in any common unit."""
        if not self.spread:
            return np.ones(len(moments))
        return np.interp(np.asarray(moments, float) / steps, self.progress, self.spread)


PREVIEW = Skill(
    progress=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75),
    correlation=(0.08, 0.23, 0.48, 0.65, 0.77, 0.86, 0.93),
    source="previews judged by ImageReward, real FLUX and SDXL, 20 steps",
)
"""Skill of a reward model on x0 previews, means of FLUX and SDXL; the default for a probe without a measured skill."""


PREVIEW_SPREAD = (0.47, 1.2, 1.3, 1.2, 1.1, 1.05, 1.0)
"""Spread of the same previews at the same points, as shares of the finished images' standard deviation."""


def combine(first: Skill, second: Skill) -> tuple[list[tuple[float, float]], Skill]:
    """Compute the weights of the best average of two scores of the same images, and its skill.

    Each is the finished score plus an error, and the errors are taken to be independent. Then a score of
    correlation r and spread s weighs r / (1 - r²) / s in the best linear forecast.

    Returns:
        The weights at each of ``first.progress``, which sum to 1, and the skill of the mean.

    Raises:
        ValueError: a skill without spread, so that the size of its score's differences is unknown.
    """
    if not first.spread or not second.spread:
        raise ValueError("both need a measured spread")
    progress = np.array(first.progress)
    correlations = [
        np.clip(np.interp(progress, [0, *skill.progress, 1], [0, *skill.correlation, 1]), 0, SURE)
        for skill in (first, second)
    ]
    known = sum(r**2 / (1 - r**2) for r in correlations)
    weights = np.array(
        [
            np.maximum(r / (1 - r**2), UNSURE) / np.interp(progress, skill.progress, skill.spread)
            for r, skill in zip(correlations, (first, second))
        ]
    )
    correlation = np.sqrt(known / (1 + known))
    spread = np.maximum(np.sqrt(known * (1 + known)), UNSURE) / weights.sum(0)
    skill = Skill(first.progress, tuple(correlation), tuple(spread), f"{first.source}; {second.source}")
    return [tuple(both) for both in (weights / weights.sum(0)).T.tolist()], skill


def fit_skill(scores: ArrayLike, final: ArrayLike, moments: Sequence[int], steps: int, source: str = "") -> Skill:
    """Measure the skill of a score on recorded trajectories.

    Args:
        scores: ``[moment, prompt, image]``, at least two images per prompt.
        final: ``[prompt, image]``: the score of the finished images.
        moments: evaluation (from 1) of each row of ``scores``; ``steps`` is a full run.

    Returns:
        Means over prompts of Pearson's correlation; a prompt whose scores are all equal counts as 0.
    """
    early, end = np.asarray(scores, np.float64), np.asarray(final, np.float64)
    if early.ndim != 3 or early.shape != (len(moments), *end.shape) or end.shape[1] < 2:
        raise ValueError(f"scores {early.shape} and final {end.shape} don't fit {len(moments)} moments")
    if not np.isfinite(early).all() or not np.isfinite(end).all():
        raise ValueError("some scores are NaN or infinite: leave their prompts out")
    early, end = early - early.mean(-1, keepdims=True), end - end.mean(-1, keepdims=True)
    size = np.sqrt((early**2).sum(-1) * (end**2).sum(-1))
    both = (early * end).sum(-1)
    correlation = np.divide(both, size, out=np.zeros_like(both), where=size > 0).mean(-1)
    spread = np.maximum(early.std(-1).mean(-1), 1e-9)
    return Skill(
        tuple(moment / steps for moment in moments),
        tuple(float(value) for value in correlation),
        tuple(float(value) for value in spread),
        source,
    )
