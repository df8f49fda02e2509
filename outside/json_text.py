"""JSON that someone else wrote: read as plain values, or refused by one kind of error."""

import json
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
