"""Who is told how a search goes, and may steer it."""

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor

from ..core.features import Features
from ..core.marks import NO_MARKS, Marks
from .policies.policy import State


class Watcher(Protocol):
    """Told by :func:`search_run.seed_search` what happens; may mark candidates.

    Attributes:
        marks: as they are now. Asked for before each cut, and when the search has ended.
    """

    marks: Marks

    def looked(
        self, moment: int, seen: Mapping[int, Features], pictures: Mapping[int, Tensor], scores: Mapping[int, float]
    ) -> None:
        """Candidates were looked at: what was seen of them, what the probe decoded, what it scored."""

    def decided(self, goals: Mapping[int, int], state: State) -> None:
        """Those in ``goals`` are about to go on."""

    def hold(self, goals: Callable[[], Mapping[int, int]], state: State) -> None:
        """The last cut is made, and ``goals()`` are to be finished, as the marks say: may take its time, and mark."""


class Unwatched:
    """Nobody looks."""

    marks = NO_MARKS

    def looked(self, moment, seen, pictures, scores):
        pass

    def decided(self, goals, state):
        pass

    def hold(self, goals, state):
        pass
