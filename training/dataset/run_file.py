"""Files of recorded runs, and checks of whether record and tensors fit together.

A file with an inconsistency is left out of its dataset by name, as it would spoil a training with all other files.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from ...engine.core.names import can_be_made, parts_of
from ...engine.core.texts import half_character, plain
from .header import Header
from .run_record import METADATA, RunRecord

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of the tensors in a file, by name."""

NUMBERS = ("F16", "F32", "F64", "BF16")
"""Data types of tensors of real numbers, as safetensors names them."""


def read_record(path: Path) -> RunRecord:
    """Read the record in a run's file.

    Raises:
        ValueError: another kind of file, a newer format, or values that no recorder writes.
        SafetensorError, OSError: the file is damaged or missing.
    """
    return read_run(path)[0]


def read_run(path: Path) -> tuple[RunRecord, dict[str, tuple[int, ...]]]:
    """Read the record in a run's file and the shapes of its tensors; errors as :func:`read_record`."""
    with safe_open(str(path), "pt") as file:
        text = (file.metadata() or {}).get(METADATA)
        if text is None:
            raise ValueError("it is a safetensors file, but no recorded run")
        slices = {name: file.get_slice(name) for name in file.keys()}
        wrong = [name for name, each in slices.items() if each.get_dtype() not in NUMBERS]
        shapes = {name: tuple(each.get_shape()) for name, each in slices.items()}
    if wrong:
        raise ValueError(f"its tensor {plain(wrong[0])} holds no real numbers")
    run = RunRecord.from_json(text)
    if why := why_no_record(run):
        raise ValueError(why)
    return run, shapes


def why_no_record(run: RunRecord) -> str | None:
    """Return what in a record isn't as recorders write it, None if everything is."""
    rows = len(run.seeds)
    checks = {
        "key": _text(run.key) and can_be_made(run.key) and parts_of(run.key) == (run.key,) and run.key[0] != ".",
        "prompt": _text(run.prompt),
        "seeds": rows > 0 and all(_count(seed) for seed in run.seeds),
        "steps": _count(run.steps) and run.steps > 0,
        "words": bool(run.words) and all(map(_text, run.words)),
        "moments": bool(run.moments) and all(map(_is_moment, run.moments)),
        "labels": bool(run.labels) and _by_name(run.labels, lambda values: _numbers(values, rows)),
        "others": _by_name(run.others, lambda values: _numbers(values, rows)),
        "parts": _by_name(run.phrases, lambda words: _word_numbers(words, len(run.words))),
        "settings": isinstance(run.settings, dict),
    }
    wrong = [name for name, right in checks.items() if not right]
    return f"its record has a wrong value for {', '.join(wrong)}" if wrong else None


def why_not_of(header: Header, run: RunRecord, shapes: Shapes) -> str | None:
    """Return why the file of a run doesn't fit a dataset, None if it does."""
    wanted: dict[str, tuple[int | None, ...]] = {"text": (len(run.words), None), "final": (len(run.seeds), *3 * [None])}
    for number in range(len(run.moments)):
        rows, kept = len(run.seeds), f"{number}."
        wanted |= {
            kept + "maps": (rows, len(header.blocks), len(run.words), None, None),
            kept + "activation": (rows, header.activation_channels, None, None),
            kept + "latent": (rows, None, None, None),
            kept + "denoised": (rows, None, None, None),
        }
    for name, shape in wanted.items():
        actual = shapes.get(name)
        if actual is None:
            return f"it lacks the tensor {name}"
        if not _fits(actual, shape):
            return f"its tensor {name} has shape {list(actual)}, and the record says {_shown(shape)}"
    return _why_uneven(len(run.moments), shapes)


def channels(shapes: Shapes) -> tuple[int, ...]:
    """Return the numbers of channels that all runs of a training share, and that no header holds."""
    return shapes["text"][-1], shapes["final"][1], shapes["0.latent"][1]


def _why_uneven(moments: int, shapes: Shapes) -> str | None:
    """Return which tensors of a run differ in size though they shouldn't, None if none do."""
    for number in range(moments):
        if any(shapes[f"{number}.{name}"] != shapes[f"0.{name}"] for name in ("maps", "activation", "latent")):
            return f"its moments 0 and {number} differ in size"
        if shapes[f"{number}.denoised"] != shapes["final"]:
            return f"its tensors {number}.denoised and final differ in size"
    if shapes["0.latent"][-2:] != shapes["final"][-2:]:
        return "its tensors 0.latent and final differ in size"
    return None


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    sizes = zip(shape, wanted)
    return len(shape) == len(wanted) and all(size > 0 and expected in (None, size) for size, expected in sizes)


def _shown(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('…' if size is None else str(size) for size in shape)}]"


def _text(value: Any) -> bool:
    return isinstance(value, str) and half_character(value) is None


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def _numbers(values: Any, count: int) -> bool:
    return isinstance(values, tuple) and len(values) == count and all(map(_number, values))


def _word_numbers(words: Any, count: int) -> bool:
    return isinstance(words, tuple) and len(words) > 0 and all(_count(word) and word < count for word in words)


def _is_moment(moment: Any) -> bool:
    return (
        _count(moment.step)
        and moment.step > 0
        and _number(moment.sigma)
        and _number(moment.percent)
        and math.isfinite(moment.sigma)
        and 0 <= moment.percent <= 1
    )


def _by_name(values: Any, right: Callable[[Any], bool]) -> bool:
    return isinstance(values, dict) and all(_text(name) and right(each) for name, each in values.items())
