"""What a user decided on the seed board, and how it steers filter and search."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from .policy import Policy, State


@dataclass(frozen=True)
class Marks:
    """Rows by their number; no row is in both.

    Attributes:
        pinned: go on, whatever their score.
        discarded: don't go on.
    """

    pinned: frozenset[int] = frozenset()
    discarded: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.pinned or self.discarded)

    def pin(self, row: int) -> "Marks":
        return Marks(self.pinned | {row}, self.discarded - {row})

    def discard(self, row: int) -> "Marks":
        return Marks(self.pinned - {row}, self.discarded | {row})

    def clear(self, row: int) -> "Marks":
        return Marks(self.pinned - {row}, self.discarded - {row})

    def of(self, row: int) -> str | None:
        """``"pinned"``, ``"discarded"`` or None."""
        return "pinned" if row in self.pinned else "discarded" if row in self.discarded else None


NO_MARKS = Marks()
MARKS: dict[str, Callable[[Marks, int], Marks]] = {"pin": Marks.pin, "discard": Marks.discard, "clear": Marks.clear}
"""What a board may ask for, by name."""


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
