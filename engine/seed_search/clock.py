"""Clock of a search: seconds that it has taken, is expected to take still, and that finishing all would have taken."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import monotonic


class SearchClock:
    """Clock of one search, which counts sampling separately and leaves out the time that it waits for the user.

    The first stretch of sampling starts one run, which loads the model; the first model call prepares the device. Both
    take as long however many candidates are finished, so they count as such and not in the rate.

    Args:
        now: returns a time in seconds that never goes back.

    Attributes:
        rows: model rows that were computed.
        looks: scores of candidates on their way: each is one look at one of them.
        look_seconds: seconds that they took, with what was drawn of them.
        expected_rows: model rows that the whole search is expected to compute, 0 while that is unknown.
    """

    def __init__(self, now: Callable[[], float] = monotonic):
        self._now = now
        self._began = now()
        self._held = 0.0
        self._starting: float | None = None
        self._last = self._began
        self._first: tuple[int, float] | None = None
        self._calls: list[tuple[int, float]] = []
        self._rated: tuple[int, float] | None = None
        self.rows = 0
        self.looks = 0
        self.look_seconds = 0.0
        self.expected_rows = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the search began, without holds."""
        return self._now() - self._began - self._held

    @contextmanager
    def held(self) -> Iterator[None]:
        """Leave out the time inside of the context, in which the search waits for the user."""
        began = self._now()
        try:
            yield
        finally:
            self._held += self._now() - began

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Count the time inside of the context as that of starting, which loads the model."""
        began = self._now()
        try:
            yield
        finally:
            self._starting = (self._starting or 0.0) + self._now() - began

    @contextmanager
    def looking(self, count: int) -> Iterator[None]:
        """Count the time inside of the context as that of so many looks."""
        began = self._now()
        try:
            yield
        finally:
            self.looks += count
            self.look_seconds += self._now() - began

    def sample(self) -> None:
        """Note that sampling begins, or goes on after something else."""
        self._last = self._now()

    def sampled(self, rows: int, expected_rows: int = 0) -> None:
        """Note that a model call has ended.

        Args:
            rows: model rows that were computed so far.
            expected_rows: model rows that the whole search is expected to compute; 0: unknown.
        """
        now, new = self._now(), rows - self.rows
        if new > 0:
            call = new, now - self._last
            if self._first is None:
                self._first = call
            else:
                self._calls.append(call)
        self._last, self.rows, self.expected_rows = now, rows, expected_rows

    @property
    def left(self) -> float | None:
        """Seconds that the search is expected to take still, at the mean speed so far; None while that is unknown."""
        if not self.rows or not self.expected_rows:
            return None
        spent = max(0.0, self.elapsed - self._once())
        return spent / self.rows * max(0, self.expected_rows - self.rows)

    def seconds_for(self, rows: float) -> float | None:
        """Return the seconds that one search of so many model rows would have taken that scores nothing.

        They are estimated from the model calls with the most rows, because those of all candidates together are as
        large; a smaller call takes longer for each row. None before the first call.
        """
        seconds = self.seconds_per_row
        return None if seconds is None else self._once() + seconds * rows

    @property
    def seconds_per_row(self) -> float | None:
        """Seconds of a model row in the calls with the most rows; None before the first call."""
        if self._first is None:
            return None
        if self._rated is None or self._rated[0] != len(self._calls):
            calls = self._calls or [self._first]
            largest = max(rows for rows, _ in calls)
            self._rated = len(self._calls), median(taken / rows for rows, taken in calls if rows == largest)
        return self._rated[1]

    def _once(self) -> float:
        """Return the seconds that starting took, and the first call longer than others of as many rows."""
        if self._first is None:
            return self._starting or 0.0
        rows, taken = self._first
        return (self._starting or 0.0) + max(0.0, taken - rows * self.seconds_per_row)
