"""Forecast of final scores from the scores so far, and of what continuing candidates is worth.

The model: within a prompt, the expected final score of a candidate moves like a Brownian path from the prompt's
mean to the final score, and each moment's score is a measurement of the path. The unit is the within-prompt
standard deviation of the final score, so nothing has to be known about the prompt.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...core.skill import Skill
from .policy import State

Array = NDArray[np.float64]


def moments_passed(state: State) -> list[int | None]:
    """Return how many moments each candidate has passed; None for one whose last score is missing: it is out."""
    passed: list[int | None] = []
    for row, reached in enumerate(state.reached):
        count = bisect_right(state.moments, reached)
        passed.append(count if not count or _is_number(state.scores[row][count - 1]) else None)
    return passed


def _is_number(score: float | None) -> bool:
    return score is not None and bool(np.isfinite(score))


def expected_finals(state: State, skill: Skill) -> Array:
    """Return the expected final score of each candidate ``[candidates]``, as a deviation from the prompt's mean.

    It is 0 before the first score and NaN for candidates that are out. Those that passed a moment are no fair
    sample of the prompt, so the level of a moment is set such that, on average, the candidates scored there have
    become neither better nor worse than expected before. Where ``skill`` has no spreads, the scale comes from
    the first moment at which at least two candidates have a score.
    """
    spreads = skill.spreads(state.moments, state.steps)
    certainty = skill.certainty(state.moments, state.steps)
    scores = np.array([[np.nan if s is None else s for s in row] for row in state.scores], dtype=np.float64)
    means = np.where([count is None for count in moments_passed(state)], np.nan, 0.0)
    scale = 1.0
    scaled = bool(skill.spread)
    for index in range(len(state.moments)):
        seen = np.isfinite(scores[:, index]) & np.isfinite(means)
        if not seen.any():
            continue
        if not scaled and seen.sum() > 1:
            scale, scaled = float(scores[seen, index].std(ddof=1)) or 1.0, True
        gain = np.sqrt(certainty[index + 1]) / (spreads[index] * scale)
        if gain > 0:
            level = np.mean(scores[seen, index] - means[seen] / gain)
            means[seen] = gain * (scores[seen, index] - level)
    return means


@lru_cache(maxsize=64)
def paths(count: int, candidates: int) -> Array:
    """Draw standard normals ``[3 legs, count, candidates]``, always the same, in pairs of opposite sign."""
    half = np.random.default_rng(candidates).standard_normal((3, (count + 1) // 2, candidates))
    return np.concatenate([half, -half], axis=1)[:, :count]


@dataclass(frozen=True, eq=False)
class Forecast:
    """Forecast of what the best finished images of a search will be worth.

    Attributes:
        ends: the moments and the end of the run, as steps.
        certainty: share of the variance of final scores that is known before the run and at each of ``ends``.
        finish: images wanted.
        final_reward: whether the best finished images are found by a reward model; else by their last score.
        draws: number of paths.
        prices: steps that a look costs at each of ``ends``; empty: nothing.
    """

    ends: Sequence[int]
    certainty: Array
    finish: int
    final_reward: bool
    draws: int
    prices: Sequence[float] = ()

    def worth(self, means: Array, known: Array, costs: Array, moment: int, left: float, counts: Sequence[int]) -> Array:
        """Return what the best images will be worth if the first so many candidates continue to a moment.

        From there on the best schedule with at most one more cut is followed; paths are drawn, not solved for.

        Args:
            means: expected final scores ``[n]``, in the order in which candidates continue.
            known: certainty of each, ``[n]``.
            costs: steps that each needs to the moment, with the look there, ``[n]``.
            moment: index into ``ends`` of that moment.
            left: steps that may still be spent.
            counts: numbers of candidates to try.

        Returns:
            Expected mean of the images wanted ``[len(counts)]``; -inf where ``left`` does not suffice to finish
            as many.
        """
        steps, here = self.ends[-1], self.ends[moment]
        legs = paths(self.draws, len(means))
        spent = np.cumsum(costs)
        values = np.full(len(counts), -np.inf)
        for index, count in enumerate(counts):
            over = left - spent[count - 1]
            if count < self.finish or over < self.finish * (steps - here):
                continue
            if here == steps and not self.final_reward:
                values[index] = means[:count].mean() if count == self.finish else -np.inf
                continue
            leg = np.sqrt(np.maximum(self.certainty[moment + 1] - known[:count], 0))
            now = means[:count] + leg * legs[0, :, :count]
            if here == steps:
                values[index] = _top(now, self.finish)
                continue
            now = -np.sort(-now, axis=1)
            values[index] = self._best_schedule(now, legs[1:, :, :count], over, moment)
        return values

    def _best_schedule(self, now: Array, legs: Array, left: float, moment: int) -> float:
        """Return the worth of the best schedule from a moment on: to finish at once, or after one more cut."""
        best = -np.inf
        for later, middle, final in self._schedules(now.shape[1], left, moment):
            then = now[:, :middle]
            if later > moment:
                then = then + np.sqrt(self.certainty[later + 1] - self.certainty[moment + 1]) * legs[0, :, :middle]
                if final < middle:
                    then = -np.partition(-then, final - 1, axis=1)[:, :final]
            if self.final_reward and final > self.finish:
                then = then + np.sqrt(1 - self.certainty[later + 1]) * legs[1, :, :final]
            best = max(best, _top(then, self.finish))
        return best

    def _schedules(self, count: int, left: float, moment: int) -> Iterator[tuple[int, int, int]]:
        """Yield all affordable schedules: moment of the last cut, candidates sampled to it, candidates finished."""
        steps, here = self.ends[-1], self.ends[moment]
        last = min(count, int(left // (steps - here))) if self.final_reward else self.finish
        yield moment, last, last
        most = min(count, self.finish + 3 if self.final_reward else self.finish)
        for later in range(moment + 1, len(self.ends) - 1):
            for final in range(self.finish, most + 1):
                cost = self.ends[later] - here + (self.prices[later] if self.prices else 0)
                middle = min(count, int((left - final * (steps - self.ends[later])) // cost))
                if middle > final:
                    yield later, middle, final


def _top(values: Array, finish: int) -> float:
    """Return the mean over paths of the mean of the ``finish`` largest values; ``values`` is ``[paths, n]``."""
    if values.shape[1] == finish:
        return float(values.mean())
    if finish == 1:
        return float(values.max(axis=1).mean())
    return float(-np.partition(-values, finish - 1, axis=1)[:, :finish].mean())
