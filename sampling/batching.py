"""Joining the model calls of several runs into one, and taking the result apart again."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .attachment import KEY
from .look import LOOKING, TAPS
from .step_cache.state import KEY as CACHE_KEY

PER_ROW = ("cond_or_uncond", "uuids", "sigmas")
"""What ``transformer_options`` says about the rows of one call; a joined call has those of all."""

BY_ENTRY = (TAPS,)
"""Looks by conditioning entry; a joined call has those of all."""

PER_RUN = (*BY_ENTRY, KEY, LOOKING, CACHE_KEY)
"""What it says about one run, and the model reads by conditioning entry or not at all."""


@dataclass
class ModelCall:
    """One call of ``apply_model`` that a run is waiting for.

    Attributes:
        execute: runs the model: the rest of the APPLY_MODEL chain of this run.
        base_model: ComfyUI's model, whose ``apply_model`` was called.
        x: latents, ``[rows, channels, ...]``.
        timestep: sigma of each row, ``[rows]``.
        arguments: everything else that the call was given, by name, among them
            ``transformer_options``.
        hooks: those whose weights it has put into the model for this call.
    """

    execute: Any
    base_model: Any
    x: Tensor
    timestep: Tensor
    arguments: dict[str, Any]
    hooks: Any = None

    @property
    def rows(self) -> int:
        return self.x.shape[0]

    @cached_property
    def sigma(self) -> float:
        """Of its first row. Read once: each time would wait for the GPU."""
        return float(self.timestep[0])

    def memory(self, count: int) -> float:
        """Bytes that so many calls like this one need together, as ComfyUI estimates it for a batch."""
        shapes = {name: [list(v.shape)] * count for name, v in self.arguments.items() if isinstance(v, Tensor)}
        return 1.5 * self.base_model.memory_required([self.rows * count, *self.x.shape[1:]], cond_shapes=shapes)


def joinable(first: ModelCall, second: ModelCall) -> bool:
    """Whether the model may see the rows of both in one call and return what it returns for each.

    They must agree in shapes, in noise level (patches of other packs look at the first row's only),
    and by value in everything but the latents, conds and ControlNet outputs of their rows.
    """
    if first.x.shape[1:] != second.x.shape[1:] or first.hooks is not second.hooks or first.sigma != second.sigma:
        return False
    options, conds = (_options(first), _options(second)), (_conds(first), _conds(second))
    return (
        all(name in given for given in options for name in PER_ROW)
        and _equal(*({name: v for name, v in given.items() if name not in PER_ROW + PER_RUN} for given in options))
        and conds[0].keys() == conds[1].keys()
        and all(_alike(conds[0][name], conds[1][name], first.rows, second.rows) for name in conds[0])
    )


def _options(call: ModelCall) -> dict[str, Any]:
    return call.arguments["transformer_options"] or {}


def _conds(call: ModelCall) -> dict[Any, Any]:
    """What the model gets for each row: conds by name, and ControlNet outputs by ("control", place)."""
    conds = {name: v for name, v in call.arguments.items() if name not in ("control", "transformer_options")}
    return {**conds, **{("control", place): v for place, v in (call.arguments["control"] or {}).items()}}


def _alike(a: Any, b: Any, rows_a: int, rows_b: int) -> bool:
    """Whether two conds can be one: tensors of rows by shape, all else by value."""
    if _has_rows(a, rows_a) and _has_rows(b, rows_b):
        return (a.shape[1:], a.dtype, a.device) == (b.shape[1:], b.dtype, b.device)
    if isinstance(a, list | tuple) and type(a) is type(b):
        return len(a) == len(b) and all(_alike(x, y, rows_a, rows_b) for x, y in zip(a, b, strict=True))
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


def join(calls: Sequence[ModelCall]) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Latents, sigmas and arguments of one call for the rows of several joinable ones."""
    given = [_options(call) for call in calls]
    options = given[0].copy()
    for name in ("cond_or_uncond", "uuids"):
        options[name] = [entry for one in given for entry in one[name]]
    for name in BY_ENTRY:
        options[name] = {uuid: tap for one in given for uuid, tap in one.get(name, {}).items()}
    options["sigmas"] = torch.cat([one["sigmas"] for one in given])
    conds, rows = [_conds(call) for call in calls], [call.rows for call in calls]
    joined = {name: _joined([by_name[name] for by_name in conds], rows) for name in conds[0]}
    control = {name[1]: joined.pop(name) for name in conds[0] if isinstance(name, tuple)}
    x, timestep = torch.cat([call.x for call in calls]), torch.cat([call.timestep for call in calls])
    return x, timestep, {**joined, "control": control or None, "transformer_options": options}


def _joined(values: Sequence[Any], rows: Sequence[int]) -> Any:
    first = values[0]
    if all(_has_rows(value, count) for value, count in zip(values, rows, strict=True)):
        return torch.cat(list(values))
    if isinstance(first, list | tuple) and any(value is not first for value in values):
        return type(first)(_joined(entries, rows) for entries in zip(*values, strict=True))
    return first


def split(output: Tensor, calls: Sequence[ModelCall]) -> list[Tensor]:
    """The rows of a joined call's output, for each call its own."""
    return list(output.split([call.rows for call in calls]))
