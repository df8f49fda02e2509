"""Models of real dimensions with random weights, and the memory that they take."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_management
import torch
from diffusion_probe.dev.random_models import FLUX_DEV, SDXL_BASE, random_conditioning, random_flux, random_sdxl

MIB = 2**20


def on_gpu() -> bool:
    """Return whether ComfyUI runs models on a CUDA device, where time and memory are measured otherwise."""
    return comfy.model_management.get_torch_device().type == "cuda"


def need_gpu() -> None:
    """Refuse to go on without a GPU.

    Raises:
        SystemExit: there is no GPU.
    """
    if not on_gpu():
        raise SystemExit("--real-size needs a GPU with CUDA (FLUX.1-dev alone has 24 GB of weights); none was found.")


def seconds_spent() -> float:
    """Return the time of the processor, or of the wall clock where a GPU computes."""
    if not on_gpu():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


FEW_BLOCKS = {"depth": 2, "depth_single_blocks": 3}
"""Blocks of FLUX.1-dev's 19 and 38 that a machine without a GPU has time and memory for."""


def _flux(seed: int) -> Any:
    """Build FLUX.1-dev, without a GPU with a few of its blocks."""
    shape = FLUX_DEV if on_gpu() else FLUX_DEV | FEW_BLOCKS
    return random_flux(seed, torch.bfloat16, guidance_embed=True, **shape)


@dataclass(frozen=True)
class RealSize:
    """A real model's dimensions, and how it is commonly sampled at 1024²."""

    about: str
    build: Callable[[int], Any]
    latent: tuple[int, int, int]
    text: dict[str, int]
    cfg: float
    options: dict[str, float]

    def conditioning(self, seed: int) -> tuple[list, list]:
        """Build random positive and negative CONDITIONING."""
        positive, negative = (random_conditioning(number, **self.text) for number in (seed, seed + 1))
        positive[0][1].update(self.options)
        return positive, negative


REAL_SIZES = {
    "flux": RealSize(
        about="FLUX.1-dev, random weights, bf16" + ("" if on_gpu() else ", 2 of 19 double and 3 of 38 single blocks"),
        build=_flux,
        latent=(16, 128, 128),
        text={"tokens": 512, "context": 4096, "pooled": 768},
        cfg=1.0,
        options={"guidance": 3.5},
    ),
    "sdxl": RealSize(
        about="SDXL base 1.0, random weights, bf16",
        build=lambda seed: random_sdxl(seed, torch.bfloat16, **SDXL_BASE),
        latent=(4, 128, 128),
        text={"tokens": 77, "context": 2048, "pooled": 1280},
        cfg=7.0 if on_gpu() else 1.0,
        options={},
    ),
}


class Peak:
    """Highest memory in use since :meth:`reset`: of the GPU if there is one, else of the process.

    For the process it is the resident high-water mark that Linux keeps (VmHWM), which counts
    everything: tensors, buffers of the kernels, Python.
    """

    def reset(self) -> None:
        """Start to measure anew."""
        gc.collect()
        if on_gpu():
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")

    def megabytes(self) -> float:
        """Return the highest memory since the reset, in MiB."""
        if on_gpu():
            return torch.cuda.max_memory_allocated() / MIB
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
