"""Models of running samplers, loaded again after something else needed the memory."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management


@contextmanager
def loaded_again(guiders: Iterable[Any], memory: tuple[float, float | None] = (0, None)) -> Iterator[None]:
    """Run a block that may unload the models of running guiders (a VAE decode, a reward model), and load them again.

    A LoRA is in the weights only while its model is loaded. The guiders' ControlNets are loaded again, too.

    Args:
        guiders: of the runs that continue.
        memory: bytes that stay free for the calls that follow: as many as wanted, and the least.
    """
    try:
        yield
    finally:
        models = (model for guider in guiders for model in (guider.model_patcher, *guider.loaded_models))
        wanted, least = memory
        comfy.model_management.load_models_gpu(
            list(dict.fromkeys(models)), memory_required=wanted, minimum_memory_required=least
        )
