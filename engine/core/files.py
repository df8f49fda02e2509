"""Files that are there as a whole or not at all, also after a power failure, and that one process writes at a time."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

LOCK = ".lock"
"""Ending of the hidden files that locks are held on."""


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file; one of that name is replaced in one go, or stays if writing fails.

    When this returns, content and name are on the disk.

    Args:
        path: the file.
        write: writes to the path that it gets, in the same folder: a hidden name that begins with ``path``'s.
    """
    unfinished = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        write(unfinished)
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def locked(path: Path, seconds: float = 0) -> Iterator[None]:
    """Keep every other process and thread on this machine from locking a file while the block runs.

    The operating system holds the lock and takes it back when the process ends, however it ends. The hidden file
    that it is held on stays: were it deleted, two processes could each hold one of that name.

    Args:
        path: the file to be written; it need not be there, its folder has to.
        seconds: how long to wait for another process that holds the lock.

    Raises:
        ValueError: another process holds the lock.
    """
    lock = FileLock(path.with_name(f".{path.name}{LOCK}"))
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        raise ValueError(
            f"another process is writing {path.name}. Wait until it ends, or choose another name."
        ) from None
    try:
        yield
    finally:
        lock.release()


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk. Windows has no such call, and needs none."""
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError:  # a network file system without it
        pass
    finally:
        os.close(opened)
