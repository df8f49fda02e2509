"""Batching: join the model calls of several runs into one, and split its output.

A joined call has the form of ComfyUI's own call for a batch: ``cond_or_uncond`` names each cond once, and the rows of
all runs for one cond follow each other. Patches of other packs find the rows of a cond that way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...capture.hooks.evaluation import Sharers
from ...runs.keys import CAPTURES, CAPTURING, RECORDING, STEP_CACHE
from ...runs.model_wrappers import ModelCall

PER_RUN = ("uuids", "sigmas", CAPTURES, RECORDING, CAPTURING, STEP_CACHE)
"""Entries of ``transformer_options`` that are about one run, and may differ between runs that share a call."""

CONDS = "cond_or_uncond"


def rows_of(call: ModelCall) -> int:
    """Return the number of model rows of a call."""
    return call.x.shape[0]


def memory_of(base_model: Any, call: ModelCall, count: int) -> float:
    """Estimate the bytes that ``count`` calls like this one need together, as ComfyUI does for a batch.

    ComfyUI runs a batch of one cond whatever its estimate says, having loaded the weights for it, and joins several
    conds only if half as much again is free.
    """
    margin = 1.5 if len(call.options[CONDS]) > 1 else 1.0
    shapes = {name: [list(v.shape)] * count for name, v in call.arguments.items() if isinstance(v, Tensor)}
    shape = [rows_of(call) * count, *call.x.shape[1:]]
    return margin * base_model.memory_required(shape, cond_shapes=shapes)


def joinable(first: ModelCall, second: ModelCall) -> bool:
    """Tell whether two calls can be one whose output for each row is that of the single calls.

    They have to be equal in shapes, in the conds of their rows, in noise level (patches of other packs read the first
    row's only), and by value in everything but the latents, conds and ControlNet outputs of their rows.
    """
    if first.x.shape != second.x.shape or first.inner != second.inner or first.hooks is not second.hooks:
        return False
    if first.apply_model != second.apply_model or first.sigma != second.sigma:
        return False
    return _options_agree(first, second) and _conds_agree(first, second)


def _options_agree(first: ModelCall, second: ModelCall) -> bool:
    for options in (first.options, second.options):
        if not all(name in options for name in (CONDS, "uuids", "sigmas")):
            return False
    if rows_of(first) % len(first.options[CONDS]):
        return False
    shared, others = ({n: v for n, v in call.options.items() if n not in PER_RUN} for call in (first, second))
    return _equal(shared, others)


def _conds_agree(first: ModelCall, second: ModelCall) -> bool:
    conds, others = _conds(first), _conds(second)
    return conds.keys() == others.keys() and all(_joinable(conds[name], others[name], rows_of(first)) for name in conds)


def _conds(call: ModelCall) -> dict[Any, Any]:
    """Return the arguments that have rows: conds by name, and ControlNet outputs by ("control", position)."""
    conds = {name: v for name, v in call.arguments.items() if name not in ("control", "transformer_options")}
    return {**conds, **{("control", name): v for name, v in (call.arguments.get("control") or {}).items()}}


def _joinable(a: Any, b: Any, rows: int) -> bool:
    """Tell whether two arguments can be joined: tensors of rows by shape, all else by value."""
    if _has_rows(a, rows) and _has_rows(b, rows):
        return (a.shape[1:], a.dtype, a.device) == (b.shape[1:], b.dtype, b.device)
    if isinstance(a, list | tuple) and type(a) is type(b):
        return len(a) == len(b) and all(_joinable(x, y, rows) for x, y in zip(a, b, strict=True))
    return _equal(a, b)


def _has_rows(value: Any, rows: int) -> bool:
    return isinstance(value, Tensor) and value.shape[:1] == (rows,)


def _equal(a: Any, b: Any) -> bool:
    """Compare by value; values that can't be compared are not equal."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    try:
        if isinstance(a, Tensor):
            return a.dtype == b.dtype and torch.equal(a, b)
        if isinstance(a, np.ndarray):
            return a.dtype == b.dtype and np.array_equal(a, b)
        return bool(a == b)
    except Exception:  # `==` is other packs' code, and of arrays inside it has no truth value
        return False


def join(calls: Sequence[ModelCall]) -> ModelCall:
    """Return one call for the rows of several joinable calls."""
    options = calls[0].options.copy()
    options["sigmas"] = torch.cat([call.options["sigmas"] for call in calls])
    if any(CAPTURES in call.options for call in calls):
        options[CAPTURES] = dict(_joined_captures(calls))
    rows, conds_per_call = rows_of(calls[0]), len(options[CONDS])
    conds = [_conds(call) for call in calls]
    joined = {name: _joined([by_name[name] for by_name in conds], rows, conds_per_call) for name in conds[0]}
    control = {name[1]: joined.pop(name) for name in conds[0] if isinstance(name, tuple)}
    arguments = {**joined, "control": control or None, "transformer_options": options}
    x, timestep = (_cat([getattr(call, name) for call in calls], conds_per_call) for name in ("x", "timestep"))
    return replace(calls[0], x=x, timestep=timestep, arguments=arguments)


def _joined_captures(calls: Sequence[ModelCall]) -> Iterator[tuple[Any, Sharers]]:
    """Yield each conditioning entry of the joined call, named as that of the first, with the owners of its rows."""
    for entries in zip(*(call.options["uuids"] for call in calls), strict=True):
        owners = (call.options.get(CAPTURES, {}).get(entry, ((entry, None),)) for call, entry in zip(calls, entries))
        yield entries[0], tuple(share for shares in owners for share in shares)


def _joined(values: Sequence[Any], rows: int, conds: int) -> Any:
    first = values[0]
    if all(_has_rows(value, rows) for value in values):
        return _cat(values, conds)
    if isinstance(first, list | tuple) and any(value is not first for value in values):
        return type(first)(_joined(entries, rows, conds) for entries in zip(*values, strict=True))
    return first


def _cat(values: Sequence[Tensor], conds: int) -> Tensor:
    """Return the rows of all values, those of the first cond first; each value has rows of ``conds`` conds."""
    by_cond = zip(*(value.chunk(conds) for value in values), strict=True)
    return torch.cat([rows for of_cond in by_cond for rows in of_cond])


def split(output: Tensor, calls: Sequence[ModelCall]) -> list[Tensor]:
    """Return the rows of a joined call's output for each call."""
    by_cond = [rows.chunk(len(calls)) for rows in output.chunk(len(calls[0].options[CONDS]))]
    return [torch.cat(rows) for rows in zip(*by_cond, strict=True)]
