"""Texts from outside of the pack, made safe to log, send, draw and quote in errors.

JSON may hold half a character, a lone surrogate such as \\ud800, which no encoding can write. ComfyUI writes the
message and the traceback of an error into its log while it handles that error; where that fails, the thread that runs
prompts ends, and nobody's prompt runs any more.
"""

import sys
import traceback
import unicodedata
from typing import Any

SHOWN = 120
"""Number of characters of a quoted text that are shown, from its start."""

INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories of characters that are written as numbers: a line break or a change of direction inside of a
quoted name would change how the rest of the sentence reads."""

JOINERS = "\u200c\u200d"
"""Joiners between letters of some scripts and inside of emoji; they change nothing else."""


def quoted(value: Any, most: int = SHOWN) -> str:
    """Return a text in straight quotation marks, on one line, at most ``most`` characters of it."""
    return f'"{plain(value, most)}"'


def plain(value: Any, most: int = SHOWN) -> str:
    """Return a text on one line, at most ``most`` characters of it."""
    text = str(value)
    shown = "".join(_visible(character) for character in text[:most])
    return f"{shown}…" if len(text) > most else shown


def _visible(character: str) -> str:
    if character in JOINERS or unicodedata.category(character) not in INVISIBLE:
        return character
    return character.encode("unicode_escape").decode()


def half_character(text: str) -> int | None:
    """Return the index of the first lone surrogate of a text, None if there is none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def writable(text: str, encoding: str = "utf-8") -> str:
    """Return a text with every character that an encoding can't write replaced by its number."""
    if text.isascii():
        return text
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def writable_values(value: Any) -> Any:
    """Return plain values, as JSON holds them, with all texts :func:`writable`; other values unchanged."""
    if isinstance(value, str):
        return writable(value)
    if type(value) is dict:
        return {writable_values(name): writable_values(each) for name, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(writable_values, value))
    return value


def log_encoding() -> str:
    """Return the encoding in which this process writes its log."""
    return getattr(sys.stderr, "encoding", None) or "utf-8"


def can_be_logged(error: BaseException) -> bool:
    """Return whether an error can be logged with its traceback and all errors that led to it."""
    whole = "".join(traceback.format_exception(error))
    return writable(whole, log_encoding()) == whole
