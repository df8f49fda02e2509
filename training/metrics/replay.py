"""Search policies run over recorded trajectories, as the engine runs them over a model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...engine.seed_search.policies.policy import Policy, State


@dataclass(frozen=True)
class Replayed:
    """What a search over recorded candidates came to.

    Attributes:
        finished: the candidates that were finished, in their order.
        spent: evaluations of all candidates together.
        looks: scores taken.
        calls: answers of the policy that moved a candidate.
    """

    finished: tuple[int, ...]
    spent: int
    looks: int
    calls: int


def replay(policy: Policy, scores: np.ndarray, steps: int, budget: int | None = None) -> Replayed:
    """Let a policy search.

    Args:
        policy: steered exactly as by the engine: asked with a ``State``, its answer carried out.
        scores: ``[evaluation, candidate]``; row 0 is what is seen after the first evaluation. NaN: no score.
        steps: evaluations of a full run.
        budget: raises AssertionError when more is spent.
    """
    moments = policy.moments(steps)
    assert all(1 <= moment < steps for moment in moments) and list(moments) == sorted(set(moments)), moments
    candidates = range(scores.shape[1])
    seen: list[list[float | None]] = [[None] * len(moments) for _ in candidates]
    reached = [0 for _ in candidates]
    spent = looks = calls = 0
    while True:
        state = State(tuple(map(tuple, seen)), tuple(reached), spent, _alive(reached, steps), moments, steps)
        if not (answer := policy.next(state)):
            return Replayed(tuple(row for row in candidates if reached[row] == steps), spent, looks, calls)
        calls += 1
        for row, target in answer.items():
            assert reached[row] < target and target in (*moments, steps), (row, reached[row], target)
            for place in _passed(moments, reached[row], target):
                value = float(scores[moments[place] - 1, row])
                seen[row][place] = None if np.isnan(value) else value
                looks += 1
            spent += target - reached[row]
            reached[row] = target
        assert budget is None or spent <= budget, (spent, budget)


def _alive(reached: Sequence[int], steps: int) -> tuple[int, ...]:
    return tuple(row for row, at in enumerate(reached) if at < steps)


def _passed(moments: Sequence[int], start: int, target: int) -> list[int]:
    return [place for place, moment in enumerate(moments) if start < moment <= target]
