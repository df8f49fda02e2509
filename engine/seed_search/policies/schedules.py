"""Policies that are fixed before the search starts, but for one that stops early."""

from dataclasses import dataclass

from ...core.ranking import best_first
from .forecast import standing
from .policy import State


def best_scored(state: State, rows: list[int], moment: int, count: int) -> list[int]:
    """The ``count`` best of ``rows`` by their score at a moment; of equal scores the lower row first.

    A row without a score, or with one that is NaN, is left out.
    """
    behind = standing(state)
    scored = [row for row in rows if behind[row] is not None and state.scores[row][moment] is not None]
    order = best_first([state.scores[row][moment] for row in scored])
    return [scored[place] for place in order[: max(0, count)]]


@dataclass(frozen=True)
class Cuts:
    """So many candidates to the first moment, the best of them to the second, … the last to the end.

    Attributes:
        start: how many candidates start; all, where there are fewer.
        at: the moments, as evaluations, ascending, all before the end.
        keep: how many go on after each moment, as many numbers as moments.
    """

    start: int
    at: tuple[int, ...]
    keep: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.at) != len(self.keep) or list(self.at) != sorted(set(self.at)):
            raise ValueError(f"the moments {self.at} have to ascend, with one number to keep each, not {self.keep}")

    def cost(self, steps: int) -> int:
        """Evaluations that the schedule takes, if every score is there."""
        ends, going = (0, *self.at, steps), (self.start, *self.keep)
        return sum(count * (end - begin) for count, begin, end in zip(going, ends, ends[1:]))

    def moments(self, steps: int) -> tuple[int, ...]:
        if self.at and not 1 <= self.at[0] <= self.at[-1] < steps:
            raise ValueError(f"a run of {steps} evaluations has no cut at {self.at}: cuts lie at 1 to {steps - 1}")
        return self.at

    def next(self, state: State) -> dict[int, int]:
        """Those in front to the next moment, as many of them as the schedule keeps."""
        ends = (*state.moments, state.steps)
        if state.spent == 0:
            return dict.fromkeys(state.alive[: self.start], ends[0])
        front = max((state.reached[row] for row in state.alive), default=0)
        if front not in state.moments or state.steps in state.reached:
            return {}
        place = state.moments.index(front)
        rows = [row for row in state.alive if state.reached[row] == front]
        return dict.fromkeys(best_scored(state, rows, place, self.keep[place]), ends[place + 1])


def halving(budget: int, steps: int, candidates: int, survivors: int = 1, shares: tuple[float, ...] = ()) -> Cuts:
    """Successive halving: at each moment the better half goes on, and of the last half ``survivors``.

    As many candidates start as the budget allows.

    Args:
        budget: evaluations of all candidates together, at least ``survivors * steps``.
        steps: evaluations of a full run.
        candidates: how many there are.
        shares: where to halve, as shares of the run. Empty: at 20, 35 and 50 %.

    Source: Karnin, Koren, Somekh (2013), "Almost optimal exploration in multi-armed bandits".
    """
    at = tuple(sorted({min(max(1, round(share * steps)), steps - 1) for share in shares or (0.2, 0.35, 0.5)} - {0}))
    if not at:
        return Cuts(survivors, (), ())
    plans = (_halved(start, at, survivors) for start in range(min(candidates, budget // at[0]), survivors - 1, -1))
    return next(plan for plan in plans if plan.cost(steps) <= budget)


def _halved(start: int, at: tuple[int, ...], survivors: int) -> Cuts:
    keep = [max(-(-start // 2**rung), survivors) for rung in range(1, len(at))]
    return Cuts(start, at, (*keep, survivors))


@dataclass(frozen=True)
class UntilGoodEnough:
    """Candidates in small groups to one moment, until enough of them score the target; these are finished.

    When budget or candidates run out before, the best so far are finished.

    Attributes:
        target: the score at the moment that is good enough, in the probe's unit.
        budget: evaluations of all candidates together, never exceeded.
        survivors: how many have to be good enough.
        group: how many candidates go together.
        share: where to look, as a share of the evaluations of a full run.
    """

    target: float
    budget: int
    survivors: int = 1
    group: int = 4
    share: float = 0.3

    def moments(self, steps: int) -> tuple[int, ...]:
        return (min(max(1, round(self.share * steps)), steps - 1),) if steps > 1 else ()

    def next(self, state: State) -> dict[int, int]:
        """The next group to the moment, or the best to the end; empty once some were sent there."""
        if state.steps in state.reached:
            return {}
        if not state.moments:
            return dict.fromkeys(state.alive[: self.survivors], state.steps)
        moment = state.moments[0]
        waiting = [row for row in state.alive if state.reached[row] == 0]
        looked = [row for row in state.alive if state.reached[row] > 0]
        best = best_scored(state, looked, 0, self.survivors)
        good = sum(state.scores[row][0] >= self.target for row in best)
        left = self.budget - state.spent - self.survivors * (state.steps - moment)
        more = min(self.group, len(waiting), left // moment)
        if good >= self.survivors or more < 1:
            return dict.fromkeys(best, state.steps)
        return dict.fromkeys(waiting[:more], moment)
