"""Wrappers of a model call: this pack's in front of those of every other pack.

ComfyUI calls ``model_options["model_function_wrapper"]`` around everything else of a model call: other packs' caches
replace modules of the model there, torch.compile's node inside of it. A wrapper that skips a call, or pauses a run in
the middle of one, has to come before all of them, or the model would stay as they changed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

WRAPPER = "model_function_wrapper"

CACHE, HUB = range(2)
"""Ranks of this pack's wrappers: a call that the cache predicts never reaches the hub."""


@dataclass
class ModelCall:
    """Model call, with the wrappers that are behind this pack's.

    Attributes:
        apply_model: ``BaseModel.apply_model``, as ComfyUI hands it to a ``model_function_wrapper``.
        x: latents, ``[rows, channels, ...]``.
        timestep: sigma of each row, ``[rows]``.
        arguments: all other arguments of the model by name, among them ``transformer_options``.
        inner: the next ``model_function_wrapper``, None where the model itself comes next.
        hooks: the hooks whose weights are in the model for this call.
    """

    apply_model: Callable[..., Tensor]
    x: Tensor
    timestep: Tensor
    arguments: dict[str, Any]
    inner: Callable[..., Tensor] | None = None
    hooks: Any = None

    @cached_property
    def sigma(self) -> float:
        """Sigma of the first row. Read once, because reading waits for the GPU."""
        return float(self.timestep[0])

    @property
    def options(self) -> dict[str, Any]:
        """``transformer_options`` of the call."""
        return self.arguments.get("transformer_options") or {}

    def execute(self) -> Tensor:
        """Call the next wrapper or the model, and return x0 of each row, ``[rows, channels, ...]``."""
        if self.inner is None:
            return self.apply_model(self.x, self.timestep, **self.arguments)
        arguments = {"input": self.x, "timestep": self.timestep, "c": self.arguments}
        return self.inner(self.apply_model, {**arguments, "cond_or_uncond": self.options["cond_or_uncond"]})


@dataclass
class InFront:
    """``model_function_wrapper`` of this pack.

    Attributes:
        rank: order among this pack's wrappers, the smallest in front.
        call: called with the :class:`ModelCall`; returns x0 in place of the model.
        inner: the next wrapper.
    """

    rank: int
    call: Callable[[ModelCall], Tensor]
    inner: Callable[..., Tensor] | None = None

    def __call__(self, apply_model: Callable[..., Tensor], args: dict[str, Any]) -> Tensor:
        return self.call(ModelCall(apply_model, args["input"], args["timestep"], args["c"], self.inner))


@contextmanager
def in_front(model_options: dict[str, Any], rank: int, call: Callable[[ModelCall], Tensor]) -> Iterator[None]:
    """Put a function in front of every model call of one evaluation, but for this pack's wrappers of a smaller rank.

    Args:
        model_options: those of the run; changed for the time of the evaluation.
        rank: see :class:`InFront`.
        call: see :class:`InFront`.
    """
    ahead = None
    behind = model_options.get(WRAPPER)
    while isinstance(behind, InFront) and behind.rank < rank:
        ahead, behind = behind, behind.inner
    _put(model_options, ahead, InFront(rank, call, behind))
    try:
        yield
    finally:
        _put(model_options, ahead, behind)


def _put(model_options: dict[str, Any], ahead: InFront | None, wrapper: Callable | None) -> None:
    if ahead is not None:
        ahead.inner = wrapper
    elif wrapper is not None:
        model_options[WRAPPER] = wrapper
    else:
        model_options.pop(WRAPPER, None)
