"""Training of a testbed model: autoencoder, then text encoder and diffusion model together, then export."""

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
from ...training.fitting.stage import Plan, Stage, generator_for
from .autoencoder import train_autoencoder
from .autograd import differentiable
from .text_training import TextEncoder

FAMILIES: dict[str, ModuleType] = {"flux": flux, "sdxl": sdxl}
"""Modules that define model and loss, by family."""

FILES = ("diffusion_model", "text_encoder", "vae")
"""Names of a model's files, without their ending."""

EMPTY_PROMPT_RATE = 0.1
"""Share of training prompts that are replaced by the empty one, from which the negative side of CFG is learnt."""

UNKNOWN_WORD_RATE = 0.005
"""Share of words in training prompts that are replaced by the unknown word."""

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
    """Encode one correct image per training prompt as latents for the diffusion model, [count, C, 16, 16] fp16.

    They are kept in ``out``, as rendering and encoding take minutes.
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
    """Train text encoder and diffusion model together, or go on training them."""
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
    plan = Plan(steps, module.PEAK_RATE, module.MATRIX_RATE, module.RESTART, AVERAGE)
    return encoder, model, Stage(out / "diffusion.safetensors", both, loss_of, plan, settings).run()


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
    """Draw the loss curve of each stage, smoothed over 50 steps."""
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
    """Run every stage, or go on with it, and return the folder with the exported files."""
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
    """Run ``python -m dev.testbed_training`` with some arguments, those of the command line by default."""
    parser = argparse.ArgumentParser(
        prog="python -m dev.testbed_training",
        description="Trains the models of the testbed. python -m dev.testbed_training train --help lists the options.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train_parser = commands.add_parser(
        "train",
        help="train a testbed model, or go on training it",
        description="Trains a testbed model: an autoencoder, then text encoder and diffusion model together. A stopped "
        "training goes on from its last checkpoint when the same command is run again. The three files of the "
        "model and a picture of the losses are written into the output folder.",
    )
    add = train_parser.add_argument
    add("--model", choices=FAMILIES, default="flux", help="family of the model (default: %(default)s)")
    add("--out", type=Path, required=True, help="folder for the trained files, with checkpoints in a folder inside")
    add("--seed", type=int, default=0, help="seed of weights, scenes and batches (default: %(default)s)")
    add("--vae-steps", type=int, default=1000, help="training steps of the autoencoder (default: %(default)s)")
    add("--steps", type=int, help=f"training steps of text encoder and diffusion model (default: {_default_steps()})")
    add("--scenes", type=int, default=8000, help="training scenes to render and encode (default: %(default)s)")
    add("--device", default="cpu", help="cpu, cuda … (default: %(default)s)")
    add("--threads", type=int, help="threads of torch; another number gives slightly other weights (default: torch's)")
    add("--install", action="store_true", help="copy the trained files to testbed/models/MODEL, where they are shipped")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    out = train(
        options.model,
        options.out,
        options.seed,
        options.vae_steps,
        options.steps,
        options.scenes,
        options.device,
    )
    if options.install:
        (MODELS / options.model).mkdir(parents=True, exist_ok=True)
        for name in (*(f"{file}.safetensors" for file in FILES), "loss.png"):
            shutil.copy(out / name, MODELS / options.model / name)


def _default_steps() -> str:
    return ", ".join(f"{module.STEPS} for {name}" for name, module in FAMILIES.items())
