"""Loading of the shipped testbed models, by ComfyUI's stock functions where these know the model's size."""

from pathlib import Path

import comfy.model_patcher
import comfy.sd
import comfy.utils
import torch
from safetensors import safe_open

from . import sdxl
from .text import build_clip

MODELS = Path(__file__).parent / "models"
"""Folder of the shipped models."""

PROBES = Path(__file__).parent / "probes"
"""Folder of the shipped probes, with a folder per model."""

DATASETS = Path(__file__).parent / "datasets"
"""Folder of the shipped recordings, with a folder per model."""


def load_clip(path: Path) -> comfy.sd.CLIP:
    """Load a ``comfy.sd.CLIP`` from a shipped text encoder file."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    return build_clip(tensors, metadata)


def load_testbed(
    name: str = "flux", folder: Path | None = None
) -> tuple[comfy.model_patcher.ModelPatcher, comfy.sd.CLIP, comfy.sd.VAE]:
    """Load MODEL, CLIP and VAE of a testbed model.

    Args:
        name: of the model, a folder of ``testbed/models``.
        folder: to read the three files from instead, such as the output folder of a training.

    Raises:
        FileNotFoundError: there is no such model; the message lists those that are.
    """
    where = Path(folder) if folder else MODELS / name
    path = where / "diffusion_model.safetensors"
    if not path.is_file():
        shipped = sorted(file.parent.name for file in MODELS.glob("*/diffusion_model.safetensors"))
        raise FileNotFoundError(
            f"No testbed model at {where}. Shipped: {', '.join(shipped) or 'none'}. "
            f"Train one: python -m dev.testbed_training train --model {name} --out DIR --install"
        )
    tensors, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    if sdxl.CONFIG_KEY in (metadata or {}):
        model = sdxl.load_model(tensors, metadata)
    else:
        model = comfy.sd.load_diffusion_model(str(path))
    weights, metadata = comfy.utils.load_torch_file(str(where / "vae.safetensors"), return_metadata=True)
    vae = comfy.sd.VAE(sd=weights, metadata=metadata)
    vae.first_stage_model.to(memory_format=torch.channels_last)  # on a CPU it decodes in two thirds of the time
    return model, load_clip(where / "text_encoder.safetensors"), vae
