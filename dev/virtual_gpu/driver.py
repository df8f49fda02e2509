"""Answers of a virtual card to what torch and ComfyUI want to know from its driver."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from .card import Card
from .tensors import DEVICE

COMFY_ARGUMENTS = (
    "--use-pytorch-cross-attention", "--disable-async-offload", "--disable-pinned-memory", "--disable-cuda-malloc",
)  # fmt: skip
"""ComfyUI's arguments on a virtual card: streams and pinned memory are not modelled."""


@contextmanager
def plugged_in(card: Card) -> Iterator[None]:
    """Let torch see a card. ComfyUI looks once, when it is imported: import it inside, in a process of its own."""
    torch._C._ensureCUDADeviceGuardSet()
    real_tensor = torch.tensor
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)

    def tensor(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        if device is not None and torch.device(device).type == "cuda":
            return real_tensor(data, *args, **kwargs).to(DEVICE)
        return real_tensor(data, *args, device=device, **kwargs)

    with ExitStack() as stack:
        for name, answer in _answers(card).items():
            stack.enter_context(patch.object(torch.cuda, name, answer))
        stack.enter_context(patch.object(torch.version, "cuda", "13.0"))
        stack.enter_context(patch.object(torch, "tensor", tensor))
        try:
            yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(before)


def _answers(card: Card) -> dict[str, Any]:
    properties = SimpleNamespace(
        name=card.name, major=8, minor=9, total_memory=card.total, multi_processor_count=128, gcnArchName=""
    )
    return {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "set_device": lambda device: None,
        "device": _Device,
        "get_device_name": lambda device=None: card.name,
        "get_device_properties": lambda device=None: properties,
        "get_device_capability": lambda device=None: (8, 9),
        "is_bf16_supported": lambda *args, **kwargs: True,
        "mem_get_info": lambda device=None: (card.free, card.total),
        "memory_stats": lambda device=None: defaultdict(
            int, {"active_bytes.all.current": card.live, "reserved_bytes.all.current": card.live}
        ),
        "max_memory_allocated": lambda *args: card.ledger.peak,
        "reset_peak_memory_stats": lambda *args: None,
        "get_allocator_backend": lambda: "native",
        "synchronize": lambda *args: card.wait("synchronize"),
        "empty_cache": lambda: None,
        "ipc_collect": lambda: None,
        "get_rng_state": lambda device=None: torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": lambda state, device=None: None,
    }


class _Device:
    def __init__(self, device: Any):
        self.device = device

    def __enter__(self) -> _Device:
        return self

    def __exit__(self, *error: Any) -> None:
        return None
