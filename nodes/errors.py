"""Errors that a user reads name the node they came from."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def named_errors(display_name: str) -> Iterator[None]:
    """Put the node's name before what a lower room says is wrong with the input or the files."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        message = str(error)
        raise ValueError(f"{display_name}: {message[:1].upper()}{message[1:]}") from error
