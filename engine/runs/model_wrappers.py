"""Wrappers around a model call: this pack's in front of those of every other pack.

ComfyUI calls ``model_options["model_function_wrapper"]`` around everything else of a model call: other packs' caches
swap parts of the model there, torch.compile's node inside of it. What skips a call, or leaves a run in the middle of
one, has to come before all of them, or it would leave the model as they had it in between.
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
"""The order of this pack's wrappers: what the cache predicts never reaches the hub."""


@dataclass
class ModelCall:
    """One call of the model, with what is behind the wrapper that sees it.

    Attributes:
        apply_model: ``BaseModel.apply_model``, as ComfyUI hands it to a ``model_function_wrapper``.
        x: latents, ``[rows, channels, ...]``.
        timestep: sigma of each row, ``[rows]``.
        arguments: everything else that the model is given, by name, among them ``transformer_options``.
        inner: the ``model_function_wrapper`` behind, None where the model itself comes next.
        hooks: those whose weights were put into the model for this call.
    """

    apply_model: Callable[..., Tensor]
    x: Tensor
    timestep: Tensor
    arguments: dict[str, Any]
    inner: Callable[..., Tensor] | None = None
    hooks: Any = None

    @cached_property
    def sigma(self) -> float:
        """Sigma of the first row. Read once: each time would wait for the GPU."""
        return float(self.timestep[0])

    @property
    def options(self) -> dict[str, Any]:
        """The call's ``transformer_options``."""
        return self.arguments.get("transformer_options") or {}

    def execute(self) -> Tensor:
        """Call what is behind; x0 of each row, ``[rows, channels, ...]``."""
        if self.inner is None:
            return self.apply_model(self.x, self.timestep, **self.arguments)
        given = {"input": self.x, "timestep": self.timestep, "c": self.arguments}
        return self.inner(self.apply_model, {**given, "cond_or_uncond": self.options["cond_or_uncond"]})


@dataclass
class InFront:
    """A ``model_function_wrapper`` of this pack.

    Attributes:
        rank: its place among this pack's wrappers, the smallest in front.
        call: gets the :class:`ModelCall`, and returns what the model would.
        inner: the wrapper behind it.
    """

    rank: int
    call: Callable[[ModelCall], Tensor]
    inner: Callable[..., Tensor] | None = None

    def __call__(self, apply_model: Callable[..., Tensor], given: dict[str, Any]) -> Tensor:
        return self.call(ModelCall(apply_model, given["input"], given["timestep"], given["c"], self.inner))


@contextmanager
def in_front(model_options: dict[str, Any], rank: int, call: Callable[[ModelCall], Tensor]) -> Iterator[None]:
    """See every model call of one evaluation first, but for this pack's wrappers of a smaller rank.

    Args:
        model_options: those of the run; changed for the time of the evaluation.
        rank: see :class:`InFront`.
        call: likewise.
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
