"""Errors that name the node they came from, and rewards of images with errors for users."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from ..engine.core.probe import one_number_each
from ..engine.core.texts import plain, quoted


@contextmanager
def named_errors(display_name: str) -> Iterator[None]:
    """Put a node's display name before the message of a ValueError or OSError, and raise it as a ValueError."""
    try:
        yield
    except (ValueError, OSError) as error:
        message = _said_by_system(error) if isinstance(error, OSError) and error.strerror else str(error)
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


def judged(reward: Any, images: Tensor, prompt: str) -> list[float]:
    """A reward's score of each image, ``[rows, H, W, 3]``, with the same prompt for all.

    Raises:
        ValueError: the prompt is empty, or the reward gave something else than a number for each.
    """
    require_prompt(reward, prompt)
    return images_scored(reward, images, prompt)


def images_scored(reward: Any, images: Tensor, prompt: str) -> list[float]:
    """:func:`judged`, by a prompt that may be empty."""
    values = reward(images, [prompt] * len(images))
    return one_number_each(f"the reward {plain(label_of(reward))}", values, len(images), "image").tolist()


def label_of(reward: Any) -> str:
    """The unit of a reward's scores."""
    return str(getattr(reward, "label", None) or "reward")


def _said_by_system(error: OSError) -> str:
    """Return the operating system's message, with the file it concerns."""
    return f"{error.strerror}: {quoted(error.filename, 400)}" if error.filename else error.strerror
