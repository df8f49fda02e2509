"""Models of running samplers, loaded again after something else needed the memory."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management

WORTH_MOVING = 0.02
"""Share of a model's weights that has to fit into free memory before more of them are loaded."""


@contextmanager
def loaded_again(guiders: Iterable[Any], memory: float = 0) -> Iterator[None]:
    """Run a block that may unload the models of running guiders (a VAE decode, a reward model), and load them again.

    Args:
        guiders, memory: see :func:`load_for`.
    """
    try:
        yield
    finally:
        load_for(guiders, memory)


def load_for(guiders: Iterable[Any], memory: float) -> None:
    """Load the models of running guiders so that memory stays free for their calls; nothing is moved without need.

    A LoRA is in the weights only while its model is loaded. The guiders' ControlNets are loaded again, too. What else
    is on the card stays there if the memory is there.

    Args:
        guiders: of the runs that continue.
        memory: bytes that stay free.
    """
    models = list(dict.fromkeys(m for guider in guiders for m in (guider.model_patcher, *guider.loaded_models)))
    if models and not all(_stays_loaded(model, memory) for model in models):
        comfy.model_management.load_models_gpu(models, memory_required=memory, minimum_memory_required=memory)


def memory_of_card(model: Any) -> float:
    """Return the bytes that a model and its calls may take on its device: what is free, or held by loaded models."""
    device = model.load_device
    loaded = [
        one for one in comfy.model_management.current_loaded_models if one.device == device and one.model is not None
    ]
    held = sum(one.model_loaded_memory() for one in loaded) if device.type != "cpu" else 0
    reserved = comfy.model_management.extra_reserved_memory()
    return comfy.model_management.get_free_memory(device) + held - reserved


@contextmanager
def loading_once() -> Iterator[None]:
    """Let ComfyUI leave models as they are where it would load them for a run, if the least memory is free beside them.

    It would unload a part of a loaded model to have the memory of two runs, and load it again, for each run that
    starts.
    """
    original = comfy.model_management.load_models_gpu

    def load(models: Any, memory_required: float = 0, *args: Any, **kwargs: Any) -> None:
        least = kwargs.get("minimum_memory_required")
        if args or least is None or kwargs.get("force_full_load"):
            original(models, memory_required, *args, **kwargs)
        elif not all(_stays_loaded(model, least) for model in models):
            original(models, least, **kwargs)

    comfy.model_management.load_models_gpu = load
    try:
        yield
    finally:
        comfy.model_management.load_models_gpu = original


def _stays_loaded(model: Any, memory: float) -> bool:
    """Tell whether a model is on the card, and both the memory is free and no weights wait for more that is free."""
    loaded = next((one for one in comfy.model_management.current_loaded_models if one.model is model), None)
    if loaded is None or model.is_dynamic():
        return False
    missing = loaded.model_memory() - loaded.model_loaded_memory()
    spare = model.get_free_memory(model.load_device) - memory - comfy.model_management.extra_reserved_memory()
    return spare >= 0 and (missing <= 0 or spare < WORTH_MOVING * loaded.model_memory())
