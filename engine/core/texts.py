"""Texts that someone else wrote, put so that anything can be done with them: logged, sent, drawn, named in an error.

JSON may hold half a character, a lone surrogate such as \\ud800, which no encoding can write. ComfyUI writes the
message and the traceback of an error into its log while it handles that error; where that fails, the thread that runs
prompts ends, and nobody's prompt runs any more.
"""

import sys
import traceback
import unicodedata
from typing import Any

SHOWN = 120
"""Characters of a quoted text that are shown, from its start."""

INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories that are written as their numbers: a line break or a change of direction inside of a quoted name
would change how the rest of the sentence reads."""

JOINERS = "\u200c\u200d"
"""Between letters of some scripts and between the parts of an emoji; they change nothing else."""


def quoted(value: Any, most: int = SHOWN) -> str:
    """Quote a text on one line, at most so many characters of it."""
    return f"“{plain(value, most)}”"


def plain(value: Any, most: int = SHOWN) -> str:
    """Do as :func:`quoted`, without the quotation marks."""
    text = str(value)
    shown = "".join(_visible(character) for character in text[:most])
    return f"{shown}…" if len(text) > most else shown


def _visible(character: str) -> str:
    if character in JOINERS or unicodedata.category(character) not in INVISIBLE:
        return character
    return character.encode("unicode_escape").decode()


def half_character(text: str) -> int | None:
    """Find the first lone surrogate of a text; None if there is none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def writable(text: str, encoding: str = "utf-8") -> str:
    """Replace by its number whatever an encoding can't write; return other texts as they are."""
    if text.isascii():
        return text
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def writable_values(value: Any) -> Any:
    """Make all texts in plain values :func:`writable`; return anything else as it is."""
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
    """Check whether an error can be written with its traceback and all errors that led to it."""
    whole = "".join(traceback.format_exception(error))
    return writable(whole, log_encoding()) == whole
