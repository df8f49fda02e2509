"""Errors that name the node they came from."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..engine.core.texts import quoted


@contextmanager
def named_errors(display_name: str) -> Iterator[None]:
    """Put a node's display name before the message of a ValueError or OSError, and raise it as a ValueError."""
    try:
        yield
    except (ValueError, OSError) as error:
        message = _said_by_system(error) if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(f"{display_name}: {message[:1].upper()}{message[1:]}") from error


def _said_by_system(error: OSError) -> str:
    """Return the operating system's message, with the file it concerns."""
    return f"{error.strerror}: {quoted(error.filename, 400)}" if error.filename else error.strerror
