"""Writing recorded runs, so that nothing written is ever lost and nothing half-written ever read."""

import errno
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import torch
from safetensors.torch import save
from torch import Tensor

from ...engine.core.features import ALL_TEXT, Features, as_image, on_grid
from ...engine.core.files import LOCK, locked, replace_file
from .folder import RUNS, run_path
from .header import HEADER, Header, read_header
from .run_record import FORMAT, METADATA, RecordedMoment, RunRecord

PROJECTION = "projection.safetensors"
DISK_FULL = "the disk is full"
UNFINISHED = (f".{HEADER}.*", f".{PROJECTION}.*", f"{RUNS}/.*.safetensors", f"{RUNS}/.*.safetensors.*")
UNFINISHED_SECONDS = 3600
"""Older files with unfinished names are left by a process that was killed."""

THIS_PROCESS = uuid4().hex[:12]
"""Each process has a list of its own, because two may not write to one file."""

LOCK_SECONDS = 10
"""How long one waits for another that has the lock, which it needs for microseconds."""


class DatasetWriter:
    """Adds runs to a dataset, which other processes may be adding to as well.

    Args:
        folder: made if it isn't there.
        header: what every run will have in common.

    Raises:
        ValueError: the folder holds runs of another kind; the message says what differs.
        OSError: the folder can't be written to.
    """

    def __init__(self, folder: Path, header: Header):
        self.folder = Path(folder)
        with _nothing_lost(self.folder):
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
        with _nothing_lost(self.folder):
            replace_file(run_path(self.folder, run.key), lambda path: _write(path, content))
            _append_line(self.folder / f"runs-{THIS_PROCESS}.jsonl", run.to_json().encode())


@contextmanager
def _nothing_lost(folder: Path) -> Iterator[None]:
    """Say of an error in writing what it means for the recording."""
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
    """Remove what killed processes left, and none of the other hidden files that a user may keep there."""
    for left in (path for pattern in UNFINISHED for path in folder.glob(pattern)):
        with suppress(OSError):  # another process has just finished it
            if left.suffix != LOCK and time.time() - left.stat().st_mtime > UNFINISHED_SECONDS:
                left.unlink()


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
    """What is kept of a run, by name; all float16.

    Args:
        moments: for each moment, the rows.
        final: the finished latents ``[rows, channels, ...]``, as ``Features.denoised``.

    Returns:
        ``text`` ``[words, channels]``: mean embedding of each word; ``final`` ``[rows, ...]`` on the grid
        of ``features.on_grid``; and for the n-th moment ``n.maps`` ``[rows, blocks, words, height, width]``,
        ``n.activation``, ``n.latent``, ``n.denoised`` ``[rows, channels, height, width]``.
    """
    tensors = {
        "text": moments[0][0].word_embeddings().half(),
        "final": on_grid(torch.stack([as_image(row) for row in final.float()])).half().cpu(),
    }
    for number, rows in enumerate(moments):
        tensors[f"{number}.maps"] = torch.stack([row.word_maps().half() for row in rows])
        tensors[f"{number}.activation"] = torch.stack([row.activation for row in rows])
        tensors[f"{number}.latent"] = torch.stack([row.latent for row in rows])
        tensors[f"{number}.denoised"] = torch.stack([on_grid(as_image(row.denoised)).half() for row in rows])
    return tensors


def recorded_moments(moments: Sequence[Sequence[Features]]) -> tuple[RecordedMoment, ...]:
    """Of :func:`run_tensors`' moments."""
    return tuple(RecordedMoment(rows[0].step, rows[0].sigma, rows[0].percent) for rows in moments)


def word_names(row: Features) -> tuple[str, ...]:
    """What the words of the maps are called."""
    return tuple(word.name for word in row.words) or (ALL_TEXT,)
