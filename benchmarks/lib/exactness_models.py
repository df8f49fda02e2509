"""Small models that core nodes are tried on, and other inputs of nodes: a second model, files, pictures."""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import comfy.utils
import folder_paths
import node_helpers
import torch
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_model
from torch import Tensor

import nodes as comfy_nodes

FLUX, SDXL = "FLUX", "SDXL"
MODELS = (FLUX, SDXL)
HEIGHT, WIDTH = 16, 8
"""Sides of the latents: large enough for tiles of different heights and for windows."""

LORA_FILE = "exactness.safetensors"
HYPERNETWORK_FILE = "exactness.pt"


SHAPES = {
    FLUX: {"hidden_size": 128, "depth": 1, "depth_single_blocks": 1, "guidance_embed": True},
    SDXL: {
        "model_channels": 32, "num_head_channels": 16, "transformer_depth": [1, 1],
        "transformer_depth_output": [1, 1, 1, 1],
    },
}  # fmt: skip
"""Dimensions: FLUX takes a guidance value as FLUX.1-dev does; SDXL has attention at every depth and in the middle."""


def small_model(name: str, seed: int, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """Build a MODEL with random weights, which computes in ``dtype``, and attention that is far from flat.

    Args:
        name: one of :data:`MODELS`, or of ``SMALL_MODELS`` of the testbed's random models.
        seed: of the weights.
        dtype: of the weights and of what is computed.
        changes: of :data:`SHAPES`.
    """
    shape = {**SHAPES.get(name, {}), **changes}
    if name == FLUX:
        model = random_flux(seed, dtype, scale=1.5, **shape)
    else:
        model = random_model(name, seed, dtype, scale=1.5, **shape)
    if dtype != torch.float32:
        model.set_model_compute_dtype(dtype)  # on a CPU FLUX would compute in float32
    return model


@dataclass(frozen=True)
class Job:
    """Inputs of a KSampler beside the MODEL.

    Attributes:
        latent: a LATENT of one row.
    """

    positive: list
    negative: list
    latent: dict[str, Any]
    steps: int = 6
    cfg: float = 3.0
    sampler: str = "euler"
    scheduler: str = "normal"

    def changed(self, **changes: Any) -> "Job":
        """Return the same job with other settings."""
        return dataclasses.replace(self, **changes)

    def of_rows(self, rows: int) -> dict[str, Any]:
        """Return the latent as a batch of so many rows."""
        samples = self.latent["samples"]
        return {**self.latent, "samples": samples.repeat(rows, *[1] * (samples.ndim - 1))}

    def sample(self, model: Any, seed: int, rows: int = 1) -> Tensor:
        """Sample with the stock KSampler node: ``[rows, channels, height, width]``."""
        settings = (self.steps, self.cfg, self.sampler, self.scheduler, self.positive, self.negative)
        return comfy_nodes.KSampler().sample(model, seed, *settings, self.of_rows(rows))[0]["samples"]


def small_job(model: Any, seed: int) -> Job:
    """Build a prompt, a negative prompt and an empty latent for a MODEL."""
    latent_format = model.get_model_object("latent_format")
    frames = [1] if latent_format.latent_dimensions == 3 else []
    latent = {"samples": torch.zeros(1, latent_format.latent_channels, *frames, HEIGHT, WIDTH)}
    positive, negative = random_conditioning(seed + 1), random_conditioning(seed + 2)
    return Job(node_helpers.conditioning_set_values(positive, {"guidance": 2.5}), negative, latent)


@dataclass
class NodeInputs:
    """The small model of one kind, and inputs for the nodes that are tried on it.

    Attributes:
        name: of the model's kind.
        seed: of all random weights and noise.
        job: see :class:`Job`.
        plain_images: what was sampled without any node, each after what it was sampled with.
    """

    name: str
    seed: int
    job: Job = field(init=False)
    plain_images: list[tuple[Any, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._models: dict[str, Any] = {}
        self._patches: dict[Callable[[int], Any], Any] = {}
        self.job = small_job(self.model(), self.seed)

    def model(self, **changes: Any) -> Any:
        """Return the MODEL, the same for the same changes of :func:`small_model`."""
        key = repr(sorted(changes.items()))
        if key not in self._models:
            self._models[key] = small_model(self.name, self.seed, **changes)
        return self._models[key]

    def forget_models(self) -> None:
        """Forget the models, so that they are built anew when they are next needed."""
        self._models.clear()

    def marks(self, **changes: Any) -> set[str]:
        """Return what a run may leave on the shared model: another class, a ``forward`` put over a module's own."""
        base = self.model(**changes).model
        marks = {f"diffusion_model is a {type(base.diffusion_model).__name__}"}
        if base.current_patcher is not None:
            marks.add("current_patcher")
        for name, module in base.named_modules():
            marks |= {f"{name}.{key}" for key in vars(module) if key.startswith("forward")}
        return marks

    @cached_property
    def second_model(self) -> Any:
        """Another MODEL of the same kind, with smaller weights, so that sums of both amplify no rounding."""
        model = small_model(self.name, self.seed + 100)
        for weight in model.model_state_dict("diffusion_model.").values():
            weight.mul_(0.5)
        return model

    def model_patch(self, build: Callable[[int], Any]) -> Any:
        """Return a MODEL_PATCH that a function of the seed builds; loaded once, as by a loader node."""
        if build not in self._patches:
            self._patches[build] = build(self.seed + 4)
        return self._patches[build]

    @property
    def picture(self) -> Tensor:
        """An IMAGE of the size of the latent, ``[1, height, width, 3]`` in 0 … 1."""
        height, width = self.job.latent["samples"].shape[-2:]
        return self.random(1, 8 * height, 8 * width, 3).sigmoid()

    def random(self, *shape: int) -> Tensor:
        """Draw normal random numbers, always the same."""
        return torch.randn(shape, generator=torch.Generator().manual_seed(self.seed + 3))

    def conditioning(self, number: int) -> list:
        """Build another CONDITIONING."""
        return random_conditioning(self.seed + number)

    def image_latent(self, **more: Any) -> dict[str, Any]:
        """Build a LATENT that is not empty, as an encoded picture is not."""
        return {"samples": self.random(*self.job.latent["samples"].shape), **more}

    def lora(self) -> dict[str, Tensor]:
        """Build a LoRA of a few layers, as its file holds it."""
        weights = self.model().model_state_dict()
        keys = [key for key, weight in weights.items() if weight.ndim == 2 and key.startswith("diffusion_model.")]
        chosen = [key for key in keys if "attn" in key or "_blocks" in key][:12]
        lora = {}
        for key in chosen:
            out, into = weights[key].shape
            name = key.removesuffix(".weight")
            lora[f"{name}.lora_up.weight"] = 0.3 * self.random(out, 4)
            lora[f"{name}.lora_down.weight"] = 0.3 * self.random(4, into)
        return lora

    def hypernetwork(self) -> dict[int, list[dict[str, Tensor]]]:
        """Build a hypernetwork for every width of keys and values, as its file holds it."""

        def linear(width: int) -> dict[str, Tensor]:
            return {"linear.weight": 0.3 * width**-0.5 * self.random(width, width), "linear.bias": torch.zeros(width)}

        return {width: [linear(width), linear(width)] for width in (32, 64, 128)}


@contextmanager
def files_of(inputs: NodeInputs) -> Iterator[None]:
    """Provide the files that loaders find by name, and no others, while the context lasts."""
    kinds = ("loras", "hypernetworks")
    before = {kind: folder_paths.folder_names_and_paths[kind] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            path = Path(folder, kind)
            path.mkdir()
            folder_paths.folder_names_and_paths[kind] = ([str(path)], before[kind][1])
        comfy.utils.save_torch_file(inputs.lora(), str(Path(folder, "loras", LORA_FILE)))
        torch.save(inputs.hypernetwork(), Path(folder, "hypernetworks", HYPERNETWORK_FILE))  # the only format there is
        try:
            yield
        finally:
            folder_paths.folder_names_and_paths.update(before)
            folder_paths.filename_list_cache.clear()
