"""JSON that someone else wrote: read as plain values, or refused by one kind of error."""

import json
import math
from typing import Any


def read_json(text: str | bytes) -> Any:
    """The value that a text holds.

    Raises:
        ValueError: it is no JSON, or nested deeper than can be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def storable(value: Any) -> Any:
    """Plain values in which numbers that JSON doesn't know, NaN and infinity, are text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: storable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [storable(each) for each in value]
    return value
