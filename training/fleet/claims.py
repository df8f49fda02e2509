"""Claims on runs of a recording: files that one worker makes, and heartbeats by which the others see that it works.

A claim is the file ``KEY.N``, made exclusively; it holds its owner's id. An owner counts its heartbeats in the file
``OWNER.beat``. Whoever sees the same count in several looks takes the run over by making ``KEY.N+1``: of several that
see it one does. No clock is compared with another, neither that of a file nor that of a machine. A claim that is
taken over wrongly costs the work of a run and nothing else: the dataset has one file for each key.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

CLAIMS = ".claims"
"""Folder of the claims, in that of a dataset."""

BEAT = ".beat"
"""Ending of the files in which owners count."""

LOOKS = 4
"""Number of looks with the same heartbeat count after which a claim has ended."""


@dataclass(frozen=True)
class Claim:
    """A worker's claim on a run.

    Attributes:
        key: of the run.
        number: 0 for the first claim on it, and one more each time that it was taken over.
        owner: id of the worker.
    """

    key: str
    number: int
    owner: str

    @property
    def name(self) -> str:
        """Name of the claim's file."""
        return f"{self.key}.{self.number}"


class Claims:
    """Claims on the runs of a dataset, in a folder that all who record into it see.

    Args:
        folder: of the dataset.

    Raises:
        OSError: the folder can't be made.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder) / CLAIMS
        self.folder.mkdir(parents=True, exist_ok=True)
        self._seen: dict[Claim, tuple[str, int]] = {}

    def take(self, key: str, owner: str, after: Claim | None = None) -> Claim | None:
        """Make a claim on a run, and return it; None if somebody else has one.

        Args:
            key: of the run.
            owner: id of the worker.
            after: the claim that is taken over; None: nobody has one.
        """
        if after is None and self.current(key) is not None:
            return None
        claim = Claim(key, 0 if after is None else after.number + 1, owner)
        try:
            file = os.open(self.folder / claim.name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return None
        with os.fdopen(file, "w") as opened:
            opened.write(owner)
        return claim

    def current(self, key: str) -> Claim | None:
        """Return the claim that holds for a run, None if there is none."""
        numbers = list(self._numbers(key))
        if not numbers:
            return None
        number = max(numbers)
        try:
            owner = (self.folder / f"{key}.{number}").read_text()
        except OSError:  # released a moment ago
            return None
        return Claim(key, number, owner)

    def _numbers(self, key: str) -> Iterator[int]:
        for path in self.folder.glob(f"{key}.*"):
            if path.suffix[1:].isdigit():
                yield int(path.suffix[1:])

    def release(self, claim: Claim) -> None:
        """Remove a claim and those that it took over; nothing if it isn't the owner's any more."""
        with suppress(OSError):
            if (self.folder / claim.name).read_text() != claim.owner:
                return
        for number in range(claim.number + 1):
            with suppress(OSError):
                (self.folder / f"{claim.key}.{number}").unlink()
        self._seen.pop(claim, None)

    def beat(self, owner: str, count: int) -> None:
        """Write the heartbeat count of a worker."""
        unfinished = self.folder / f".{owner}.{uuid4().hex[:8]}"
        unfinished.write_text(str(count))
        os.replace(unfinished, self.folder / f"{owner}{BEAT}")

    def leave(self, owner: str) -> None:
        """Remove the heartbeat of a worker that has ended: none of its claims holds any longer."""
        with suppress(OSError):
            (self.folder / f"{owner}{BEAT}").unlink()

    def look(self, claim: Claim) -> int:
        """Look at the heartbeat of a claim's owner, and return in how many looks in a row it has been the same."""
        try:
            count = (self.folder / f"{claim.owner}{BEAT}").read_text()
        except OSError:
            count = "none"
        before, looks = self._seen.get(claim, ("", 0))
        self._seen[claim] = (count, looks + 1 if count == before else 1)
        return self._seen[claim][1]

    def ended(self, claim: Claim) -> bool:
        """Look once more at a claim, and return whether its owner's heartbeat has stood still for ``LOOKS`` looks."""
        return self.look(claim) > LOOKS
