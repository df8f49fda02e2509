"""Replay of search policies on recorded scores, as the engine runs them on a model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...engine.seed_search.policies.policy import Policy, State


@dataclass(frozen=True)
class Replayed:
    """Result of a search over recorded candidates.

    Attributes:
        finished: numbers of the finished candidates, in their order.
        spent: evaluations of all candidates together, with the price of the looks where the policy knows it.
        steps: evaluations alone.
        looks: number of scores taken.
        calls: number of the policy's answers that continue candidates.
    """

    finished: tuple[int, ...]
    spent: float
    steps: int
    looks: int
    calls: int


def replay(policy: Policy, scores: np.ndarray, steps: int, budget: int | None = None) -> Replayed:
    """Let a policy search through recorded candidates. One is scored where it pauses, not at moments that it passes.

    Args:
        policy: called as by the engine, with a ``State``, until it continues no candidate.
        scores: ``[evaluation, candidate]``; row 0 holds the scores after the first evaluation. NaN: no score.
        steps: evaluations of a full run.
        budget: most evaluations that may be spent.

    Raises:
        AssertionError: the policy spends more, or continues a candidate to an evaluation that is no moment.
    """
    moments = policy.moments(steps)
    assert all(1 <= moment < steps for moment in moments) and list(moments) == sorted(set(moments)), moments
    candidates = range(scores.shape[1])
    seen: list[list[float | None]] = [[None] * len(moments) for _ in candidates]
    reached = [0 for _ in candidates]
    spent, looks, calls = 0.0, 0, 0
    while True:
        state = State(tuple(map(tuple, seen)), tuple(reached), spent, _alive(reached, steps), moments, steps)
        if not (answer := policy.next(state)):
            finished = tuple(row for row in candidates if reached[row] == steps)
            return Replayed(finished, spent, sum(reached), looks, calls)
        calls += 1
        for row, target in answer.items():
            assert reached[row] < target and target in (*moments, steps), (row, reached[row], target)
            if target in moments:
                value = float(scores[target - 1, row])
                seen[row][moments.index(target)] = None if np.isnan(value) else value
                looks += 1
                spent += policy.price_at(target, steps)
            spent += target - reached[row]
            reached[row] = target
        assert budget is None or spent <= budget + 1e-6, (spent, budget)


def _alive(reached: Sequence[int], steps: int) -> tuple[int, ...]:
    return tuple(row for row, at in enumerate(reached) if at < steps)
