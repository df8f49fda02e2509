"""JSON that someone else wrote: read as plain values, or refused by one kind of error."""

import json
import math
from typing import Any

DEEPEST = 64
"""Largest depth of lists and objects inside of each other that is kept."""


def read_json(text: str | bytes) -> Any:
    """Read the value that a text holds.

    Raises:
        ValueError: it is no JSON, or nested deeper than can be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    except UnicodeError:
        raise ValueError("it is no text in UTF-8") from None
    except ValueError:
        raise ValueError("it holds a number of too many digits") from None


def storable(value: Any, deepest: int = DEEPEST) -> Any:
    """Convert plain values to those of JSON: NaN and infinity become text, and so does what is nested too deeply."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict | list | tuple) and not deepest:
        return "…"
    if isinstance(value, dict):
        return {name: storable(each, deepest - 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [storable(each, deepest - 1) for each in value]
    return value
