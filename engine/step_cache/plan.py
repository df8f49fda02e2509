"""Plan of the evaluations of a run that may be predicted, from its schedule, and in a search from its last moment."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import numpy as np

from .config import StepCacheConfig

WARM_UP = 3
"""Least number of steps that are computed first, which predictors of second order need."""

EARLY_UNTIL, LATE_FROM = 0.3, 0.8
"""Fractions of the steps at which the phases change (TC-Padé: 0.7 T and 0.2 T of what is left)."""

LEAST_WEIGHT = 0.2
"""Least weight of a noise level in a run's progress, which is the integral of (share of noise + LEAST_WEIGHT) over the
logarithm of signal over noise. The weight is the effect of an error on the image, measured on both testbeds."""

TOLERANCE = 1e-3
"""Tolerance in steps, because schedulers and samplers round their sigmas differently."""

LEAST = 1e-6
"""Least signal and noise, because the ends of a schedule have none."""


@dataclass(frozen=True)
class Plan:
    """Plan of one run's step cache.

    Attributes:
        sigmas: the schedule, descending, one more than steps.
        first: all steps up to this one are computed.
        last: the first step from which everything is computed again.
        interval: see :class:`StepCacheConfig`.
        flow: whether a latent is (1 − σ)·image + σ·noise, as in flow models, not image + σ·noise.
        even: see :class:`StepCacheConfig`.
    """

    sigmas: tuple[float, ...]
    first: int
    last: int
    interval: int
    flow: bool = False
    even: bool = False

    @classmethod
    def of(cls, sigmas: Sequence[float], config: StepCacheConfig, flow: bool = False) -> "Plan":
        """Return the plan for a schedule."""
        steps = len(sigmas) - 1
        return cls(
            sigmas=tuple(sigmas),
            first=max(WARM_UP, round(config.start * steps)),
            last=min(steps - 1, round(config.end * steps)),
            interval=config.interval,
            flow=flow,
            even=config.even,
        )

    @property
    def steps(self) -> int:
        """Number of steps of the schedule."""
        return len(self.sigmas) - 1

    @property
    def why_nothing(self) -> str | None:
        """Reason why no evaluation of this run can be predicted, or None."""
        if any(later > earlier for earlier, later in zip(self.sigmas, self.sigmas[1:])):
            return "the schedule goes up, not down"
        if self.interval == 1:
            return "interval 1 computes everything"
        if self.interval > self.steps:
            return f"interval {self.interval} is longer than the run's {self.steps} steps"
        if not self.predicted:
            return (
                f"of {self.steps} steps the first {self.first + 1} and those from step {self.last + 1} on "
                "are always computed"
            )
        return None

    def position(self, sigma: float) -> float:
        """Return the fractional step index u of a noise level: 0 at the first sigma, linear in between."""
        if math.isnan(sigma) or sigma >= self.sigmas[0]:
            return 0.0
        for index, (high, low) in enumerate(zip(self.sigmas, self.sigmas[1:])):
            if sigma > low:
                return index + (high - sigma) / (high - low)
        return float(self.steps)

    def log_snr(self, u: float) -> float:
        """Return the logarithm of signal over noise at a fractional step index; it rises with the index."""
        signal, noise = self._signal_and_noise(u)
        return math.log(signal / noise)

    def progress(self, u: float) -> float:
        """Return the run's progress at a fractional step index, see ``LEAST_WEIGHT``; it rises with the index."""
        signal, noise = self._signal_and_noise(u)
        return math.log(signal / (signal + noise)) + LEAST_WEIGHT * math.log(signal / noise)

    def _signal_and_noise(self, u: float) -> tuple[float, float]:
        index = min(math.floor(u), self.steps - 1)
        high, low = self.sigmas[index : index + 2]
        noise = high + (u - index) * (low - high)
        signal = 1 - noise if self.flow else 1.0
        return max(signal, LEAST), max(noise, LEAST)

    @cached_property
    def predicted(self) -> frozenset[int]:
        """Steps whose evaluations may be predicted; the first of the window and ``last`` are computed."""
        if self.interval == 1:
            return frozenset()
        computed = accumulate(self._gaps(), initial=self.first)
        return frozenset(range(self.first, self.last)).difference(computed)

    def _gaps(self) -> list[int]:
        """Return the lengths of the gaps between computed steps, in steps.

        There are as few gaps as are shorter than ``interval`` on average, each of equal progress as far as whole
        steps allow and at most one step longer than ``interval``, or all of equal length.
        """
        length = self.last - self.first
        if length < 2:
            return []
        count = length // self.interval + 1
        if self.even:
            return np.diff(np.linspace(0, length, count + 1).round().astype(int)).tolist()
        window = range(self.first, self.last + 1)
        progress = [self.progress(step) for step in window]
        ends = np.interp(np.linspace(progress[0], progress[-1], count + 1), progress, window)
        gaps, wanted = np.ones(count, int), np.diff(ends)
        for _ in range(length - count):
            gaps[np.argmax(np.where(gaps > self.interval, -np.inf, wanted - gaps))] += 1
        return gaps.tolist()

    def may_predict(self, u: float) -> bool:
        """Return whether an evaluation at the fractional step index ``u`` may be predicted."""
        return math.floor(u + TOLERANCE) in self.predicted

    def computed_until(self, step: int) -> "Plan":
        """Return the plan in which all steps up to ``step`` are computed."""
        return self if step <= self.first else replace(self, first=step)

    def phase(self, u: float) -> str:
        """Return the phase at a fractional step index: ``early``, ``mid`` or ``late``."""
        if u < EARLY_UNTIL * self.steps:
            return "early"
        return "late" if u >= LATE_FROM * self.steps else "mid"
