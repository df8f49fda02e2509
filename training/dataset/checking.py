"""Check of a whole dataset: each file is read, and compared with its SHA-256 where the lists have it."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...engine.core.json_text import read_json
from .folder import RUNS, Dataset
from .projection import dataset_projection
from .run_record import RunRecord
from .writing import SHA256

DAMAGED = "damaged"
"""Folder that damaged files are moved to, in that of a dataset."""


@dataclass
class Check:
    """Result of the check of a dataset.

    Attributes:
        folder: of the dataset.
        runs: number of runs that can be used.
        images: number of their rows.
        size: bytes of their files.
        unlisted: number of files whose SHA-256 no list has, so that a changed value in them would not be noticed.
        damaged: names of the files that can't be used, with the reason.
    """

    folder: Path
    runs: int = 0
    images: int = 0
    size: int = 0
    unlisted: int = 0
    damaged: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return the result in sentences, with what to do."""
        lines = [f"{self.folder}: {self.runs} runs, {self.images} images, {self.size / 1e6:.1f} MB."]
        if self.unlisted:
            lines.append(
                f"{self.unlisted} files have no SHA-256 in the lists: they can be read, but a changed value in them "
                "would not be noticed."
            )
        lines += [f"{name}: {why}" for name, why in sorted(self.damaged.items())]
        if self.damaged:
            lines.append(
                f"{len(self.damaged)} files can't be used. With --remove they are moved to {DAMAGED}; then the command "
                "that recorded the dataset records them again, and only them."
            )
        else:
            lines.append("Nothing is damaged or missing.")
        return "\n".join(lines)


def check_dataset(folder: Path, progress: Callable[[Iterable], Iterable] = iter) -> Check:
    """Read all of a dataset.

    Args:
        folder: of the dataset.
        progress: shows the progress through what it gets.

    Raises:
        ValueError: no dataset, or its header or projection is damaged; the message says what to do.
    """
    dataset = Dataset(folder, least=0)
    dataset_projection(dataset.folder)
    known, check = listed_digests(dataset.folder), Check(dataset.folder, damaged=dict(dataset.damaged))
    for run in progress(dataset.runs):
        path = dataset.folder / RUNS / run.file
        if why := _why_damaged(dataset, run, path, known.get(run.key, set())):
            check.damaged[run.file] = why
            continue
        check.runs, check.images = check.runs + 1, check.images + len(run.seeds)
        check.size += path.stat().st_size
        check.unlisted += run.key not in known
    return check


def _why_damaged(dataset: Dataset, run: RunRecord, path: Path, digests: set[str]) -> str | None:
    try:
        if digests and hashlib.sha256(path.read_bytes()).hexdigest() not in digests:
            return "its content isn't what was recorded (another SHA-256 than in the list)"
        dataset.load(run)
    except (ValueError, OSError) as error:
        return str(error)
    return None


def listed_digests(folder: Path) -> dict[str, set[str]]:
    """Return the SHA-256 of the runs' files that the lists of a dataset have, by key."""
    digests = defaultdict(set)
    for path in folder.glob("runs-*.jsonl"):
        for line in path.read_bytes().split(b"\n"):
            try:
                values = read_json(line) if line else None
            except ValueError:
                continue  # cut off by a process that was killed
            if isinstance(values, dict) and isinstance(values.get(SHA256), str):
                digests[str(values.get("key"))].add(values[SHA256])
    return dict(digests)


def remove_damaged(check: Check) -> int:
    """Move damaged files out of a dataset, so that they are recorded again, and return how many."""
    moved = 0
    for name in check.damaged:
        path = check.folder / RUNS / name
        if path.is_file():
            (check.folder / DAMAGED).mkdir(exist_ok=True)
            path.replace(check.folder / DAMAGED / name)
            moved += 1
    return moved
