"""Calls of a model, each shape of which is computed once on a virtual card: what it cost is counted again after that.

What a call costs depends on the shapes of its inputs and on the weights that are loaded, and not on values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import comfy.model_base
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...engine.runs.keys import CAPTURES
from .card import Card
from .tensors import VirtualTensor, layout_of

CHANGING = ("patches", "patches_replace", "optimized_attention_override", CAPTURES)
"""Options of a call by which other code takes part in it: such a call is computed each time."""


OPTIONS = 4
"""Position of ``transformer_options`` among the arguments behind the latent."""


@dataclass(frozen=True)
class Cost:
    """Cost of one call, and the layout of its result."""

    flops: Counter
    kernels: int
    to_card: int
    to_host: int
    waits: Counter
    room: int
    result: Any


_known: WeakKeyDictionary[Any, dict[Any, Cost]] = WeakKeyDictionary()
"""Costs of the calls of each model."""


class Calls:
    """Calls of diffusion models on a card.

    Args:
        card: which.
        replays: whether a call of known shapes is not computed.

    Attributes:
        rows: model rows of each call, in order.
    """

    def __init__(self, card: Card, replays: bool = True):
        self.card, self.replays = card, replays
        self.rows: list[int] = []

    @contextmanager
    def counted(self) -> Iterator[list[int]]:
        """Count calls while the context lasts; yield :attr:`rows`."""
        original = comfy.model_base.BaseModel._apply_model

        def apply_model(model: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            self.rows.append(len(x))
            return self._call(original, model, x, args, kwargs)

        comfy.model_base.BaseModel._apply_model = apply_model
        try:
            yield self.rows
        finally:
            comfy.model_base.BaseModel._apply_model = original

    def _call(self, original: Any, model: Any, x: Tensor, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        key = _key(model, x, args, kwargs) if self.replays else None
        known = _known.setdefault(model, {})
        cost = known.get(key)
        if cost is not None and self.card.live + cost.room <= self.card.total:
            return self._replayed(cost)
        ledger, live = self.card.ledger, self.card.live
        before = ledger.copy()
        ledger.peak = live
        result = original(model, x, *args, **kwargs)
        if key is not None and isinstance(result, VirtualTensor) and result.stored.is_meta:
            known[key] = Cost(
                ledger.flops - before.flops,
                ledger.kernels - before.kernels,
                ledger.to_card - before.to_card,
                ledger.to_host - before.to_host,
                ledger.waits - before.waits,
                ledger.peak - live,
                layout_of(result.stored),
            )
        ledger.peak = max(ledger.peak, before.peak)
        return result

    def _replayed(self, cost: Cost) -> Tensor:
        ledger = self.card.ledger
        ledger.flops += cost.flops
        ledger.kernels += cost.kernels
        ledger.to_card += cost.to_card
        ledger.to_host += cost.to_host
        ledger.waits += cost.waits
        ledger.peak = max(ledger.peak, self.card.live + cost.room)
        return VirtualTensor(cost.result.empty())


def _key(model: Any, x: Tensor, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Return a key of what a call costs, None if other code takes part in it."""
    options = kwargs.get("transformer_options", args[OPTIONS] if len(args) > OPTIONS else {})
    inside = options.get("wrappers", {}).get(WrappersMP.DIFFUSION_MODEL, {})
    if any(options.get(name) for name in CHANGING) or any(inside.values()):
        return None
    return model.model_loaded_weight_memory, _shapes((x, args, kwargs))


def _shapes(value: Any) -> Any:
    """Return the layouts of the tensors in nested arguments."""
    if isinstance(value, Tensor):
        return layout_of(value)
    if isinstance(value, dict):
        return tuple((name, _shapes(inner)) for name, inner in value.items() if name != "transformer_options")
    return tuple(map(_shapes, value)) if isinstance(value, list | tuple) else None
