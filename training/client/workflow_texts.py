"""Texts in widgets as the frontend sends them: choices are made, comments removed, file names filled in."""

import re
from collections.abc import Callable
from datetime import datetime

COMMENT = re.compile(r"/\*[\s\S]*?\*/|//.*")
ESCAPED = re.compile(r"\\([{}|])")
REPLACED = re.compile(r"%([^%]+)%")
UNSAFE = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')
DATE_PART = re.compile(r"yyyy|yy?|MM?|dd?|hh?|mm?|ss?")


def choose(text: str) -> str:
    """Remove comments, and take the first choice of each ``{a|b}``, where the frontend draws one at random.

    So a workflow is the same prompt each time.
    """
    return ESCAPED.sub(r"\1", _chosen(COMMENT.sub("", text)))


def _chosen(text: str) -> str:
    chosen, position = [], 0
    while position < len(text):
        if text[position] == "{":
            first, position = _first_choice(text, position + 1)
            chosen.append(_chosen(first))
            continue
        length = 2 if text[position] == "\\" else 1
        chosen.append(text[position : position + length])
        position += length
    return "".join(chosen)


def _first_choice(text: str, start: int) -> tuple[str, int]:
    """Return the first of the choices that begin at ``start``, and the position behind the last."""
    depth, end, position = 0, None, start
    while position < len(text):
        letter = text[position]
        if letter == "\\":
            position += 1
        elif letter == "{":
            depth += 1
        elif letter == "}":
            if not depth:
                break
            depth -= 1
        elif letter == "|" and not depth and end is None:
            end = position
        position += 1
    return text[start : position if end is None else end], min(position, len(text)) + 1


def fill(text: str, widget: Callable[[str, str], str | None], now: datetime) -> str:
    """Fill ``%date:yyyy-MM-dd%`` and ``%Node.widget%`` in a file name.

    Args:
        widget: returns the value of a node's widget by title and name, None if there is none.
        now: time for the dates.
    """

    def filled(match: re.Match) -> str:
        names = match[1].split(".")
        if len(names) != 2:
            return _date(names[0].removeprefix("date:"), now) if names[0].startswith("date:") else match[0]
        value = widget(*names)
        return match[0] if value is None else UNSAFE.sub("_", value)

    return REPLACED.sub(filled, text)


def _date(pattern: str, now: datetime) -> str:
    numbers = {"M": now.month, "d": now.day, "h": now.hour, "m": now.minute, "s": now.second}

    def part(match: re.Match) -> str:
        if match[0].startswith("y"):
            return str(now.year)[-2:] if len(match[0]) <= 2 else str(now.year)
        return str(numbers[match[0][0]]).zfill(len(match[0]))

    return DATE_PART.sub(part, pattern)
