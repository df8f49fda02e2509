"""Check of joined calls: some rows are also computed in calls of single runs, and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ...runs.model_wrappers import ModelCall
from ...runs.origins import is_core, is_ours, origin_of
from .forwards import replaced

ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}
"""Largest relative difference that rows of one model call may have to the same rows alone. A plain batch of eight
against single rows, on small models of all families: at most 1.4e-6, 1.0e-3 and 7.9e-3 for float32, float16 and
bfloat16. Weights in fp8 are computed in one of these."""

TF32 = 5e-3
"""Largest relative difference for float32 whose products a GPU computes with the precision of TF32."""

GREW = 30.0
"""Factor by which rounding may have grown after two steps of a sampler."""


class RowCheck:
    """Decision which runs of a joined call are compared with single calls.

    Nothing is checked on a MODEL to which nothing was added: ComfyUI's own models compute each row separately.

    Args:
        model: the MODEL that is searched.

    Attributes:
        foreign: origins of the code that was added to the model; empty names for code without one.
    """

    def __init__(self, model: Any):
        self.foreign = list(added_code(model))
        dtype = model.model.manual_cast_dtype or model.model.get_dtype()
        tf32 = dtype == torch.float32 and torch.cuda.is_available() and torch.backends.cuda.matmul.allow_tf32
        self.rounding = TF32 if tf32 else ROUNDING.get(dtype, ROUNDING[torch.bfloat16])
        self._checks: Counter[Any] = Counter()
        self._renewed: set[Any] = set()

    def renew(self) -> None:
        """Make one more check of each kind of call due: paused runs continue."""
        self._renewed = set(self._checks)

    def due(self, call: ModelCall, count: int) -> list[int]:
        """Return which of ``count`` runs that share a call are to be called singly as well.

        They are the first and the last run at the first two calls with the same active patches, and the last run
        when runs continue after a pause.
        """
        if not self.foreign:
            return []
        active = _active(call)
        if self._checks[active] < 2:
            self._checks[active] += 1
            return sorted({0, count - 1})
        if active in self._renewed:
            self._renewed.remove(active)
            return [count - 1]
        return []

    def differ(self, a: Tensor, b: Tensor, steps: bool = False) -> bool:
        """Tell whether two results differ by more than rounding.

        Args:
            steps: the results are of the first steps of a run, else of one call.
        """
        off = float((a.float() - b.float()).norm() / b.float().norm().clamp_min(1e-12))
        return not off <= self.rounding * (GREW if steps else 1.0)


def _active(call: ModelCall) -> Any:
    """Return a key of the code that takes part in a call."""
    names = ("patches", "patches_replace", "wrappers", "callbacks", "optimized_attention_override")
    return tuple(_identity(value) for value in (call.inner, *(call.options.get(name) for name in names)))


def _identity(value: Any) -> Any:
    """Return a key of the code in nested containers; functions that are made anew for each call count as one."""
    if isinstance(value, dict):
        return tuple((key, _identity(inner)) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_identity, value))
    code = getattr(getattr(value, "__func__", value), "__code__", None)
    return id(code or value)


def added_code(model: Any) -> Iterable[str]:
    """Yield the origins of code that was added to a MODEL and may read more than one row, without this pack's."""
    options = {name: value for name, value in model.model_options.items() if name != "transformer_options"}
    sources = [options, model.model_options.get("transformer_options", {}), model.wrappers, model.callbacks]
    yield from (origin_of(code) for code in _code(sources) if not is_ours(code))
    yield from (_owner(patch) for name, patch in model.object_patches.items() if name != "model_sampling")
    diffusion_model = model.model.diffusion_model
    if not is_core(type(diffusion_model)):
        yield origin_of(type(diffusion_model))
    yield from ("" for _ in replaced(diffusion_model))
    yield from ("" for module in diffusion_model.modules() if module._forward_hooks or module._forward_pre_hooks)


def _code(value: Any) -> Iterable[Any]:
    """Yield the sources of functions, methods and instances in nested containers: see :func:`_source`."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set):
        for inner in value:
            yield from _code(inner)
    elif callable(value) or hasattr(value, "__dict__"):
        yield _source(value)


def _source(value: Any) -> Any:
    """Return the function or class by which the origin of a value is found."""
    value = getattr(value, "__func__", value)
    value = getattr(value, "func", value)  # functools.partial
    return value if hasattr(value, "__qualname__") else type(value)


def _owner(value: Any) -> str:
    return origin_of(_source(value))
