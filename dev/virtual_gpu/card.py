"""The card: its memory, and the ledger of what ran on it."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from weakref import WeakValueDictionary

import torch

OWN_FOLDER = str(Path(__file__).parent)


@dataclass
class Ledger:
    """Counts of what ran on a card since the ledger was opened.

    Attributes:
        flops: by the name of the phase that was set at the time.
        kernels: operations.
        to_card, to_host: bytes moved.
        waits: of the host for the card, by what waited and where: ``"item engine/runs/x.py:7 f"``.
        peak: most bytes that were live at once.
        out_of_memory: allocations that didn't fit.
    """

    flops: Counter = field(default_factory=Counter)
    kernels: int = 0
    to_card: int = 0
    to_host: int = 0
    waits: Counter = field(default_factory=Counter)
    peak: int = 0
    out_of_memory: int = 0

    def copy(self) -> Ledger:
        """Return a ledger with the same counts."""
        return replace(self, flops=self.flops.copy(), waits=self.waits.copy())


class Allocation:
    """The memory of one storage on the card, given back when no tensor refers to it any more."""

    def __init__(self, card: Card, size: int):
        self.card, self.size = card, size
        card.live += size

    def __del__(self) -> None:
        self.card.live -= self.size


class Card:
    """One card.

    Args:
        gib: its memory.
        name: what the driver would call it.
    """

    def __init__(self, gib: float, name: str = "NVIDIA GeForce RTX 4090"):
        self.total, self.name = int(gib * 2**30), name
        self.live = 0
        self.phase = "model"
        self.ledger = Ledger()
        self._allocations: WeakValueDictionary[int, Allocation] = WeakValueDictionary()

    @property
    def free(self) -> int:
        """Bytes that are not in use."""
        return max(0, self.total - self.live)

    def open_ledger(self) -> Ledger:
        """Count from now on in a new ledger; return it."""
        self.ledger = Ledger(peak=self.live)
        return self.ledger

    def allocate(self, inner: torch.Tensor) -> Allocation:
        """Return the allocation of a tensor's storage: the one it has, or a new one.

        Raises:
            torch.OutOfMemoryError: it doesn't fit.
        """
        storage = inner.untyped_storage()
        allocation = self._allocations.get(storage._cdata)
        if allocation is None:
            size = storage.nbytes()
            if self.live + size > self.total:
                self.ledger.out_of_memory += 1
                raise torch.OutOfMemoryError(
                    f"the virtual card has {self.free / 2**30:.2f} of {self.total / 2**30:.1f} GiB free, "
                    f"and {size / 2**30:.2f} GiB are wanted"
                )
            allocation = self._allocations[storage._cdata] = Allocation(self, size)
            self.ledger.peak = max(self.ledger.peak, self.live)
        return allocation

    def wait(self, what: str) -> None:
        """Note that the host waits for the card."""
        self.ledger.waits[f"{what} {_caller()}"] += 1

    def transfer(self, source: str, target: str, size: int, blocking: bool) -> None:
        """Note a transfer of ``size`` bytes between devices of these types."""
        ledger = self.ledger
        if (source, target) == ("cpu", "cuda"):
            ledger.to_card += size
            if blocking:
                self.wait("to card")
        elif (source, target) == ("cuda", "cpu"):
            ledger.to_host += size
            self.wait("to host")


def _caller() -> str:
    """Find the innermost line outside of torch and of this package, as ``folder/file.py:line function``."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((OWN_FOLDER, "<")) and "/torch/" not in file:
            return f"{'/'.join(Path(file).parts[-3:])}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return "?"
