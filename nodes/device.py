"""The device that a training or an evaluation computes on."""

import comfy.model_management


def free_device(name: str) -> str:
    """Return the torch device for a choice, after unloading ComfyUI's models from it.

    Raises:
        ValueError: the choice is "gpu", and ComfyUI uses none.
    """
    device = comfy.model_management.get_torch_device()
    if name == "cpu" or comfy.model_management.is_device_cpu(device):
        if name == "gpu":
            raise ValueError("ComfyUI uses no GPU here. Choose auto or cpu.")
        return "cpu"
    comfy.model_management.unload_all_models()
    comfy.model_management.soft_empty_cache()
    return str(device)
