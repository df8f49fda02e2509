"""Policies with a schedule that is fixed before the search, and one that stops early."""

from dataclasses import dataclass

from ...core.ranking import best_first
from .forecast import moments_passed
from .policy import Policy, State

HALVING_SHARES = (0.2, 0.35, 0.5)
"""Shares of a run after which successive halving cuts."""


def best_scored(state: State, rows: list[int], moment: int, count: int) -> list[int]:
    """Return the ``count`` rows with the highest scores at a moment; of equal scores the lower row first.

    A row without a score, or with a score that is NaN, is left out.

    Args:
        rows: numbers of candidates to choose from.
        moment: index into ``state.moments``.
    """
    passed = moments_passed(state)
    scored = [row for row in rows if passed[row] is not None and state.scores[row][moment] is not None]
    order = best_first([state.scores[row][moment] for row in scored])
    return [scored[index] for index in order[: max(0, count)]]


@dataclass(frozen=True)
class Cuts(Policy):
    """Schedule of cuts: at each moment the best candidates continue, and after the last moment they are finished.

    Attributes:
        start: how many candidates start; all, if there are fewer.
        at: the moments as steps, ascending, all before the last step.
        keep: how many candidates continue after each moment; as many numbers as moments.
        look_price: steps that a look at a candidate costs.
    """

    start: int
    at: tuple[int, ...]
    keep: tuple[int, ...]
    look_price: float = 0.0

    def __post_init__(self) -> None:
        if len(self.at) != len(self.keep) or list(self.at) != sorted(set(self.at)):
            raise ValueError(f"the moments {self.at} have to ascend, with one number to keep each, not {self.keep}")

    def cost(self, steps: int) -> float:
        """Return the steps that the schedule takes if every candidate is scored at every moment, with the looks."""
        ends, counts = (0, *self.at, steps), (self.start, *self.keep)
        looks = self.look_price * sum(counts[:-1])
        return sum(count * (end - begin) for count, begin, end in zip(counts, ends, ends[1:])) + looks

    def price_at(self, moment: int, steps: int) -> float:
        """Return what a look costs, in steps."""
        return self.look_price

    def moments(self, steps: int) -> tuple[int, ...]:
        """Return the moments of the cuts.

        Raises:
            ValueError: a cut is outside of a run of ``steps`` steps.
        """
        if self.at and not 1 <= self.at[0] <= self.at[-1] < steps:
            raise ValueError(f"a run of {steps} steps has no cut at {self.at}: cuts are at 1 to {steps - 1}")
        return self.at

    def next(self, state: State) -> dict[int, int]:
        """Return the next moment as the goal of the best candidates that are furthest."""
        ends = (*state.moments, state.steps)
        if state.spent == 0:
            return dict.fromkeys(state.alive[: self.start], ends[0])
        front = max((state.reached[row] for row in state.alive), default=0)
        if front not in state.moments or state.steps in state.reached:
            return {}
        moment = state.moments.index(front)
        rows = [row for row in state.alive if state.reached[row] == front]
        return dict.fromkeys(best_scored(state, rows, moment, self.keep[moment]), ends[moment + 1])


def halving(
    budget: float,
    steps: int,
    candidates: int,
    survivors: int = 1,
    shares: tuple[float, ...] = (),
    look_price: float = 0.0,
) -> Cuts:
    """Return the cuts of successive halving, with as many candidates at the start as the budget allows.

    At each moment the better half continues, and after the last moment ``survivors`` candidates. Where the budget
    doesn't pay for looks at the survivors, they are finished without any.

    Args:
        budget: steps of all candidates together, with the looks, at least ``survivors * steps``.
        steps: steps of a full run.
        candidates: how many there are.
        shares: shares of the run after which to cut; empty: :data:`HALVING_SHARES`.
        look_price: steps that a look at a candidate costs.

    Source: Karnin, Koren, Somekh (2013), "Almost optimal exploration in multi-armed bandits".
    """
    moments = {min(max(1, round(share * steps)), steps - 1) for share in shares or HALVING_SHARES}
    at = tuple(sorted(moments - {0}))
    if not at:
        return Cuts(survivors, (), ())
    starts = range(min(candidates, int(budget // at[0])), survivors - 1, -1)
    plans = (_halving_from(start, at, survivors, look_price) for start in starts)
    return next((plan for plan in plans if plan.cost(steps) <= budget), Cuts(survivors, (), ()))


def _halving_from(start: int, at: tuple[int, ...], survivors: int, look_price: float) -> Cuts:
    keep = [max(-(-start // 2**rung), survivors) for rung in range(1, len(at))]
    return Cuts(start, at, (*keep, survivors), look_price)


@dataclass(frozen=True)
class UntilGoodEnough(Policy):
    """Small groups of candidates are sampled to one moment until enough of them reach a target score.

    Those are finished. If budget or candidates run out before, the best scored so far are finished.

    Attributes:
        target: score at the moment that is good enough, in the probe's unit.
        budget: steps of all candidates together, with the looks; never exceeded.
        survivors: how many candidates have to reach the target.
        group: how many candidates are sampled together.
        share: the moment, as a share of the steps of a full run.
        look_price: steps that a look at a candidate costs.
    """

    target: float
    budget: float
    survivors: int = 1
    group: int = 4
    share: float = 0.3
    look_price: float = 0.0

    def moments(self, steps: int) -> tuple[int, ...]:
        """Return the one moment; none if a run has a single step, or the budget pays for no look."""
        if steps < 2 or self.budget < self.survivors * (steps + self.look_price):
            return ()
        return (min(max(1, round(self.share * steps)), steps - 1),)

    def price_at(self, moment: int, steps: int) -> float:
        """Return what a look costs, in steps."""
        return self.look_price

    def next(self, state: State) -> dict[int, int]:
        """Return the moment as the goal of the next group, or the end as the goal of the best; then nothing."""
        if state.steps in state.reached:
            return {}
        if not state.moments:
            return dict.fromkeys(state.alive[: self.survivors], state.steps)
        moment = state.moments[0]
        not_started = [row for row in state.alive if state.reached[row] == 0]
        scored = [row for row in state.alive if state.reached[row] > 0]
        best = best_scored(state, scored, 0, self.survivors)
        good = sum(state.scores[row][0] >= self.target for row in best)
        left = self.budget - state.spent - self.survivors * (state.steps - moment)
        more = min(self.group, len(not_started), int(left // (moment + self.look_price)))
        if good >= self.survivors or more < 1:
            return dict.fromkeys(best, state.steps)
        return dict.fromkeys(not_started[:more], moment)
