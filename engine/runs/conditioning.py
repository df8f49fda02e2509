"""Cuts of a CONDITIONING to some rows of a batch, and the fields of it that differ from row to row.

As in ``rows``, each row gets what it gets from ComfyUI in the whole batch.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import comfy.conds
import comfy.controlnet
import comfy.utils
import torch
from torch import Tensor

from .rows import CONTROLS, cut_cond, cut_control, cut_tensor

RESIZED = ("concat_latent_image", "concat_mask", "concat_image")
"""Fields that ComfyUI resizes to a batch with ``resize_to_batch_size``; it repeats all others."""

NAMES = {
    "cross_attn": "prompt",
    "pooled_output": "prompt",
    "conditioning_llama3": "prompt",
    "attention_mask": "prompt",
    "mask": "mask",
    "control": "ControlNet picture",
    "reference_latents": "reference picture",
    **dict.fromkeys(RESIZED, "inpainting picture"),
}
"""Names of the fields of a conditioning entry for users."""

Rows = Sequence[int]


def cut_conditioning(conditioning: list, rows: Rows, batch: int, controls: dict[Any, Any]) -> list:
    """Cut a CONDITIONING to some rows of a batch.

    Args:
        conditioning: entries ``[embedding, fields]``; it is not changed.
        rows: numbers of the rows, in the order of the result.
        batch: number of rows of the whole batch.
        controls: ControlNets that were cut before, by the original; filled here. Pass the same dict for the positive
            and the negative one, which share a model call only if they share a ControlNet.

    Raises:
        ValueError: a ControlNet of another pack whose rows are not known.
    """

    def cut(value: Any, field: str) -> Any:
        if isinstance(value, Tensor):
            return _cut_tensor(value, rows, batch, field)
        if isinstance(value, comfy.controlnet.ControlBase):
            return _cut_control(value, rows, controls)
        if isinstance(value, comfy.conds.CONDRegular):
            return cut_cond(value, rows)
        if isinstance(value, dict):
            return {name: cut(part, field) for name, part in value.items()}
        return type(value)(cut(part, field) for part in value) if type(value) in (list, tuple) else value

    return [
        [cut(embedding, "cross_attn"), {name: cut(value, name) for name, value in fields.items()}]
        for embedding, fields in conditioning
    ]


def what_differs(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names of the fields of a guider's conditioning entries that differ from row to row."""
    names = (NAMES.get(field, field) for entry in entries for field, value in entry.items() if _differs(value))
    return list(dict.fromkeys(names))


def _cut_tensor(values: Tensor, rows: Rows, batch: int, field: str) -> Tensor:
    if values.ndim < 2 or values.shape[0] == 1:
        return values
    return cut_tensor(comfy.utils.resize_to_batch_size(values, batch) if field in RESIZED else values, rows)


def _cut_control(control: Any, rows: Rows, controls: dict[Any, Any]) -> Any:
    several = [link for link in _chain(control) if not _one_picture(link)]
    if not several:
        return control
    for link in several:
        if type(link) not in CONTROLS:
            raise ValueError(
                f"the rows of a {type(link).__name__} are not known, so its pictures can't be cut with the latent. "
                "Prune or search in one sampler node instead, which needs no cut."
            )
    return cut_control(control, rows, controls)


def _one_picture(control: Any) -> bool:
    return isinstance(control.cond_hint_original, Tensor) and control.cond_hint_original.shape[0] == 1


def _chain(control: Any) -> Iterator[Any]:
    while control is not None:
        yield control
        control = control.previous_controlnet


def _differs(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.ndim > 1 and value.shape[0] > 1 and not torch.equal(value, value[:1].expand_as(value))
    if isinstance(value, comfy.controlnet.ControlBase):
        return any(_differs(link.cond_hint_original) for link in _chain(value))
    if isinstance(value, comfy.conds.CONDRegular):
        return type(value) is not comfy.conds.CONDConstant and _differs(value.cond)
    if isinstance(value, dict):
        return any(map(_differs, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_differs, value))
