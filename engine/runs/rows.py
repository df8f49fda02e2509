"""Cuts of a model evaluation to some rows: of everything that holds one entry per latent.

Each function follows how ComfyUI itself spreads fewer (or more) entries over the rows of a batch, so that a row gets
the same as in the whole batch.
"""

import copy
from collections.abc import Sequence
from typing import Any

import comfy.conds
import comfy.controlnet
from torch import Tensor

from .comfy_versions import on_several_gpus

PER_ROW = (comfy.conds.CONDRegular, comfy.conds.CONDNoiseShape, comfy.conds.CONDCrossAttn)
"""ComfyUI's COND types with one entry per row."""

CONTROLS = (
    comfy.controlnet.ControlNet,
    comfy.controlnet.QwenFunControlNet,
    comfy.controlnet.ControlLora,
    comfy.controlnet.ControlNetSD35,
    comfy.controlnet.T2IAdapter,
)
"""ControlNet types whose hints are known to have one entry per row."""

CACHES = {"easycache": "EasyCache or LazyCache", "rel_l1_thresh": "TeaCache"}
"""Marks in ``transformer_options`` of nodes that keep whole batches from one evaluation to the next."""


def cache_on(options: dict[str, Any]) -> str:
    """Return the name of a cache that keeps whole batches, by its mark in ``transformer_options``; empty for none."""
    return next((name for mark, name in CACHES.items() if mark in options), "")


def why_not_cut(conds: Sequence[list[dict] | None], options: dict[str, Any]) -> str | None:
    """Return why an evaluation can't be cut to some of its rows, None if it can.

    Args:
        conds: the lists of conditioning entries, as a guider processed them.
        options: the evaluation's ``transformer_options``.
    """
    if cache := cache_on(options):
        return f"{cache} keeps whole batches from one evaluation to the next"
    for entry in (entry for entries in conds for entry in entries or ()):
        for name, cond in entry["model_conds"].items():
            if type(cond) not in (*PER_ROW, comfy.conds.CONDList, comfy.conds.CONDConstant):
                return f"the conditioning's {name} is a {type(cond).__name__}, whose rows are not known"
        control = entry.get("control")
        while control is not None:
            if type(control) not in CONTROLS or on_several_gpus(control):
                return f"the rows of a {type(control).__name__} are not known"
            control = control.previous_controlnet
    return None


def cut_tensor(values: Tensor, rows: Sequence[int]) -> Tensor:
    """Return the entries of ``values`` of some rows of a batch. One entry is for all rows; fewer than rows repeat."""
    if values.shape[0] == 1:
        return values
    return values[[row % values.shape[0] for row in rows]]


def part_of_row(values: Tensor, row: int, count: int, interleaved: bool = False) -> Tensor:
    """Return the entries of one of ``count`` rows, if the number of entries is a multiple of that; else all.

    Args:
        values: one or several entries per row along the first axis.
        row: number of the row.
        count: number of rows.
        interleaved: whether the first entries of all rows come first, as conditionings do in a model call; else the
            entries of a row follow each other, as heads do.
    """
    if values.ndim == 0 or len(values) % count:
        return values.clone()
    size = len(values) // count
    return (values[row::count] if interleaved else values[row * size : (row + 1) * size]).clone()


def cut_entry(entry: dict[str, Any], rows: Sequence[int], controls: dict[Any, Any]) -> dict[str, Any]:
    """Cut a conditioning entry to some rows.

    Args:
        entry: as a guider processed it; it is not changed.
        rows: numbers of the rows.
        controls: ControlNets that were cut before, by the original; filled here. A ControlNet
            prepares its hint once, and entries share a call only if they share its object.
    """
    cut = entry.copy()
    cut["model_conds"] = {name: cut_cond(cond, rows) for name, cond in entry["model_conds"].items()}
    if "mask" in entry:
        cut["mask"] = cut_tensor(entry["mask"], rows)
    if "control" in entry:
        cut["control"] = cut_control(entry["control"], rows, controls)
    return cut


def cut_cond(cond: Any, rows: Sequence[int]) -> Any:
    """Cut one of ComfyUI's COND objects to some rows; one of another type is returned unchanged."""
    if type(cond) in PER_ROW:
        return type(cond)(cut_tensor(cond.cond, rows))
    if type(cond) is comfy.conds.CONDList:
        return comfy.conds.CONDList([cut_tensor(values, rows) for values in cond.cond])
    return cond


def cut_control(control: Any, rows: Sequence[int], controls: dict[Any, Any]) -> Any:
    """Cut a ControlNet of a known type to the hints of some rows, still to be prepared; see :func:`cut_entry`."""
    if control is None:
        return None
    if control not in controls:
        cut = copy.copy(control)
        hints = control.cond_hint_original
        if hints is not None and hints.shape[0] > 1:
            of_hints = [row % hints.shape[0] for row in rows]
            cut.cond_hint_original = hints[of_hints]
            cut.extra_concat_orig = [cut_tensor(extra, of_hints) for extra in control.extra_concat_orig]
        cut.cond_hint = cut.control_input = None
        cut.multigpu_clones = {}  # theirs have the hints of all rows
        cut.previous_controlnet = cut_control(control.previous_controlnet, rows, controls)
        controls[control] = cut
    return controls[control]
