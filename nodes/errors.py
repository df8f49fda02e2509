"""Errors that name the node they came from, and rewards of images with errors for users."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from ..engine.core.reward import Reward, rewards_of
from ..engine.core.texts import quoted


@contextmanager
def named_errors(display_name: str) -> Iterator[None]:
    """Put a node's display name before the message of a ValueError or OSError, and raise it as a ValueError."""
    try:
        yield
    except (ValueError, OSError) as error:
        message = _said_by_system(error) if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(f"{display_name}: {message[:1].upper()}{message[1:]}") from error


def require_prompt(reward: Reward, prompt: str) -> None:
    """Refuse an empty prompt, unless the reward model doesn't read one.

    Raises:
        ValueError: it is empty.
    """
    if not prompt.strip() and reward.reads_prompt:
        raise ValueError(
            "the prompt is empty, so there is nothing to judge by. "
            "Write or connect the text that CLIP Text Encode gets."
        )


def judged(reward: Reward, images: Tensor, prompt: str) -> list[float]:
    """Return a reward's score of each image, ``[rows, H, W, 3]``, with the same prompt for all.

    Raises:
        ValueError: the prompt is empty, or the reward gave something else than a number for each.
    """
    require_prompt(reward, prompt)
    return rewards_of(reward, images, prompt).tolist()


def _said_by_system(error: OSError) -> str:
    """Return the operating system's message, with the file it concerns."""
    return f"{error.strerror}: {quoted(error.filename, 400)}" if error.filename else error.strerror
