"""Numbers in whatever an output of another pack's node holds: a number, a text, or lists of these."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from .texts import quoted

BETWEEN = re.compile(r"[\s,;\[\]()]+")
"""Characters between the numbers of a text: blanks, commas, line breaks and the brackets of a list."""


def numbers_in(values: Any) -> list[float]:
    """Return all numbers of a value, in order.

    Args:
        values: a number, a text of numbers, an array, or a sequence of these, however deep.

    Raises:
        ValueError: something is not a finite number; the message quotes it.
    """
    numbers = list(_numbers(values))
    if broken := [number for number in numbers if not math.isfinite(number)]:
        raise ValueError(f"number {numbers.index(broken[0]) + 1} is {broken[0]}. Give finite numbers.")
    return numbers


def _numbers(values: Any) -> Iterator[float]:
    if isinstance(values, str):
        for word in filter(None, BETWEEN.split(values)):
            yield _number(word)
    elif isinstance(values, Sequence):
        for value in values:
            yield from _numbers(value)
    elif hasattr(values, "tolist"):  # of torch or numpy
        yield from _numbers(torch.as_tensor(values).flatten().tolist())
    else:
        yield _number(values)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{quoted(value, 60)} is not a number. Give numbers alone, such as 0.7, 0.31.") from error
