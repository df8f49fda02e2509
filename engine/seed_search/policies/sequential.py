"""Default policy: score at many moments, and spend the rest of the budget where it is worth most."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ...core.skill import PREVIEW, Skill
from .forecast import Forecast, expected_finals, moments_passed
from .policy import Policy, State

MOST_STARTED = 256
"""Bound of the candidates that start together."""

LEAST = -1e300
"""Forecast below which nothing can be paid for."""

APART = 2.0
"""Least steps between looks that cost something, as a multiple of what a look costs
(``docs/notes/search-policies.md``)."""

SHARES = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7)
"""Moments, as shares of a run."""


@dataclass(frozen=True)
class Sequential(Policy):
    """Policy that starts as many candidates as pay, and continues as many as are worth their steps at each moment.

    At each decision it forecasts (``forecast.py``), for every number of candidates that could continue to the next
    moment, how good the best finished image will be if the rest of the budget is spent as well as possible from
    there, and takes the number with the best forecast. The other candidates pause, and may continue later if those
    in front turn out worse than expected.

    Attributes:
        budget: steps of all candidates together, with the looks; never exceeded.
        survivors: images wanted; as many are finished, or more with ``final_reward``.
        skill: how well scores predict the reward.
        final_reward: whether a reward model will find the best of the finished images, so that it pays to finish
            a few more. Otherwise the last score decides.
        shares: the moments, as shares of the steps of a full run.
        draws: paths per forecast.
        boldness: how many standard deviations of what is not known yet count in a candidate's favour when
            candidates are ordered: one with fewer scores may be better than expected.
        look_price: steps that a look at a candidate costs. See :meth:`planned`.
        free_skill: how well the score predicts the reward without what costs, such as that of a trained probe beside
            previews. Before ``priced_from`` looks then take that alone and cost nothing. None: every look costs.
        priced_from: share of the run from which looks cost ``look_price``.
    """

    budget: float
    survivors: int = 1
    skill: Skill = PREVIEW
    final_reward: bool = False
    shares: tuple[float, ...] = SHARES
    draws: int = 256
    boldness: float = 0.3
    look_price: float = 0.0
    free_skill: Skill | None = None
    priced_from: float = 0.0

    def moments(self, steps: int) -> tuple[int, ...]:
        """Return the shares of the run in whole steps, each once; none if a run has a single step."""
        return tuple(sorted({_moment(share, steps) for share in self.shares} - {0}))

    def price_at(self, moment: int, steps: int) -> float:
        """Return what a look costs at a moment, in steps."""
        return 0.0 if self.is_free(moment, steps) else self.look_price

    def is_free(self, moment: int, steps: int) -> bool:
        """Tell whether a look at a moment takes the part of the score alone that costs nothing."""
        return self.free_skill is not None and moment < round(self.priced_from * steps)

    def skill_at(self, moments: tuple[int, ...], steps: int) -> Skill:
        """Return the skill of the looks that are taken at these moments."""
        if self.free_skill is None or not moments:
            return self.skill
        kinds = [self.free_skill if self.is_free(moment, steps) else self.skill for moment in moments]
        known = [skill.certainty((moment,), steps)[1] for skill, moment in zip(kinds, moments)]
        spreads = [skill.spreads((moment,), steps)[0] for skill, moment in zip(kinds, moments)]
        progress = tuple(moment / steps for moment in moments)
        return Skill(progress, tuple(np.sqrt(known)), tuple(spreads), self.skill.source)

    def prices(self, moments: tuple[int, ...], steps: int) -> tuple[float, ...]:
        """Return what a look costs at each of these moments, and nothing at the end, in steps."""
        return (*(self.price_at(moment, steps) for moment in moments), 0.0)

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
        self, state: State, rows: list[int], passed: list[int | None], left: float, wanted: int
    ) -> dict[int, int]:
        """Return the goals of ``rows``, each of which can be finished with ``left`` steps."""
        skill = self.skill_at(state.moments, state.steps)
        known = skill.certainty(state.moments, state.steps)[[count or 0 for count in passed]]
        means = expected_finals(state, skill)
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
        self, state: State, rows: list[int], means: np.ndarray, known: np.ndarray, left: float, finish: int
    ) -> dict[int, int]:
        """Return the goals of the first so many of ``rows``; none if ``left`` does not finish ``finish`` of them."""
        ends = (*state.moments, state.steps)
        moment = bisect_right(state.moments, state.reached[rows[0]])
        prices = self.prices(state.moments, state.steps)
        ahead = np.array([ends[moment] - state.reached[row] for row in rows], np.float64)
        costs = np.where(ahead > 0, ahead + prices[moment], 0.0)
        counts = _counts_to_try(finish, int(np.searchsorted(np.cumsum(costs), left, side="right")))
        draws = min(self.draws, max(64, 4096 // len(rows)))
        certainty = self.skill_at(state.moments, state.steps).certainty(state.moments, state.steps)
        forecast = Forecast(ends, certainty, finish, self.final_reward, draws, prices)
        values = forecast.worth(means, known, costs, moment, left, counts)
        rest = [state.steps - state.reached[row] for row in rows]
        if prices[moment]:
            numbers = range(finish, int(np.searchsorted(np.cumsum(rest), left, side="right")) + 1)
            at_once = forecast.worth(means, known, np.array(rest, np.float64), len(ends) - 1, left, numbers)
            if at_once.max(initial=-np.inf) >= max(values.max(initial=-np.inf), LEAST):
                return dict.fromkeys(rows[: numbers[int(np.argmax(at_once))]], state.steps)
        if not np.isfinite(values).any():
            return {}
        count = counts[int(np.argmax(values))]
        affords_no_other = all(cost > left - costs[:count].sum() for cost in rest[count:])
        if moment and count == finish and affords_no_other and sum(rest[:count]) <= left:
            return dict.fromkeys(rows[:count], state.steps)
        return {row: ends[moment] for row, cost in zip(rows[:count], costs) if cost}

    def planned(self, candidates: int, steps: int) -> "Sequential":
        """Return the same policy with the moments that are worth their looks for so many candidates.

        Those before the first decision are left out, because their scores are not used. Of looks that cost something,
        the next is as many steps later as :data:`APART` looks cost, at least. Where a part of the score is free, looks
        take that alone up to the moment from which the forecast is best.
        """
        if not self.look_price or self.free_skill is None:
            return self._from_first(candidates, steps)
        moments = self.moments(steps)
        plans = [self._from_first(candidates, steps, first) for first in (*moments, steps)]
        values = [_start(plan, candidates, plan.moments(steps), steps)[2] for plan in plans]
        return plans[int(np.argmax(values))]

    def _from_first(self, candidates: int, steps: int, priced: int = 0) -> "Sequential":
        """Return the policy without moments before its first decision, and with space between its priced looks."""
        policy = replace(self, priced_from=priced / steps)
        first = policy.start(candidates, policy.moments(steps), steps)[1]
        kept = _spaced([moment for moment in policy.moments(steps) if moment >= first], priced, APART * self.look_price)
        return replace(policy, shares=tuple(share for share in self.shares if _moment(share, steps) in kept))

    def start(self, candidates: int, moments: tuple[int, ...], steps: int) -> tuple[int, int]:
        """Return how many candidates to start, at most ``candidates``, and their first moment as a step."""
        return _start(self, candidates, moments, steps)[:2]


def _spaced(moments: list[int], priced: int, apart: float) -> list[int]:
    """Return the moments without those less than ``apart`` steps after one that is not before ``priced``."""
    kept: list[int] = []
    for moment in moments:
        if not kept or kept[-1] < priced or moment - kept[-1] >= apart:
            kept.append(moment)
    return kept


def _moment(share: float, steps: int) -> int:
    """Return the step of a share of a run, before its last one; 0 for a run of one step."""
    return min(max(1, round(share * steps)), steps - 1)


def _counts_to_try(least: int, most: int) -> list[int]:
    """Return numbers from ``least`` to ``most``: all small ones and some of the large ones."""
    counts, count = [], max(1, least)
    while count <= most:
        counts.append(count)
        count = max(count + 1, int(count * 1.2))
    return counts


@lru_cache(maxsize=256)
def _start(policy: Sequential, candidates: int, moments: tuple[int, ...], steps: int) -> tuple[int, int, float]:
    """Return how many candidates to start, their first moment as a step, and what that is expected to be worth."""
    ends, prices = (*moments, steps), policy.prices(moments, steps)
    certainty = policy.skill_at(moments, steps).certainty(moments, steps)
    finish = max(1, min(policy.survivors, candidates, int(policy.budget // steps)))

    def values(moment: int, counts: list[int], draws: int) -> np.ndarray:
        zeros, costs = np.zeros(counts[-1]), np.full(counts[-1], ends[moment] + prices[moment])
        forecast = Forecast(ends, certainty, finish, policy.final_reward, draws, prices)
        return forecast.worth(zeros, zeros, costs, moment, policy.budget, counts)

    plans = []
    for moment in range(len(ends)):
        most = min(candidates, MOST_STARTED, int(policy.budget // (ends[moment] + prices[moment])))
        counts = _counts_to_try(finish, most)
        if counts:
            plans += [(value, count, moment) for value, count in zip(values(moment, counts, 256), counts)]
    best = sorted(plans, key=lambda plan: -plan[0])[:8]
    exact = [(values(moment, [count], 4096)[0], -count, ends[moment]) for _, count, moment in best]
    if not exact:
        return 0, steps, -np.inf
    value, count, moment = max(exact)
    return -count, moment, value
