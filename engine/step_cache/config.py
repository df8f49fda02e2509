"""Settings of the step cache, and the effect of each on a run."""

from dataclasses import dataclass

from ..core.texts import plain
from .predict import PREDICTORS, Predictor

INTERVALS = {"quality": 2, "balanced": 3, "fast": 4, "fastest": 6}
"""Presets of the interval: one step of so many is computed. "fastest" computes 7 of 20, as TC-Padé's fast setting."""

SPACES = ("output", "blocks")
"""Values that can be predicted."""


@dataclass(frozen=True)
class StepCacheConfig:
    """Settings of the step cache.

    Attributes:
        interval: of this many steps one is computed, on average: gaps are shorter while much noise is
            left. Larger is faster and further from the uncached image; 1 predicts nothing.
        predictor: how a value is predicted, by name. ``reuse`` repeats the newest one; ``linear``,
            ``newton2`` and ``pade11`` extrapolate two or three. Or a :class:`Predictor`.
        start: fraction of the run's steps that are all computed first (never fewer than three).
            Larger keeps the composition closer to the uncached image.
        end: fraction of the run's steps after which all are computed again (the last one always
            is). Smaller keeps fine detail.
        early: predictor of the first 30 % of the steps, where the value bends most; None for
            ``predictor``.
        beta: adds this share of the newest computed change in the last 20 % of the steps; 0 adds
            nothing.
        trust: longest displacement, in chords over the same horizon. Smaller damps outliers, and
            bends the parabola back to the line.
        damping: λ of exp(−λ·relative change): shrinks the displacement where values change fast.
        veto: an evaluation is computed after all if the trajectory turned by more than this between
            the newest anchors (0 … 1). None never.
        space: ``output`` predicts the model's output, which works for every model. ``blocks``
            predicts what FLUX's transformer blocks add to the image tokens, as published; 24 MB
            per anchor and image at FLUX.1's size.
        even: gaps of equal length, as published; further from the uncached image.
    """

    interval: int = INTERVALS["balanced"]
    predictor: str | Predictor = "pade11"
    start: float = 0.15
    end: float = 1.0
    early: str | None = None
    beta: float = 0.0
    trust: float = 1.0
    damping: float = 0.0
    veto: float | None = None
    space: str = "output"
    even: bool = False

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ValueError: a setting is out of its range; the message says what is accepted.
        """
        if self.interval < 1:
            raise ValueError(f"interval {self.interval}: give 1 (compute everything) or more.")
        if not 0 <= self.start < self.end <= 1:
            raise ValueError(
                f"start {self.start:g} and end {self.end:g}: start has to come before end, both between 0 and 1."
            )
        for name in (self.predictor, self.early):
            if isinstance(name, str) and name not in PREDICTORS:
                raise ValueError(f'"{plain(name)}" is no predictor. Accepted: {", ".join(PREDICTORS)}.')
        if self.space not in SPACES:
            raise ValueError(f'"{plain(self.space)}" is no space. Accepted: {", ".join(SPACES)}.')
        if self.trust < 0 or self.damping < 0:
            raise ValueError(f"trust {self.trust:g} and damping {self.damping:g} can't be negative.")

    def wanted(self, early: bool) -> Predictor:
        """Return the predictor for the early phase, or for the rest of the run."""
        name = self.early if early and self.early is not None else self.predictor
        return PREDICTORS[name] if isinstance(name, str) else name
