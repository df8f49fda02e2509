"""Train a testbed model: autoencoder, then text encoder and diffusion model together, then export.

``python -m dev.testbed_training train --model {flux,sdxl} --out DIR --seed S`` runs or resumes all stages; the three
fp16 files and the loss curves end up in DIR, and in ``testbed/models/NAME`` with ``--install``.
"""

import argparse
import shutil
import time
from pathlib import Path
from types import ModuleType

import comfy.taesd.taesd
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import trange

from ...testbed import flux, sdxl
from ...testbed.load import MODELS
from ...testbed.render import render
from ...testbed.scenes import sample_scenes
from ...training.fitting.precision import bfloat16_is_fast
from ...training.fitting.stage import Stage, generator_for
from .autoencoder import train_autoencoder
from .autograd import differentiable
from .text_training import TextEncoder

FAMILIES: dict[str, ModuleType] = {"flux": flux, "sdxl": sdxl}
"""The modules that define a family's model and loss."""
FILES = ("diffusion_model", "text_encoder", "vae")
EMPTY_PROMPT_RATE = 0.1  # what CFG's negative side learns from
UNKNOWN_WORD_RATE = 0.005
AVERAGE = 0.995
ENCODE_BATCH = 32


def family(name: str) -> ModuleType:
    """Find the module that defines a family's model and loss.

    Raises:
        ValueError: no such family.
    """
    if name not in FAMILIES:
        raise ValueError(f"No testbed model {name!r}; there are: {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def training_latents(
    out: Path, vae: comfy.taesd.taesd.TAESD, latent_format: object, count: int, seed: int, device: torch.device
) -> tuple[torch.Tensor, list[str]]:
    """Latents [count, C, 16, 16] fp16 as the model sees them, of one true image per training prompt.

    Kept in ``out``; rendering and encoding take minutes.
    """
    scenes = sample_scenes(count, seed, split="train")
    prompts = [scene.prompt for scene in scenes]
    path = out / f"latents_{count}_{seed}.safetensors"
    if path.is_file():
        return load_file(path)["latents"], prompts
    rows = []
    for start in trange(0, count, ENCODE_BATCH, desc="latents", mininterval=2):
        chosen = enumerate(scenes[start : start + ENCODE_BATCH], start)
        images = np.stack([render(scene, f"{seed}-{number}") for number, scene in chosen])
        batch = torch.from_numpy(images).movedim(-1, 1).to(device, memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_fast(device)):
            raw = vae.encode(batch * 2 - 1)
        rows.append(latent_format.process_in(raw.float()).half().cpu())
    latents = torch.cat(rows).contiguous()
    save_file({"latents": latents}, path)
    return latents, prompts


def train_diffusion(
    out: Path,
    module: ModuleType,
    latents: torch.Tensor,
    prompts: list[str],
    steps: int,
    seed: int,
    device: torch.device,
) -> tuple[TextEncoder, torch.nn.Module, list[float]]:
    """Train (or finish training) text encoder and diffusion model together."""
    torch.manual_seed(seed)
    encoder, model = TextEncoder(module.TEXT).to(device), module.new_model().to(device)
    rows = encoder.rows(prompts)
    empty = encoder.rows([""])

    def loss_of(step: int) -> torch.Tensor:
        generator = generator_for(seed + 2, step)
        picked = torch.randint(0, len(latents), (module.BATCH,), generator=generator)
        chosen = rows[picked].clone()
        words = torch.rand(chosen.shape, generator=generator) < UNKNOWN_WORD_RATE
        inside = (torch.arange(chosen.shape[1]) > 0) & (chosen != empty[0, 1])  # neither start nor end tokens
        chosen[words & inside] = encoder.unknown_row
        chosen[torch.rand(module.BATCH, generator=generator) < EMPTY_PROMPT_RATE] = empty[0]
        with differentiable(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_fast(device)):
            context, pooled = encoder(chosen.to(device))
            return module.diffusion_loss(model, latents[picked].float().to(device), context, pooled, generator)

    both = torch.nn.ModuleDict({"text": encoder, "diffusion": model})
    settings = {"stage": module.__name__.split(".")[-1], "seed": seed, "batch": module.BATCH, "latents": len(latents)}
    path = out / "diffusion.safetensors"
    rates = module.PEAK_RATE, settings, AVERAGE, module.MATRIX_RATE, module.RESTART
    return encoder, model, Stage(path, both, loss_of, steps, *rates).run()


