"""Files that exist as a whole or not at all, also after a power failure, and locks between processes."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


class LockedError(ValueError):
    """A lock that another process, or another thread of this one, holds."""


@contextmanager
def locked(path: Path, seconds: float = 0.0) -> Iterator[None]:
    """Hold a lock; nobody else can hold it as long as the block runs.

    The operating system releases the lock when the process ends, however it ends. The file stays: if it were
    deleted, two processes could each hold a lock on a file of that name.

    Args:
        path: the file that the lock is held on, made if it doesn't exist. It is not the file that is protected.
        seconds: how long to wait for another holder.

    Raises:
        LockedError: somebody else holds the lock for longer than that.
    """
    from filelock import FileLock, Timeout  # ComfyUI requires it; set-up runs before it is installed

    lock = FileLock(path, timeout=seconds)
    try:
        lock.acquire()
    except Timeout:
        raise LockedError(
            f'another process holds the lock "{path.name}". Wait until it has ended, and run the same again.'
        ) from None
    try:
        yield
    finally:
        lock.release()


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file; one of that name is replaced in one step, or stays if writing fails.

    When this returns, content and name are on the disk.

    Args:
        path: the file.
        write: writes the content to the path that it gets, in the same folder.
    """
    with unfinished_file(path, write) as unfinished:
        os.replace(unfinished, path)


@contextmanager
def unfinished_file(path: Path, write: Callable[[Path], object]) -> Iterator[Path]:
    """Write a file under a hidden name beside ``path``, to be renamed or linked to ``path`` in the block.

    The content is on the disk when the block starts. The hidden name is gone when it ends, and the folder is synced.

    Args:
        path: the name that the file is to get.
        write: writes the content to the path that it gets, in the same folder.
    """
    unfinished = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        write(unfinished)
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(path.parent)


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
