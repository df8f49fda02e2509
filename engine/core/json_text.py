"""JSON from outside of the pack, read as plain values or refused with a ValueError."""

import json
import math
from typing import Any

DEEPEST = 64
"""Largest depth of nested lists and objects that is stored."""


def read_json(text: str | bytes) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: the text is no JSON, or nested deeper than can be read.
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
    """Return a copy of plain values that JSON can hold: NaN, infinity and what is nested too deeply become texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict | list | tuple) and not deepest:
        return "…"
    if isinstance(value, dict):
        return {name: storable(each, deepest - 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [storable(each, deepest - 1) for each in value]
    return value
