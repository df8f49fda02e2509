"""Goals of a policy with a user's marks: pinned and discarded candidates of the seed board."""

from collections.abc import Mapping
from dataclasses import replace

from ...core.marks import Marks
from .policy import Policy, State


def goals_with_marks(policy: Policy, state: State, marks: Marks, survivors: int) -> dict[int, int]:
    """Return the goals of a policy, changed by a user's marks; see :meth:`Policy.next`.

    The policy does not see discarded candidates. Pinned candidates continue to each cut together with those that
    the policy chose, and to the end: there they replace others among the ``survivors`` wanted. Pins may therefore
    exceed the budget; nothing else does.
    """
    kept = replace(state, alive=tuple(row for row in state.alive if row not in marks.discarded))
    goals = policy.next(kept)
    pinned = [row for row in kept.alive if row in marks.pinned]
    if not pinned:
        return goals
    if not all_finish(goals, state.steps):
        moment = max(goals.values())
        return goals | {row: moment for row in pinned if row not in goals and state.reached[row] < moment}
    others = [row for row in goals if row not in marks.pinned]
    count = max(len(goals), survivors - state.finished)
    return dict.fromkeys([*pinned, *others[: max(0, count - len(pinned))]], state.steps)


def all_finish(goals: Mapping[int, int], steps: int) -> bool:
    """Tell whether all goals are the last step, so that no cut follows; true without any goal."""
    return all(goal >= steps for goal in goals.values())
