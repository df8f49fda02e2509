"""Where a training or an evaluation computes."""

import comfy.model_management
from comfy_api.latest import io

DEVICES = ("auto", "cpu", "gpu")


def device_input() -> io.Combo.Input:
    return io.Combo.Input(
        "device",
        options=list(DEVICES),
        advanced=True,
        tooltip="Where to compute. auto: the GPU if ComfyUI uses one; its models are unloaded first.",
    )


def free_device(name: str) -> str:
    """The chosen device, for torch; ComfyUI's models are taken off it first.

    Raises:
        ValueError: ComfyUI uses no GPU.
    """
    device = comfy.model_management.get_torch_device()
    if name == "cpu" or comfy.model_management.is_device_cpu(device):
        if name == "gpu":
            raise ValueError("ComfyUI uses no GPU here. Choose auto or cpu.")
        return "cpu"
    comfy.model_management.unload_all_models()
    comfy.model_management.soft_empty_cache()
    return str(device)
