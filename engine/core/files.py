"""Files that are there as a whole or not at all, also after a power failure."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file; one of that name is replaced in one go, or stays if writing fails.

    When this returns, content and name are on the disk.

    Args:
        write: writes to the path that it is given, in the same folder.
    """
    with unfinished_file(path, write) as unfinished:
        os.replace(unfinished, path)


@contextmanager
def unfinished_file(path: Path, write: Callable[[Path], object]) -> Iterator[Path]:
    """A file that is whole and on the disk but not yet named ``path``: what is to be renamed or linked in the block.

    It is hidden, named after ``path``, and gone when the block ends; the folder is synced then.
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
