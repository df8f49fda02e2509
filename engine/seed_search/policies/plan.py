"""Expected cost of a search, before any score is known."""

from .policy import Policy, State


def expected_steps(policy: Policy, candidates: int, steps: int) -> int:
    """Return the steps that a whole search takes if earlier candidates score higher at every moment.

    The result is exact for policies whose schedule is fixed before the search, and an estimate for the others.
    """
    moments = policy.moments(steps)
    reached = [0] * candidates
    scores: list[list[float | None]] = [[None] * len(moments) for _ in reached]
    for _ in range(candidates * (len(moments) + 1)):
        alive = tuple(row for row in range(candidates) if reached[row] < steps)
        table = tuple(tuple(row) for row in scores)
        goals = policy.next(State(table, tuple(reached), sum(reached), alive, moments, steps))
        if not goals:
            break
        for row, goal in goals.items():
            reached[row] = goal
            if goal in moments:
                scores[row][moments.index(goal)] = float(candidates - row)
    return sum(reached)
