"""Durations of a run's evaluations, and the time that predicting some of them has saved."""

from collections.abc import Callable
from itertools import pairwise
from statistics import fmean
from time import monotonic
from typing import NamedTuple

from ..core.durations import seconds_text


class Saving(NamedTuple):
    """Seconds that a run's evaluations took, and those that computing all of them would have taken."""

    took: float
    instead: float


class EvaluationTimes:
    """Durations of the evaluations of one run.

    An evaluation lasts until the next one begins, because a GPU still computes when the call of the model returns.

    Args:
        now: returns a time in seconds that never goes back.
    """

    def __init__(self, now: Callable[[], float] = monotonic):
        self._now = now
        self._begun: list[float] = []
        self._computed: list[bool] = []

    def begin(self) -> None:
        """Note that an evaluation begins."""
        self._begun.append(self._now())

    def end(self, computed: bool) -> None:
        """Note that it has ended, and whether the model was computed."""
        self._computed.append(computed)

    def saving(self) -> Saving | None:
        """Return what was saved until now, at the end of the run; None if nothing was predicted.

        A predicted evaluation would have taken the mean time of the computed ones. The first does not count, because
        it prepares the device.
        """
        seconds = [later - earlier for earlier, later in pairwise([*self._begun, self._now()])]
        computed = [each for each, whether in zip(seconds, self._computed, strict=True) if whether]
        predicted = [each for each, whether in zip(seconds, self._computed, strict=True) if not whether]
        if not computed or not predicted:
            return None
        mean = fmean(computed[1:] or computed)
        return Saving(sum(seconds), sum(seconds) - sum(predicted) + mean * len(predicted))


def saving_text(predicted: int, evaluations: int, saving: Saving | None) -> str:
    """Return a line on what was predicted and saved: "15 of 40 evaluations predicted: 12 s instead of 19 s"."""
    text = f"{predicted} of {evaluations} evaluations predicted"
    if saving is None:
        return text
    return f"{text}: {seconds_text(saving.took)} instead of {seconds_text(saving.instead)}"
