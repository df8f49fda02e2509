"""Only one training writes to a file, whichever process it is in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

CLOCK = 2.0
"""Seconds by which the time at which a process began may be read differently."""


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """While open, no other training can write to the same file.

    Raises:
        ValueError: one does.
    """
    lock = out.with_name(f".{out.stem}.training")
    try:
        if lock.exists() and not _runs(lock.read_text()):
            lock.unlink()  # left by a training that was killed
        with lock.open("x") as file:
            file.write(f"{os.getpid()} {psutil.Process().create_time()}")
    except (FileExistsError, ValueError) as error:
        raise ValueError(
            f"another training is writing {out.name}. Wait for it, or choose another name. If none runs, delete {lock}."
        ) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _runs(process: str) -> bool:
    """Whether a process still runs, by its number and, as numbers are given again, when it began.

    Raises:
        ValueError: no such description; perhaps it is just being written.
    """
    number, *began = map(float, process.split() or [""])
    try:
        since = psutil.Process(int(number)).create_time()
    except psutil.NoSuchProcess:
        return False
    return not began or abs(since - began[0]) < CLOCK
