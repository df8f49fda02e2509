"""A policy as a user steers it: with the candidates that were pinned or discarded on the seed board."""

from dataclasses import replace

from ...core.marks import Marks
from .policy import Policy, State


def steered(policy: Policy, state: State, marks: Marks, survivors: int) -> dict[int, int]:
    """What a policy answers, with a user's marks: as :meth:`Policy.next`.

    Discarded candidates are out of its sight. Pinned ones go to each cut with those it sends, and to the end:
    there they take the places of others among the ``survivors`` wanted. So pins may cost more than the budget;
    nothing else does.
    """
    seen = replace(state, alive=tuple(row for row in state.alive if row not in marks.discarded))
    goals = policy.next(seen)
    pinned = [row for row in seen.alive if row in marks.pinned]
    if not pinned:
        return goals
    if not sends_to_the_end(goals, state.steps):
        moment = max(goals.values())
        return goals | {row: moment for row in pinned if row not in goals and state.reached[row] < moment}
    others = [row for row in goals if row not in marks.pinned]
    places = max(len(goals), survivors - sum(reached == state.steps for reached in state.reached))
    return dict.fromkeys([*pinned, *others[: max(0, places - len(pinned))]], state.steps)


def sends_to_the_end(goals: dict[int, int], steps: int) -> bool:
    """Whether no cut follows these goals."""
    return all(goal >= steps for goal in goals.values())
