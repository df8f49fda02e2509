"""Joining the model calls of several runs into one, and taking the result apart again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .attachment import KEY
from .recording import LOOKING
from .step_cache.hook import KEY as CACHE_KEY
from .tap import TAPS

PER_CALL = ("cond_or_uncond", "uuids", "sigmas", TAPS, KEY, LOOKING, CACHE_KEY)
"""What ``transformer_options`` says about one run or the rows of one call; it is rebuilt for a joined call."""


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

    def memory(self, count: int) -> float:
        """Bytes that so many calls like this one need together, as ComfyUI estimates it for a batch."""
        shapes = {name: [list(v.shape)] * count for name, v in self.arguments.items() if isinstance(v, Tensor)}
        return 1.5 * self.base_model.memory_required([self.rows * count, *self.x.shape[1:]], cond_shapes=shapes)


def joinable(first: ModelCall, second: ModelCall) -> bool:
    """Whether the model may see the rows of both in one call and return what it returns for each.

    They must agree in shapes, in noise level (patches of other packs look at the first row's only),
    and in everything that is not a tensor of rows.
    """
    return (
        first.x.shape[1:] == second.x.shape[1:]
        and first.hooks is second.hooks
        and bool(first.timestep[0] == second.timestep[0])
        and _alike(_comparable(first), _comparable(second), first.rows, second.rows)
    )


def _comparable(call: ModelCall) -> dict[str, Any]:
    options = {name: v for name, v in call.arguments["transformer_options"].items() if name not in PER_CALL}
    return {**call.arguments, "transformer_options": options}


def _alike(a: Any, b: Any, rows_a: int, rows_b: int) -> bool:
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        if a.shape[:1] == (rows_a,) and b.shape[:1] == (rows_b,):
            return a.shape[1:] == b.shape[1:] and a.dtype == b.dtype
        return torch.equal(a, b) if a.shape == b.shape else False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key], rows_a, rows_b) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_alike(x, y, rows_a, rows_b) for x, y in zip(a, b, strict=True))
    return a == b


def join(calls: Sequence[ModelCall]) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Latents, sigmas and arguments of one call for the rows of several joinable ones."""
    options = calls[0].arguments["transformer_options"].copy()
    for name in ("cond_or_uncond", "uuids"):
        options[name] = [entry for call in calls for entry in call.arguments["transformer_options"][name]]
    taps = [call.arguments["transformer_options"].get(TAPS, {}) for call in calls]
    options[TAPS] = {uuid: tap for by_uuid in taps for uuid, tap in by_uuid.items()}
    options["sigmas"] = torch.cat([call.arguments["transformer_options"]["sigmas"] for call in calls])
    rest = [{name: v for name, v in call.arguments.items() if name != "transformer_options"} for call in calls]
    arguments = _joined(rest, [call.rows for call in calls])
    x, timestep = torch.cat([call.x for call in calls]), torch.cat([call.timestep for call in calls])
    return x, timestep, {**arguments, "transformer_options": options}


def _joined(values: Sequence[Any], rows: Sequence[int]) -> Any:
    first = values[0]
    if isinstance(first, Tensor) and all(
        value.shape[:1] == (count,) for value, count in zip(values, rows, strict=True)
    ):
        return torch.cat(list(values))
    if isinstance(first, dict):
        return {key: _joined([value[key] for value in values], rows) for key in first}
    if isinstance(first, list | tuple):
        return type(first)(_joined(entries, rows) for entries in zip(*values, strict=True))
    return first


def split(output: Tensor, calls: Sequence[ModelCall]) -> list[Tensor]:
    """The rows of a joined call's output, for each call its own."""
    return list(output.split([call.rows for call in calls]))
