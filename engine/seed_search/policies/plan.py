"""Expected cost of a search, before any score is known, and how many of its candidates start."""

from .policy import Policy, State
from .schedules import UntilGoodEnough


def line_on_start(policy: Policy, candidates: int, steps: int) -> str:
    """Return a sentence on how many candidates start, where the budget does not let all start; else nothing.

    A policy that samples candidates in groups until some are good enough may start any number.
    """
    if isinstance(policy, UntilGoodEnough):
        return ""
    moments = policy.moments(steps)
    scores = tuple((None,) * len(moments) for _ in range(candidates))
    first = State(scores, (0,) * candidates, 0, tuple(range(candidates)), moments, steps)
    started = len(policy.next(first))
    if started >= candidates:
        return ""
    return (
        f"{started} of {candidates} candidates start, and the others are not looked at: more would leave too little of "
        "the budget for those that go on. A larger budget starts more."
    )


def expected_steps(policy: Policy, candidates: int, steps: int) -> int:
    """Return the steps that a whole search takes if earlier candidates score higher at every moment.

    The result is exact for policies whose schedule is fixed before the search, and an estimate for the others. Looks
    are not part of it, though the policy counts them.
    """
    looks = 0.0
    moments = policy.moments(steps)
    reached = [0] * candidates
    scores: list[list[float | None]] = [[None] * len(moments) for _ in reached]
    for _ in range(candidates * (len(moments) + 1)):
        alive = tuple(row for row in range(candidates) if reached[row] < steps)
        table = tuple(tuple(row) for row in scores)
        goals = policy.next(State(table, tuple(reached), sum(reached) + looks, alive, moments, steps))
        if not goals:
            break
        for row, goal in goals.items():
            reached[row] = goal
            if goal in moments:
                scores[row][moments.index(goal)] = float(candidates - row)
                looks += policy.price_at(goal, steps)
    return sum(reached)
