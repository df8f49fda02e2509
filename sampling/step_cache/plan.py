"""Which evaluations of a run may be predicted: decided from the schedule alone, before the run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .config import StepCacheConfig

WARM_UP = 3
"""Least number of steps computed first: what the predictors of second order need."""

EARLY_UNTIL, LATE_FROM = 0.3, 0.8
"""Fractions of the steps at which the phases change (TC-Padé: 0.7 T and 0.2 T of what is left)."""

TOLERANCE = 1e-3
"""In steps: schedulers and samplers round their sigmas differently."""


@dataclass(frozen=True)
class Plan:
    """The schedule of one run, as seen by its cache.

    Attributes:
        sigmas: the schedule, falling, one more than steps.
        first: the first step that may be predicted.
        last: the first step from which everything is computed again.
        interval: see :class:`StepCacheConfig`.
    """

    sigmas: tuple[float, ...]
    first: float
    last: float
    interval: int

    @classmethod
    def of(cls, sigmas: Sequence[float], config: StepCacheConfig) -> "Plan":
        """The plan for a schedule."""
        steps = len(sigmas) - 1
        return cls(
            sigmas=tuple(sigmas),
            first=max(WARM_UP, round(config.start * steps)),
            last=min(steps - 1, round(config.end * steps)),
            interval=config.interval,
        )

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    @property
    def why_nothing(self) -> str | None:
        """Why no evaluation of this run can be predicted, or None."""
        if any(later > earlier for earlier, later in zip(self.sigmas, self.sigmas[1:])):
            return "the schedule goes up, not down"
        if self.interval == 1:
            return "interval 1 computes everything"
        if self.interval > self.steps:
            return f"interval {self.interval} is longer than the run's {self.steps} steps"
        if self.first + 1 >= self.last:
            return (
                f"of {self.steps} steps the first {self.first + 1} and those from step {self.last + 1} on "
                "are always computed"
            )
        return None

    def position(self, sigma: float) -> float:
        """Fractional step index u of a noise level: 0 at the first sigma, linear in between."""
        if math.isnan(sigma) or sigma >= self.sigmas[0]:
            return 0.0
        for index, (high, low) in enumerate(zip(self.sigmas, self.sigmas[1:])):
            if sigma > low:
                return index + (high - sigma) / (high - low)
        return float(self.steps)

    def in_window(self, u: float) -> bool:
        """Whether evaluations at ``u`` lie between the warm-up and the end."""
        return self.first - TOLERANCE <= u < self.last - TOLERANCE

    def may_predict(self, u: float, number: int) -> bool:
        """Whether to predict an evaluation: every ``interval``-th of the window is computed, the first too.

        Args:
            u: fractional step index.
            number: how many evaluations of the window came before.
        """
        return self.in_window(u) and number % self.interval != 0

    def phase(self, u: float) -> str:
        """``early``, ``mid`` or ``late``."""
        if u < EARLY_UNTIL * self.steps:
            return "early"
        return "late" if u >= LATE_FROM * self.steps else "mid"
