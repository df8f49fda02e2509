"""Watcher of a search: an observer of each decision, such as the seed board, that may steer by marks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ..core.marks import NO_MARKS, NOBODY, Marks
from .clock import SearchClock
from .state import SearchState


class Watcher(Protocol):
    """Observer of a search. The search calls it; it only reads the state."""

    @property
    def marks(self) -> Marks:
        """Marks of the user as they are now; the search reads them before each decision, and when it has ended."""

    @property
    def clock(self) -> SearchClock:
        """Clock of the search, which the search reads once when it begins."""

    def on_progress(self, state: SearchState) -> None:
        """Handle that a model call has ended."""

    def on_scores(self, state: SearchState, numbers: Sequence[int]) -> None:
        """Handle that the candidates of these numbers have new features, and scores where they could be scored."""

    def on_goals(self, state: SearchState, goals: Mapping[int, int]) -> None:
        """Handle a decision: the candidates in ``goals`` are about to continue."""

    def on_last_cut(self, state: SearchState, goals: Callable[[], Mapping[int, int]]) -> str:
        """Handle that the last cut is made; the search waits until this returns.

        Args:
            goals: returns who is to be finished with the marks as they are at the call.

        Returns:
            How the wait ended: ``GO``, ``TIME``, ``GONE`` or ``NOBODY`` of ``core.marks``.
        """


class Unwatched:
    """Watcher that does nothing."""

    marks = NO_MARKS

    @property
    def clock(self) -> SearchClock:
        """A new clock for each search."""
        return SearchClock()

    def on_progress(self, state: SearchState) -> None:
        """Do nothing."""

    def on_scores(self, state: SearchState, numbers: Sequence[int]) -> None:
        """Do nothing."""

    def on_goals(self, state: SearchState, goals: Mapping[int, int]) -> None:
        """Do nothing."""

    def on_last_cut(self, state: SearchState, goals: Callable[[], Mapping[int, int]]) -> str:
        """Return that nobody could choose."""
        return NOBODY
