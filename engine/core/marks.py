"""Marks that a user set on the seed board, and how a wait for them ended."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Marks:
    """Pinned and discarded rows, by their number; no row is in both.

    Attributes:
        pinned: rows that are kept, whatever their score.
        discarded: rows that are dropped.
    """

    pinned: frozenset[int] = frozenset()
    discarded: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.pinned or self.discarded)

    def pin(self, row: int) -> "Marks":
        """Return the marks with a row pinned."""
        return Marks(self.pinned | {row}, self.discarded - {row})

    def discard(self, row: int) -> "Marks":
        """Return the marks with a row discarded."""
        return Marks(self.pinned - {row}, self.discarded | {row})

    def clear(self, row: int) -> "Marks":
        """Return the marks without a mark on a row."""
        return Marks(self.pinned - {row}, self.discarded - {row})

    def of(self, row: int) -> str | None:
        """Return the mark of a row: ``"pinned"``, ``"discarded"`` or None."""
        if row in self.pinned:
            return "pinned"
        return "discarded" if row in self.discarded else None


NO_MARKS = Marks()
MARKS: dict[str, Callable[[Marks, int], Marks]] = {"pin": Marks.pin, "discard": Marks.discard, "clear": Marks.clear}
"""Changes of marks that a board may send, by name."""

GO, TIME, GONE, NOBODY = "go", "time", "gone", "nobody"
"""Ends of a hold: the user went on, the time was up, the browser was gone for too long, no browser showed the board."""
