"""State that patches of a MODEL keep from one call to the next, with values of its own for every run of a search.

Guidance with memory, caches and the like keep values in closures, attributes, containers and generators that all runs
of one MODEL share. Values that changed while a run was computed are exchanged when the next run takes its turn: by
reference, so that nothing is copied but the contents of containers and of tensors that were written in place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from ...runs.origins import bears_data
from .holders import MISSING, Holder, Reachable, is_same, written

Slot = tuple[int, Any]
"""Address of a value: the number of its holder, and its name there."""

Values = dict[Slot, Any]
"""Values of one run in the slots that change. A slot that is absent has its value from before the search."""


@dataclass(frozen=True)
class Change:
    """Change of one slot while a run, or a model call, was computed."""

    slot: Slot
    before: Any
    after: Any

    @property
    def added(self) -> Any:
        """Amount by which a counter rose, or entries by which a list or set grew; None for any other change."""
        before, after = self.before, self.after
        if type(after) is int and (type(before) is int or before is MISSING):
            return max(0, after - (0 if before is MISSING else before)) or None
        if isinstance(after, set) and isinstance(before, set) and after > before:
            return after - before
        if isinstance(after, list | deque) and isinstance(before, list | deque) and len(after) > len(before):
            return list(islice(after, len(before), None)) if _starts_with(after, before) else None
        return None

    def applied_to(self, before: Any) -> Any:
        """Return the value of a slot after the same change."""
        added = self.added
        if added is None:
            return self.after
        if isinstance(added, int):
            return (0 if before is MISSING else before) + added
        longer = before.copy()
        (longer.update if isinstance(longer, set) else longer.extend)(added)
        return longer

    @property
    def ties_runs(self) -> bool:
        """Whether runs that share the call would get each other's data by it; counters and logs have none."""
        return self.added is None and bears_data(self.after)


def _starts_with(longer: Iterable, shorter: Sequence) -> bool:
    return all(is_same(a, b) for a, b in zip(longer, shorter))


class PatchState:
    """The state of all patches that can be reached from some objects.

    Outside of :meth:`exchanged` all values are those from before the search.

    Args:
        roots: objects that runs share: a MODEL's options, wrappers, callbacks and object patches, guiders, samplers.
        modules: modules whose own attributes count, too.

    Attributes:
        origins: origin of the code that keeps a value, by slot that changed.
    """

    def __init__(self, roots: Sequence[Any] = (), modules: Sequence[Any] = ()):
        reached = Reachable(roots, modules)
        self.holders: list[Holder] = reached.holders
        self.origins: dict[Slot, str] = {}
        self._resting = [holder.read() for holder in self.holders]
        self._watched = [(tensor, tensor.clone(), origin) for tensor, origin in reached.tensors]
        self._of_modules = 2 * len(modules)
        self._first: Values = {}
        self._moving: set[int] = set()
        self._totals: Values = {}
        self._no_counters: set[Slot] = set()

    def stop_watching(self) -> None:
        """Release the copies of tensors by which writes in place are found."""
        self._watched.clear()

    @contextmanager
    def exchanged(self, mine: Values) -> Iterator[list[Change]]:
        """Install a run's values for a while, and those from before the search afterwards.

        Args:
            mine: values of the run; updated.

        Yields:
            A list that holds the changes, once the context has ended.
        """
        changes: list[Change] = []
        self._write({**self._first, **mine})
        try:
            yield changes
        finally:
            changes += [*self._changes(mine), *self._written()]
            for change in changes:
                self._count(change)
                mine[change.slot] = change.after
            self._write(self._first)

    def _changes(self, mine: Values) -> Iterator[Change]:
        for number, (holder, resting) in enumerate(zip(self.holders, self._resting, strict=True)):
            now = holder.read()
            if number not in self._moving and now.keys() == resting.keys():
                names = [name for name, value in now.items() if value is not resting[name]]
            else:
                names = [*resting, *(name for name in now if name not in resting)]
            for name in names:
                slot, rested = (number, name), resting.get(name, MISSING)
                before, after = mine.get(slot, rested), now.get(name, MISSING)
                if not (before is after or holder.same(before, after)):
                    self._move(slot, rested, holder)
                    yield Change(slot, before, after)

    def _written(self) -> Iterator[Change]:
        for watched in list(self._watched):
            tensor, copy, origin = watched
            if not torch.equal(tensor, copy):
                self._watched.remove(watched)
                self.holders.append(written(tensor, origin))
                self._resting.append({None: copy})
                slot = (len(self.holders) - 1, None)
                self._move(slot, copy, self.holders[-1])
                yield Change(slot, copy, tensor.clone())

    def _move(self, slot: Slot, rested: Any, holder: Holder) -> None:
        if slot not in self._first:
            self._first[slot], self.origins[slot] = rested, holder.origin
            self._moving.add(slot[0])

    def _write(self, values: Values) -> None:
        for (number, name), value in values.items():
            self.holders[number].write(name, value)

    def _count(self, change: Change) -> None:
        """Sum up counters and logs over all runs, for code that reads them after the search."""
        if change.added is None:
            self._no_counters.add(change.slot)
            self._totals.pop(change.slot, None)
        elif change.slot not in self._no_counters:
            before = self._totals.get(change.slot, self._first[change.slot])
            self._totals[change.slot] = change.applied_to(before)

    def share(self, changes: Sequence[Change], others: Sequence[Values]) -> None:
        """Apply the changes of a joined call to its other runs, as if each had made the call."""
        for mine in others:
            for change in changes:
                mine[change.slot] = change.applied_to(mine.get(change.slot, self._first[change.slot]))

    def agree(self, a: Values, b: Values, slots: Iterable[Slot]) -> bool:
        """Tell whether two runs have equal values in some slots."""
        return all(
            self.holders[slot[0]].same(a.get(slot, self._first[slot]), b.get(slot, self._first[slot]))
            for slot in slots
            if slot not in self._totals
        )

    def changed_methods(self) -> list[str]:
        """Return the names of methods of the modules themselves that other code replaced."""
        return sorted(
            {name for number, name in self._first if number < self._of_modules and str(name)[:7] == "forward"}
        )

    def end(self) -> None:
        """Restore all values from before the search; counters and logs get the sums of all runs."""
        self._write({**self._first, **self._totals})
