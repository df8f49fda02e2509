"""Joining the model calls of several runs into one, and taking the result apart again.

A joined call looks like ComfyUI's own call for a batch: ``cond_or_uncond`` names each cond once, and the rows of all
runs for one cond follow each other. Patches of other packs look for the rows of a cond that way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...capture.taps.look import Sharers
from ...runs.keys import LOOKING, RECORDING, STEP_CACHE, TAPS
from ...runs.model_wrappers import ModelCall

PER_RUN = ("uuids", "sigmas", TAPS, RECORDING, LOOKING, STEP_CACHE)
"""What ``transformer_options`` says about one run, and may differ between runs that share a call."""

CONDS = "cond_or_uncond"


def rows_of(call: ModelCall) -> int:
    """Number of rows of a call: one latent for one cond each."""
    return call.x.shape[0]


def memory_of(base_model: Any, call: ModelCall, count: int) -> float:
    """Estimate the bytes that so many calls like this one need together, as ComfyUI does.

    ComfyUI runs a batch of one cond whatever its estimate says, having loaded the weights for it, and joins several
    conds only if half as much again is free.
    """
    margin = 1.5 if len(call.options[CONDS]) > 1 else 1.0
    shapes = {name: [list(v.shape)] * count for name, v in call.arguments.items() if isinstance(v, Tensor)}
    shape = [rows_of(call) * count, *call.x.shape[1:]]
    return margin * base_model.memory_required(shape, cond_shapes=shapes)


def joinable(first: ModelCall, second: ModelCall) -> bool:
    """Whether the model may see the rows of both in one call and return what it returns for each.

    They must agree in shapes, in the conds of their rows, in noise level (patches of other packs look at the first
    row's only), and by value in everything but the latents, conds and ControlNet outputs of their rows.
    """
    if first.x.shape != second.x.shape or first.inner != second.inner or first.hooks is not second.hooks:
        return False
    if first.apply_model != second.apply_model or first.sigma != second.sigma:
        return False
    options, conds = (first.options, second.options), (_conds(first), _conds(second))
    return (
        all(name in given for given in options for name in (CONDS, "uuids", "sigmas"))
        and rows_of(first) % len(options[0][CONDS]) == 0
        and _equal(*({name: v for name, v in given.items() if name not in PER_RUN} for given in options))
        and conds[0].keys() == conds[1].keys()
        and all(_alike(conds[0][name], conds[1][name], rows_of(first)) for name in conds[0])
    )


def _conds(call: ModelCall) -> dict[Any, Any]:
    """What the model gets for each row: conds by name, and ControlNet outputs by ("control", place)."""
    conds = {name: v for name, v in call.arguments.items() if name not in ("control", "transformer_options")}
    return {**conds, **{("control", place): v for place, v in (call.arguments.get("control") or {}).items()}}


def _alike(a: Any, b: Any, rows: int) -> bool:
    """Whether two conds can be one: tensors of rows by shape, all else by value."""
    if _has_rows(a, rows) and _has_rows(b, rows):
        return (a.shape[1:], a.dtype, a.device) == (b.shape[1:], b.dtype, b.device)
    if isinstance(a, list | tuple) and type(a) is type(b):
        return len(a) == len(b) and all(_alike(x, y, rows) for x, y in zip(a, b, strict=True))
    return _equal(a, b)


def _has_rows(value: Any, rows: int) -> bool:
    return isinstance(value, Tensor) and value.shape[:1] == (rows,)


def _equal(a: Any, b: Any) -> bool:
    """By value; what can't be compared is not equal."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    try:
        if isinstance(a, Tensor | np.ndarray):
            return a.dtype == b.dtype and (torch.equal if isinstance(a, Tensor) else np.array_equal)(a, b)
        return bool(a == b)
    except Exception:  # `==` is other packs' code, and of arrays inside it has no truth value
        return False


def join(calls: Sequence[ModelCall]) -> ModelCall:
    """One call for the rows of several joinable ones."""
    options = calls[0].options.copy()
    options["sigmas"] = torch.cat([call.options["sigmas"] for call in calls])
    if any(TAPS in call.options for call in calls):
        options[TAPS] = dict(_joined_taps(calls))
    rows, parts = rows_of(calls[0]), len(options[CONDS])
    conds = [_conds(call) for call in calls]
    joined = {name: _joined([by_name[name] for by_name in conds], rows, parts) for name in conds[0]}
    control = {name[1]: joined.pop(name) for name in conds[0] if isinstance(name, tuple)}
    arguments = {**joined, "control": control or None, "transformer_options": options}
    x, timestep = (_cat([getattr(call, name) for call in calls], parts) for name in ("x", "timestep"))
    return replace(calls[0], x=x, timestep=timestep, arguments=arguments)


def _joined_taps(calls: Sequence[ModelCall]) -> Iterator[tuple[Any, Sharers]]:
    """For each conditioning entry of the joined call, named as that of the first, who has which of its rows."""
    for entries in zip(*(call.options["uuids"] for call in calls), strict=True):
        taps = (call.options.get(TAPS, {}) for call in calls)
        yield entries[0], tuple(one for tap, entry in zip(taps, entries) for one in tap.get(entry, ((entry, None),)))


def _joined(values: Sequence[Any], rows: int, parts: int) -> Any:
    first = values[0]
    if all(_has_rows(value, rows) for value in values):
        return _cat(values, parts)
    if isinstance(first, list | tuple) and any(value is not first for value in values):
        return type(first)(_joined(entries, rows, parts) for entries in zip(*values, strict=True))
    return first


def _cat(values: Sequence[Tensor], parts: int) -> Tensor:
    """Rows of all values, in ``parts`` for the conds: those of the first cond first."""
    return torch.cat([part for place in zip(*(value.chunk(parts) for value in values), strict=True) for part in place])


def split(output: Tensor, calls: Sequence[ModelCall]) -> list[Tensor]:
    """The rows of a joined call's output, for each call its own."""
    parts = [part.chunk(len(calls)) for part in output.chunk(len(calls[0].options[CONDS]))]
    return [torch.cat(rows) for rows in zip(*parts, strict=True)]
