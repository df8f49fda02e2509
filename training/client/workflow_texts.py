"""What the frontend makes of texts in widgets before it sends them: choices, comments, and names in file names."""

import re
from collections.abc import Callable
from datetime import datetime

COMMENT = re.compile(r"/\*[\s\S]*?\*/|//.*")
ESCAPED = re.compile(r"\\([{}|])")
REPLACED = re.compile(r"%([^%]+)%")
UNSAFE = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')
DATE_PART = re.compile(r"yyyy|yy?|MM?|dd?|hh?|mm?|ss?")


def choose(text: str) -> str:
    """A text without its comments, and with a choice made for each ``{a|b}``: the first, where the frontend draws one.

    So a workflow is the same prompt each time.
    """
    return ESCAPED.sub(r"\1", _chosen(COMMENT.sub("", text)))


def _chosen(text: str) -> str:
    parts, place = [], 0
    while place < len(text):
        if text[place] == "{":
            first, place = _first_choice(text, place + 1)
            parts.append(_chosen(first))
            continue
        length = 2 if text[place] == "\\" else 1
        parts.append(text[place : place + length])
        place += length
    return "".join(parts)


def _first_choice(text: str, start: int) -> tuple[str, int]:
    """The first of the choices that begin at ``start``, and the place behind the last."""
    depth, end, place = 0, None, start
    while place < len(text):
        letter = text[place]
        if letter == "\\":
            place += 1
        elif letter == "{":
            depth += 1
        elif letter == "}":
            if not depth:
                break
            depth -= 1
        elif letter == "|" and not depth and end is None:
            end = place
        place += 1
    return text[start : place if end is None else end], min(place, len(text)) + 1


def fill(text: str, widget: Callable[[str, str], str | None], now: datetime) -> str:
    """A file name with ``%date:yyyy-MM-dd%`` and ``%Node.widget%`` filled in.

    Args:
        widget: the value of a node's widget, by title and name; None if there is none.
        now: the time that is written.
    """

    def filled(match: re.Match) -> str:
        parts = match[1].split(".")
        if len(parts) != 2:
            return _date(parts[0].removeprefix("date:"), now) if parts[0].startswith("date:") else match[0]
        value = widget(*parts)
        return match[0] if value is None else UNSAFE.sub("_", value)

    return REPLACED.sub(filled, text)


def _date(pattern: str, now: datetime) -> str:
    numbers = {"M": now.month, "d": now.day, "h": now.hour, "m": now.minute, "s": now.second}

    def part(match: re.Match) -> str:
        if match[0].startswith("y"):
            return str(now.year)[-2:] if len(match[0]) <= 2 else str(now.year)
        return str(numbers[match[0][0]]).zfill(len(match[0]))

    return DATE_PART.sub(part, pattern)
