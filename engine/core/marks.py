"""Rows that a user pinned or discarded on the seed board."""

from collections.abc import Callable
from dataclasses import dataclass


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
        """Return the mark of a row: ``"pinned"``, ``"discarded"`` or None."""
        return "pinned" if row in self.pinned else "discarded" if row in self.discarded else None


NO_MARKS = Marks()
MARKS: dict[str, Callable[[Marks, int], Marks]] = {"pin": Marks.pin, "discard": Marks.discard, "clear": Marks.clear}
"""Changes of marks that a board may request, by name."""
