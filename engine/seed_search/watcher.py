"""Watcher of a search: an observer of each decision, such as the seed board, that may steer by marks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ..core.marks import NO_MARKS, Marks
from .state import SearchState


class Watcher(Protocol):
    """Observer of a search. The search calls it; it only reads the state."""

    @property
    def marks(self) -> Marks:
        """Marks of the user as they are now; the search reads them before each decision, and when it has ended."""

    def on_scores(self, state: SearchState, numbers: Sequence[int]) -> None:
        """Handle that the candidates of these numbers have new features, and scores where they could be scored."""

    def on_goals(self, state: SearchState, goals: Mapping[int, int]) -> None:
        """Handle a decision: the candidates in ``goals`` are about to continue."""

    def on_last_cut(self, state: SearchState, goals: Callable[[], Mapping[int, int]]) -> None:
        """Handle that the last cut is made; the search waits until this returns.

        Args:
            goals: returns who is to be finished with the marks as they are at the call.
        """


class Unwatched:
    """Watcher that does nothing."""

    marks = NO_MARKS

    def on_scores(self, state: SearchState, numbers: Sequence[int]) -> None:
        """Do nothing."""

    def on_goals(self, state: SearchState, goals: Mapping[int, int]) -> None:
        """Do nothing."""

    def on_last_cut(self, state: SearchState, goals: Callable[[], Mapping[int, int]]) -> None:
        """Do nothing."""
