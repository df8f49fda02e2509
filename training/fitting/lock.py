"""Only one training writes to a file, whichever process it is in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """While open, no other training can write to the same file.

    The operating system holds the lock and takes it back when the process ends, however it ends. The hidden file
    that it is held on stays: were it deleted, two trainings could each hold one of that name.

    Raises:
        ValueError: one does.
    """
    lock = FileLock(out.with_name(f".{out.stem}.training"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(f"another training is writing {out.name}. Wait for it, or choose another name.") from None
    try:
        yield
    finally:
        lock.release()
