"""Errors that a user reads name the node they came from."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def named_errors(display_name: str) -> Iterator[None]:
    """Put the node's name before what a lower room says is wrong with the input or the files."""
    try:
        yield
    except (ValueError, OSError) as error:
        message = (isinstance(error, OSError) and not error.filename and error.strerror) or str(error)
        raise ValueError(f"{display_name}: {message[:1].upper()}{message[1:]}") from error


def require_prompt(reward: Any, prompt: str) -> None:
    """Refuse an empty prompt, unless the reward model doesn't read one.

    Raises:
        ValueError: it is empty.
    """
    if not prompt.strip() and getattr(reward, "reads_prompt", True):
        raise ValueError(
            "the prompt is empty, so there is nothing to judge by. "
            "Write or connect the text that CLIP Text Encode gets."
        )
