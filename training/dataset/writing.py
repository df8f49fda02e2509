"""Writer of recorded runs. What was written is never lost, and nothing half-written is ever read."""

import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import torch
from safetensors.torch import save
from torch import Tensor

from ...engine.core.features import NEEDS, Features, as_image, on_grid
from ...engine.core.files import LOCK, locked, replace_file
from ...probe_models.inputs import row_tensors
from .folder import RUNS, run_path
from .header import HEADER, Header, read_header
from .run_record import FORMAT, METADATA, RecordedMoment, RunRecord

PROJECTION = "projection.safetensors"
DISK_FULL = "the disk is full"
SHA256 = "sha256"
"""Field of a line of the list with the SHA-256 of the run's file."""

UNFINISHED = (f".{HEADER}.*", f".{PROJECTION}.*", f"{RUNS}/.*.safetensors", f"{RUNS}/.*.safetensors.*")
UNFINISHED_SECONDS = 3600
"""Age from which a file with an unfinished name counts as left by a process that was killed."""

THIS_PROCESS = uuid4().hex[:12]
"""Name of this process in that of its list of runs: two processes may not write to one list."""

LOCK_SECONDS = 10
"""Seconds to wait for another process that writes a file once, which takes milliseconds."""


class DatasetWriter:
    """Writer of runs into a dataset, into which other processes may be writing as well.

    Args:
        folder: of the dataset, made if it isn't there.
        header: properties that all runs of the dataset share.

    Raises:
        ValueError: the folder holds runs of another kind; the message says what differs.
        OSError: the folder can't be written to.
    """

    def __init__(self, folder: Path, header: Header):
        self.folder = Path(folder)
        with nothing_lost(self.folder):
            (self.folder / RUNS).mkdir(parents=True, exist_ok=True)
            _remove_unfinished(self.folder)
            write_once(self.folder / HEADER, json.dumps({"format": FORMAT, **asdict(header)}, indent=1).encode())
        there = read_header(self.folder)
        for name in ("family", "blocks", "activation_channels", "label"):
            before, now = getattr(there, name), getattr(header, name)
            if before != now and (name != "label" or before and now):
                raise ValueError(
                    f"the dataset {self.folder} was recorded with {name.replace('_', ' ')} {before}, and this run has "
                    f"{now}. One dataset is of one model and one label: record into another folder."
                )
        if there.model and header.model and there.model != header.model:  # perhaps the same one, in another precision
            logging.warning(
                f"Dataset {self.folder.name} was begun with {there.model}, and this run has {header.model}. What is "
                "learnt from both is of neither, unless they are one model under two names."
            )

    def add(self, run: RunRecord, tensors: Mapping[str, Tensor]) -> None:
        """Record a run; when this returns, it is on the disk.

        Raises:
            OSError: the disk is full, or the folder can't be written to; what was recorded before stays.
        """
        content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {METADATA: run.to_json()})
        self.add_file(run.key, content, lambda path: run.to_json())

    def add_file(self, key: str, content: bytes, check: Callable[[Path], str]) -> None:
        """Add the file of a run; when this returns, it is on the disk, and its SHA-256 in the list.

        Args:
            key: of the run.
            content: of the file.
            check: reads the file under the path that it gets, and returns the run's record as a line of JSON; raises
                for a file that is not to be added.

        Raises:
            OSError: the disk is full, or the folder can't be written to; what was recorded before stays.
        """
        lines: list[str] = []

        def write(path: Path) -> None:
            _write(path, content)
            lines.append(check(path))

        with nothing_lost(self.folder):
            replace_file(run_path(self.folder, key), write)
            line = {**json.loads(lines[0]), SHA256: hashlib.sha256(content).hexdigest()}
            _append_line(self.folder / f"runs-{THIS_PROCESS}.jsonl", json.dumps(line, allow_nan=False).encode())


@contextmanager
def nothing_lost(folder: Path) -> Iterator[None]:
    """Turn an error in writing into one that says what it means for the recording."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OSError(
            error.errno,
            f"{DISK_FULL if full else f'a run could not be written ({error.strerror})'}. Everything "
            f"recorded before is intact in {folder}; make room or fix the folder, and start the same "
            "recording again: it goes on where it stopped",
        ) from error


def _remove_unfinished(folder: Path) -> None:
    """Remove files that killed processes left, and none of the other hidden files that a user may keep there."""
    unfinished = [path for pattern in UNFINISHED for path in folder.glob(pattern) if path.suffix != LOCK]
    now = _disk_time(folder) if unfinished else 0.0
    for left in unfinished:
        with suppress(OSError):  # another process has just finished it
            if now - left.stat().st_mtime > UNFINISHED_SECONDS:
                left.unlink()


def _disk_time(folder: Path) -> float:
    """Return the time of the folder's disk, which may be a shared one with another clock than this machine."""
    now = folder / f".{HEADER}.{uuid4().hex[:8]}"
    try:
        now.touch()
        return now.stat().st_mtime
    finally:
        now.unlink(missing_ok=True)


def write_once(path: Path, content: bytes) -> bool:
    """Write a file unless it is there, and return whether this call wrote it; of several processes one does.

    Raises:
        ValueError: another process has held the file's lock for ``LOCK_SECONDS``.
    """
    if path.exists():
        return False
    with locked(path, LOCK_SECONDS):
        if path.exists():
            return False
        replace_file(path, lambda unfinished: _write(unfinished, content))
        return True


def _append_line(path: Path, line: bytes) -> None:
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            line = line if file.read(1) == b"\n" else b"\n" + line  # someone was stopped in the middle of one
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def run_tensors(moments: Sequence[Sequence[Features]], final: Tensor) -> dict[str, Tensor]:
    """Return the tensors that a dataset keeps of a run, all float16: what networks read, and the finished latents.

    Args:
        moments: features of the rows, for each moment.
        final: the finished latents ``[rows, channels, ...]``, as ``Features.denoised``.

    Returns:
        ``text`` ``[words, channels]``, which all rows and moments share; ``final`` ``[rows, channels, height, width]``;
        and for the n-th moment the other tensors of ``inputs.row_tensors``, ``n.maps`` and so on, with an axis of rows
        before the others.
    """
    tensors = {"final": on_grid(torch.stack([as_image(row) for row in final.float()])).half().cpu()}
    for number, rows in enumerate(moments):
        read = [row_tensors(row, frozenset(NEEDS)) for row in rows]
        tensors.setdefault("text", read[0]["text"].half())
        for name in read[0].keys() - {"text"}:
            tensors[f"{number}.{name}"] = torch.stack([row[name].half() for row in read])
    return tensors


def recorded_moments(moments: Sequence[Sequence[Features]]) -> tuple[RecordedMoment, ...]:
    """Return number and noise level of the moments of :func:`run_tensors`."""
    return tuple(RecordedMoment(rows[0].step, rows[0].sigma, rows[0].percent) for rows in moments)


def word_names(row: Features) -> tuple[str, ...]:
    """Return the names of a row's words, as a dataset keeps them."""
    return tuple(word.name for word in row.text_words())