def export(
    out: Path, encoder: TextEncoder, model: torch.nn.Module, vae: torch.nn.Module, metadata: dict[str, str] | None
) -> None:
    """Write the three fp16 safetensors files that ``load_testbed`` reads."""
    contents = ((model.state_dict(), metadata), encoder.export(), (vae.state_dict(), None))
    for name, (state, about) in zip(FILES, contents):
        halved = {k: v.detach().cpu().contiguous() for k, v in state.items()}
        halved = {k: v.half() if v.is_floating_point() else v for k, v in halved.items()}
        save_file(halved, out / f"{name}.safetensors", about)


def plot_losses(path: Path, curves: dict[str, list[float]]) -> None:
    """Loss curves, one panel per stage, each smoothed over 50 steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from scipy.ndimage import uniform_filter1d

    figure, panels = pyplot.subplots(1, len(curves), figsize=(5 * len(curves), 3.2), squeeze=False)
    for panel, (name, losses) in zip(panels[0], curves.items()):
        panel.plot(losses, alpha=0.25, linewidth=0.7)
        panel.plot(uniform_filter1d(losses, min(50, len(losses))))
        panel.set(title=name, xlabel="step", ylabel="loss", yscale="log")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def train(
    model: str = "flux",
    out: Path = Path("output/testbed"),
    seed: int = 0,
    vae_steps: int = 1000,
    steps: int | None = None,
    scenes: int = 8000,
    device: str = "cpu",
) -> Path:
    """Run every stage (resuming what is there) and return the folder with the exported files."""
    module, where = family(model), torch.device(device)
    work = Path(out) / "checkpoints"
    work.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    vae, vae_losses = train_autoencoder(work, vae_steps, seed, where, module.LATENT_FORMAT)
    latents, prompts = training_latents(work, vae, module.LATENT_FORMAT, scenes, seed, where)
    encoder, diffusion, losses = train_diffusion(work, module, latents, prompts, steps or module.STEPS, seed, where)
    export(Path(out), encoder, diffusion, vae, module.METADATA)
    plot_losses(Path(out) / "loss.png", {"autoencoder": vae_losses, f"text encoder + {model}": losses})
    print(f"Trained in {(time.monotonic() - started) / 60:.1f} min (this run). Files in {out}.")
    return Path(out)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.testbed_training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    options = commands.add_parser("train", help="train a testbed model from scratch, or resume")
    options.add_argument("--model", choices=FAMILIES, default="flux")
    options.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the trained files")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--vae-steps", type=int, default=1000, help="training steps of the autoencoder")
    options.add_argument("--steps", type=int, help="training steps of text encoder and diffusion model")
    options.add_argument("--scenes", type=int, default=8000, help="training scenes to render and encode")
    options.add_argument("--device", default="cpu", help="cpu, cuda …")
    options.add_argument("--threads", type=int, default=None, help="torch threads (sums differ between numbers)")
    options.add_argument("--install", action="store_true", help="copy the trained files to testbed/models/NAME")
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    out = train(given.model, given.out, given.seed, given.vae_steps, given.steps, given.scenes, given.device)
    if given.install:
        (MODELS / given.model).mkdir(parents=True, exist_ok=True)
        for name in (*(f"{file}.safetensors" for file in FILES), "loss.png"):
            shutil.copy(out / name, MODELS / given.model / name)
