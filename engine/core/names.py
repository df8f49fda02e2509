"""Checks of file and folder names in workflows, which may come from anyone and from another operating system."""

from pathlib import PurePosixPath, PureWindowsPath

from .texts import half_character

MOST_BYTES = 255
"""Longest name of one file or folder on all common file systems."""

MOST_PATH_BYTES = 1000
"""Longest path that is accepted."""


def leads_out(name: str) -> bool:
    """Return whether a path leads outside of the folder that it is joined to."""
    ways = (PurePosixPath(name), PureWindowsPath(name))
    return any(way.anchor or ".." in way.parts for way in ways)


def parts_of(name: str) -> tuple[str, ...]:
    """Split a path into its folders and file, however it is written: ``./a//b`` and ``a\\b`` are ``("a", "b")``."""
    return PurePosixPath(name.replace("\\", "/")).parts


def can_be_inside(name: str, longer_by: int = 0) -> bool:
    """Return whether a file or folder can have this path inside of the folder that it is joined to.

    Args:
        name: the path.
        longer_by: as for :func:`can_be_made`.
    """
    return not leads_out(name) and can_be_made(name, longer_by)


def can_be_made(name: str, longer_by: int = 0) -> bool:
    """Return whether a file or folder can have this path, wherever it leads.

    Args:
        name: the path.
        longer_by: bytes by which the names of files that belong to it are longer than its last part.
    """
    if half_character(name) is not None or any(ord(character) < 32 for character in name):
        return False
    lengths = [len(part.encode()) for part in parts_of(name)]
    fits = lengths and max(*lengths, lengths[-1] + longer_by) <= MOST_BYTES
    return bool(fits) and len(name.encode()) <= MOST_PATH_BYTES
