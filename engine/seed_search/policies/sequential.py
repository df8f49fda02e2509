"""Default policy: score at many moments, and spend the rest of the budget where it is worth most."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ...core.skill import PREVIEW, Skill
from .forecast import Forecast, expected_finals, moments_passed
from .policy import State

MOST_STARTED = 256
"""Bound of the candidates that start together."""

SHARES = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7)
"""Moments, as shares of a run."""


@dataclass(frozen=True)
class Sequential:
    """Policy that starts as many candidates as pay, and continues as many as are worth their steps at each moment.

    At each decision it forecasts (``forecast.py``), for every number of candidates that could continue to the next
    moment, how good the best finished image will be if the rest of the budget is spent as well as possible from
    there, and takes the number with the best forecast. The other candidates pause, and may continue later if those
    in front turn out worse than expected.

    Attributes:
        budget: steps of all candidates together, never exceeded.
        survivors: images wanted; as many are finished, or more with ``final_reward``.
        skill: how well scores predict the reward.
        final_reward: whether a reward model will find the best of the finished images, so that it pays to finish
            a few more. Otherwise the last score decides.
        shares: the moments, as shares of the steps of a full run.
        draws: paths per forecast.
        boldness: how many standard deviations of what is not known yet count in a candidate's favour when
            candidates are ordered: one with fewer scores may be better than expected.
    """

    budget: int
    survivors: int = 1
    skill: Skill = PREVIEW
    final_reward: bool = False
    shares: tuple[float, ...] = SHARES
    draws: int = 256
    boldness: float = 0.3

    def moments(self, steps: int) -> tuple[int, ...]:
        """Return the shares of the run in whole steps, each once; none if a run has a single step."""
        return tuple(sorted({min(max(1, round(share * steps)), steps - 1) for share in self.shares} - {0}))

    def next(self, state: State) -> dict[int, int]:
        """Return the goals with the best forecast; none if all wanted images are finished or none can be paid."""
        passed = moments_passed(state)
        usable = [row for row in state.alive if passed[row] is not None]
        started = [row for row in usable if state.reached[row] > 0]
        wanted = self.survivors - state.finished
        if not started and not state.finished and state.spent == 0:
            count, moment = self.start(len(usable), state.moments, state.steps)
            return dict.fromkeys(usable[:count], moment)
        left = self.budget - state.spent
        rows = [row for row in started or usable if state.steps - state.reached[row] <= left]
        if not rows or (wanted < 1 and not self.final_reward):
            return {}
        return self._advance(state, rows, passed, left, max(1, wanted))

    def _advance(
        self, state: State, rows: list[int], passed: list[int | None], left: int, wanted: int
    ) -> dict[int, int]:
        """Return the goals of ``rows``, each of which can be finished with ``left`` steps."""
        known = self.skill.certainty(state.moments, state.steps)[[count or 0 for count in passed]]
        means = expected_finals(state, self.skill)
        hope = means + self.boldness * np.sqrt(1 - known)
        promising = sorted(rows, key=lambda row: (-hope[row], row))
        furthest = sorted(promising, key=lambda row: -state.reached[row])
        for finish in range(min(wanted, len(rows)), 0, -1):
            # The most promising may be too far from the end to finish all that are wanted: then those in front.
            for order in (promising, furthest):
                if goals := self._spend(state, order, means[order], known[order], left, finish):
                    return goals
        return {}

    def _spend(
        self, state: State, rows: list[int], means: np.ndarray, known: np.ndarray, left: int, finish: int
    ) -> dict[int, int]:
        """Return the goals of the first so many of ``rows``; none if ``left`` does not finish ``finish`` of them."""
        ends = (*state.moments, state.steps)
        moment = bisect_right(state.moments, state.reached[rows[0]])
        costs = np.array([max(0, ends[moment] - state.reached[row]) for row in rows])
        counts = _counts_to_try(finish, int(np.searchsorted(np.cumsum(costs), left, side="right")))
        draws = min(self.draws, max(64, 4096 // len(rows)))
        certainty = self.skill.certainty(state.moments, state.steps)
        forecast = Forecast(ends, certainty, finish, self.final_reward, draws)
        values = forecast.worth(means, known, costs, moment, left, counts)
        if not np.isfinite(values).any():
            return {}
        count = counts[int(np.argmax(values))]
        rest = [state.steps - state.reached[row] for row in rows]
        affords_no_other = all(cost > left - costs[:count].sum() for cost in rest[count:])
        if moment and count == finish and affords_no_other and sum(rest[:count]) <= left:
            return dict.fromkeys(rows[:count], state.steps)
        return {row: ends[moment] for row, cost in zip(rows[:count], costs) if cost}

    def without_unused_moments(self, candidates: int, steps: int) -> "Sequential":
        """Return the same policy without the moments before its first decision, whose scores it would not use."""
        first = self.start(candidates, self.moments(steps), steps)[1]
        return replace(self, shares=tuple(share for share in self.shares if max(1, round(share * steps)) >= first))

    def start(self, candidates: int, moments: tuple[int, ...], steps: int) -> tuple[int, int]:
        """Return how many candidates to start, at most ``candidates``, and their first moment as a step."""
        return _start(self, candidates, moments, steps)


def _counts_to_try(least: int, most: int) -> list[int]:
    """Return numbers from ``least`` to ``most``: all small ones and some of the large ones."""
    counts, count = [], max(1, least)
    while count <= most:
        counts.append(count)
        count = max(count + 1, int(count * 1.2))
    return counts


@lru_cache(maxsize=256)
def _start(policy: Sequential, candidates: int, moments: tuple[int, ...], steps: int) -> tuple[int, int]:
    ends = (*moments, steps)
    certainty = policy.skill.certainty(moments, steps)
    finish = max(1, min(policy.survivors, candidates, policy.budget // steps))

    def values(moment: int, counts: list[int], draws: int) -> np.ndarray:
        zeros, costs = np.zeros(counts[-1]), np.full(counts[-1], ends[moment])
        forecast = Forecast(ends, certainty, finish, policy.final_reward, draws)
        return forecast.worth(zeros, zeros, costs, moment, policy.budget, counts)

    plans = []
    for moment in range(len(ends)):
        counts = _counts_to_try(finish, min(candidates, MOST_STARTED, policy.budget // ends[moment]))
        if counts:
            plans += [(value, count, moment) for value, count in zip(values(moment, counts, 256), counts)]
    best = sorted(plans, key=lambda plan: -plan[0])[:8]
    exact = [(values(moment, [count], 4096)[0], -count, ends[moment]) for _, count, moment in best]
    if not exact:
        return 0, steps
    _, count, moment = max(exact)
    return -count, moment
