"""Where candidates of one prompt are likely to end, from the scores seen so far, and what going on is worth.

The model: within a prompt, what is expected of a candidate's final score moves like a Brownian path
from the prompt's mean to the final score, and each moment's score shows where the path is. The unit is
the within-prompt standard deviation of the final score, so nothing has to be known about the prompt.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...core.skill import Skill
from .policy import State

Array = NDArray[np.float64]


def standing(state: State) -> list[int | None]:
    """How many moments each candidate has behind it; None for one whose last score is missing: it is out."""
    behind = [bisect_right(state.moments, reached) for reached in state.reached]
    return [
        None if count and not _is_number(state.scores[row][count - 1]) else count for row, count in enumerate(behind)
    ]


def _is_number(score: float | None) -> bool:
    return score is not None and bool(np.isfinite(score))


def expected_finals(state: State, skill: Skill) -> Array:
    """Expected final score of each candidate ``[candidates]``, as a deviation from the prompt's mean.

    0 before the first look, NaN for candidates that are out. Those that went on past a moment are no
    fair sample of the prompt, so a moment's level is set such that, on average, the candidates seen
    there have become neither better nor worse than expected of them before. Where ``skill`` has no
    spreads, the scale comes from the first moment that at least two candidates have passed.
    """
    spreads = skill.spreads(state.moments, state.steps)
    certainty = skill.certainty(state.moments, state.steps)
    behind = standing(state)
    scores = np.array([[np.nan if s is None else s for s in row] for row in state.scores], dtype=np.float64)
    means = np.where([count is None for count in behind], np.nan, 0.0)
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
    """Standard normal draws ``[3 legs, count, candidates]``, always the same, in pairs of opposite sign."""
    half = np.random.default_rng(candidates).standard_normal((3, (count + 1) // 2, candidates))
    return np.concatenate([half, -half], axis=1)[:, :count]


def worth(
    means: Array,
    known: Array,
    costs: Array,
    moment: int,
    left: int,
    ends: Sequence[int],
    certainty: Array,
    counts: Sequence[int],
    finish: int,
    judged: bool,
    draws: int,
) -> Array:
    """What the best ``finish`` images will be worth if the first so many candidates go on to a moment.

    From there on the best schedule with at most one more cut is followed; paths are drawn, not solved for.

    Args:
        means: expected final scores ``[n]``, those to go first at the front.
        known: certainty of each, ``[n]``.
        costs: evaluations that each needs to the moment, ``[n]``.
        moment: index into ``ends`` of that moment.
        left: evaluations that may still be spent.
        ends: the moments and the end of the run, as evaluations.
        certainty: share of the variance known before the run, at each of ``ends``.
        counts: how many candidates to try to bring to the moment.
        finish: images wanted.
        judged: the best finished images are found by looking at them; else the last score decides.
        draws: number of paths.

    Returns:
        Expected mean of the images wanted ``[len(counts)]``, -inf where ``left`` doesn't suffice to
        finish as many.
    """
    steps, here = ends[-1], ends[moment]
    legs = paths(draws, len(means))
    spent = np.cumsum(costs)
    found = np.full(len(counts), -np.inf)
    for place, count in enumerate(counts):
        over = left - spent[count - 1]
        if count < finish or over < finish * (steps - here):
            continue
        if here == steps and not judged:
            found[place] = means[:count].mean() if count == finish else -np.inf
            continue
        leg = np.sqrt(np.maximum(certainty[moment + 1] - known[:count], 0))
        now = means[:count] + leg * legs[0, :, :count]
        if here == steps:
            found[place] = _top(now, finish)
            continue
        now = -np.sort(-now, axis=1)
        found[place] = _best_schedule(now, legs[1:, :, :count], over, moment, ends, certainty, finish, judged)
    return found


def _best_schedule(
    now: Array,
    legs: Array,
    left: float,
    moment: int,
    ends: Sequence[int],
    certainty: Array,
    finish: int,
    judged: bool,
) -> float:
    """The best of all schedules from a moment on: to finish at once, or after one more cut."""
    steps, here, count = ends[-1], ends[moment], now.shape[1]
    last = min(count, int(left // (steps - here))) if judged else finish
    best = -np.inf
    options = [(moment, last, last)]
    for later in range(moment + 1, len(ends) - 1):
        for final in range(finish, min(count, finish + 3 if judged else finish) + 1):
            middle = min(count, int((left - final * (steps - ends[later])) // (ends[later] - here)))
            if middle > final:
                options.append((later, middle, final))
    for later, middle, final in options:
        then = now[:, :middle]
        if later > moment:
            then = then + np.sqrt(certainty[later + 1] - certainty[moment + 1]) * legs[0, :, :middle]
            if final < middle:
                then = -np.partition(-then, final - 1, axis=1)[:, :final]
        if judged and final > finish:
            then = then + np.sqrt(1 - certainty[later + 1]) * legs[1, :, :final]
        best = max(best, _top(then, finish))
    return best


def _top(values: Array, finish: int) -> float:
    """Mean over paths of the mean of the ``finish`` largest."""
    if values.shape[1] == finish:
        return float(values.mean())
    if finish == 1:
        return float(values.max(axis=1).mean())
    return float(-np.partition(-values, finish - 1, axis=1)[:, :finish].mean())
