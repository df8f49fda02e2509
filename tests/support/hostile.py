"""Hostile inputs, drawn by a generator with a seed: what a workflow of a stranger, or one bad file, may hold."""

import json
import math
from random import Random

LONG = 40_000
"""Characters of a long text: what takes quadratic time freezes a server by it."""

TEXTS = (
    "", " ", "\n\t", "\x00", "a\x00b", "\ud800", "a red \udfff fox", "\udc80", "\x1b[31m", "\u202eabc", "\ufeff",
    "$x^{$", r"\frac{", "$$", "%s %d %n", "{0} {name}", "<img src=x onerror=alert(1)>", "../../../etc/passwd", "..",
    ".", "/", "\\\\server\\share", "C:\\x", "C:", "./testbed/flux/joint", "testbed\\flux", "testbed/flux/joint",
    "CON", ".hidden", "a/", "a//b", "a" * 300, "é" * 200, "名" * 100, "nan", "inf", "-1", "1e999", "0x10", "١٢٣",
    "²", "1_000", "7, 7", "7 row 3", "7 row", "row 3", "18446744073709551616", "auto, auto", "20", "20%%", "0%",
    "100%", "step 0", "step 999999999999999999999", "step " + "9" * 5000, "9" * LONG, "1" * LONG + " row",
    "9 row " * 5000, "1 " * LONG, "20%, " * 5000, "red, " * 5000, " " * LONG + "%", "0" * LONG + "%", "(" * 2000,
    "a" * LONG, "a " * 9000, "-" * LONG, "([{" * 2000, "(a:1.5" * 500, "embedding:" + "x" * 300, "embedding:../../x",
    "\\(" * 500, "🦊\u200d" * 500, "e\u0301" * 3000, "null", "true", "[]", "{}", '{"a": ' * 500, "\r\n" * 500,
    "'; DROP TABLE runs; --", ",;" * LONG,
)  # fmt: skip

NUMBERS = (
    0, -1, -0.0, 0.5, 1, 2, 3, math.nan, math.inf, -math.inf, 1e308, -1e308, 1e-320, 2**31, 2**63, 2**64, -(2**70),
    10**30, True, False,
)  # fmt: skip

RAW = (
    "Traceback", "object has no attribute", "object is not", "NoneType", "KeyError", "not subscriptable", "unhashable",
    "positional argument", "unsupported operand", "not supported between", "codec can't", "surrogates not allowed",
    "index out of range", "must be real number", "invalid literal", "could not convert", "embedded null", "Errno",
    "JSON serializable", "expected str", "4300 digits", "recursion",
)  # fmt: skip
"""Words by which errors of Python are known that nobody has put into a sentence."""


def text(rng: Random) -> str:
    """A text: a known trouble, or characters of all planes."""
    if rng.random() < 0.7:
        return rng.choice(TEXTS)
    ends = (32, 0x300, 0x110000)
    return "".join(chr(rng.randrange(rng.choice(ends))) for _ in range(rng.randrange(25)))


def value(rng: Random, depth: int = 3):
    """Any value that JSON, as Python reads it, may hold."""
    kind = rng.randrange(8 if depth else 5)
    if kind < 2:
        return text(rng)
    if kind < 4:
        return rng.choice(NUMBERS)
    if kind == 4:
        return None
    if kind < 7:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {text(rng)[:80]: value(rng, depth - 1) for _ in range(rng.randrange(4))}


def changed(rng: Random, right, times: int = 1):
    """A copy of plain values in which a few are replaced, left out, doubled or added."""
    found = json.loads(json.dumps(right))
    for _ in range(times):
        found = _changed(rng, found)
    return found


def _changed(rng: Random, right):
    if not isinstance(right, dict | list) or not right or rng.random() < 0.15:
        return value(rng)
    if isinstance(right, list):
        at = rng.randrange(len(right))
        return [*right[:at], *rng.choice(([], [_changed(rng, right[at])], [right[at]] * 2)), *right[at + 1 :]]
    name, kind = rng.choice(sorted(right)), rng.randrange(6)
    if kind == 0:
        return {other: each for other, each in right.items() if other != name}
    if kind == 1:
        return {**right, text(rng)[:40]: value(rng)}
    return {**right, name: _changed(rng, right[name])}


def is_sentence(message: str) -> bool:
    """Whether an error says in words what is wrong."""
    return bool(message.strip()) and len(message) <= 4200 and not any(name in message for name in RAW)
