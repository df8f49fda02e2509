"""What a policy will cost, before any score is known."""

from .policy import Policy, State


def expected_evaluations(policy: Policy, candidates: int, steps: int) -> int:
    """Evaluations of a whole search whose earlier candidates score higher at every moment.

    Exact for policies that are fixed before the search starts, a guess for the others.
    """
    moments = policy.moments(steps)
    reached, scores = [0] * candidates, [[None] * len(moments) for _ in range(candidates)]
    for _ in range(candidates * (len(moments) + 1)):
        alive = tuple(row for row in range(candidates) if reached[row] < steps)
        seen = tuple(tuple(row) for row in scores)
        goals = policy.next(State(seen, tuple(reached), sum(reached), alive, moments, steps))
        if not goals:
            break
        for row, goal in goals.items():
            reached[row] = goal
            if goal in moments:
                scores[row][moments.index(goal)] = float(candidates - row)
    return sum(reached)
