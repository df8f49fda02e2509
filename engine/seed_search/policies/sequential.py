"""The default policy: look at every moment, and spend what is left where it is worth most."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ...core.skill import PREVIEW, Skill
from .forecast import expected_finals, standing, worth
from .policy import State

MOST_STARTED = 256

SHARES = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True)
class Sequential:
    """Starts as many candidates as pay, and at each moment lets on as many as are worth their evaluations.

    At each decision it forecasts (``forecast.py``), for every number of candidates that could
    go on to the next moment, how good the best finished image will be if the rest of the budget is spent as
    well as it can be from there, and takes the number with the best outlook. Candidates left behind stand still and
    may be taken up again when those in front disappoint.

    Attributes:
        budget: evaluations of all candidates together, never exceeded.
        survivors: images wanted; as many are finished, or more where ``judged``.
        skill: how well scores predict the end.
        judged: the best of the finished images will be found by looking at them, so it pays to finish
            a few more. Otherwise the last score decides.
        shares: where to look, as shares of the evaluations of a full run.
        draws: paths per forecast.
        boldness: candidates seen less may be better than expected: how many standard deviations of
            what is not known yet count in their favour when choosing who goes first.
    """

    budget: int
    survivors: int = 1
    skill: Skill = PREVIEW
    judged: bool = False
    shares: tuple[float, ...] = SHARES
    draws: int = 256
    boldness: float = 0.3

    def moments(self, steps: int) -> tuple[int, ...]:
        """The shares of the run in whole evaluations, each once; none where one step is all."""
        return tuple(sorted({min(max(1, round(share * steps)), steps - 1) for share in self.shares} - {0}))

    def next(self, state: State) -> dict[int, int]:
        """See the class. Empty when the budget doesn't finish another image, or all wanted are finished."""
        behind = standing(state)
        usable = [row for row in state.alive if behind[row] is not None]
        started = [row for row in usable if state.reached[row] > 0]
        finished = sum(reached == state.steps for reached in state.reached)
        wanted = self.survivors - finished
        if not started and not finished and state.spent == 0:
            count, moment = self.start(len(usable), state.moments, state.steps)
            return dict.fromkeys(usable[:count], moment)
        left = self.budget - state.spent
        rows = [row for row in started or usable if state.steps - state.reached[row] <= left]
        if not rows or (wanted < 1 and not self.judged):
            return {}
        return self._advance(state, rows, behind, left, max(1, wanted))

    def _advance(self, state: State, rows: list[int], behind: list, left: int, wanted: int) -> dict[int, int]:
        """Who of ``rows``, each of which ``left`` would finish, goes on to where."""
        known = self.skill.certainty(state.moments, state.steps)[[count or 0 for count in behind]]
        means = expected_finals(state, self.skill)
        hope = means + self.boldness * np.sqrt(1 - known)
        promising = sorted(rows, key=lambda row: (-hope[row], row))
        furthest = sorted(promising, key=lambda row: -state.reached[row])
        for finish in range(min(wanted, len(rows)), 0, -1):
            # The most promising may be too far from the end to finish all that are wanted: then those in front.
            for order in (promising, furthest):
                if answer := self._spend(state, order, means[order], known[order], left, finish):
                    return answer
        return {}

    def _spend(
        self, state: State, rows: list[int], means: np.ndarray, known: np.ndarray, left: int, finish: int
    ) -> dict[int, int]:
        """How many of ``rows``, first those at the front, go on; nobody where ``left`` won't finish as many."""
        ends = (*state.moments, state.steps)
        moment = bisect_right(state.moments, state.reached[rows[0]])
        certainty = self.skill.certainty(state.moments, state.steps)
        costs = np.array([max(0, ends[moment] - state.reached[row]) for row in rows])
        counts = _tries(finish, int(np.searchsorted(np.cumsum(costs), left, side="right")))
        draws = min(self.draws, max(64, 4096 // len(rows)))
        values = worth(means, known, costs, moment, left, ends, certainty, counts, finish, self.judged, draws)
        if not np.isfinite(values).any():
            return {}
        count = counts[int(np.argmax(values))]
        rest = [state.steps - state.reached[row] for row in rows]
        alone = all(cost > left - costs[:count].sum() for cost in rest[count:])
        if moment and count == finish and alone and sum(rest[:count]) <= left:
            return dict.fromkeys(rows[:count], state.steps)
        return {row: ends[moment] for row, cost in zip(rows[:count], costs) if cost}

    def looking_late(self, candidates: int, steps: int) -> "Sequential":
        """The same policy without the looks that it would not use: those before the first decision."""
        first = self.start(candidates, self.moments(steps), steps)[1]
        return replace(self, shares=tuple(share for share in self.shares if max(1, round(share * steps)) >= first))

    def start(self, candidates: int, moments: tuple[int, ...], steps: int) -> tuple[int, int]:
        """How many candidates to start, at most ``candidates``, and to which moment they go first."""
        return _start(self, candidates, moments, steps)


def _tries(least: int, most: int) -> list[int]:
    """Numbers from ``least`` to ``most``, all the small ones and some of the large."""
    found, count = [], max(1, least)
    while count <= most:
        found.append(count)
        count = max(count + 1, int(count * 1.2))
    return found


@lru_cache(maxsize=256)
def _start(policy: Sequential, candidates: int, moments: tuple[int, ...], steps: int) -> tuple[int, int]:
    ends = (*moments, steps)
    certainty = policy.skill.certainty(moments, steps)
    finish = max(1, min(policy.survivors, candidates, policy.budget // steps))

    def values(moment: int, counts: list[int], draws: int) -> np.ndarray:
        most = counts[-1]
        zeros, costs = np.zeros(most), np.full(most, ends[moment])
        return worth(zeros, zeros, costs, moment, policy.budget, ends, certainty, counts, finish, policy.judged, draws)

    plans = []
    for moment in range(len(ends)):
        counts = _tries(finish, min(candidates, MOST_STARTED, policy.budget // ends[moment]))
        if counts:
            plans += [(value, count, moment) for value, count in zip(values(moment, counts, 256), counts)]
    best = sorted(plans, key=lambda plan: -plan[0])[:8]
    exact = [(values(moment, [count], 4096)[0], -count, ends[moment]) for _, count, moment in best]
    if not exact:
        return 0, steps
    _, count, moment = max(exact)
    return -count, moment
