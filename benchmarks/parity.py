"""Parity of the reward models with the original packages, on random weights, images and prompts of all kinds.

``python -m benchmarks.parity --rewards ImageReward --seed S --out FILE.json``

The originals run in a process of their own, with their own versions of packages in front of those of this environment
(a folder in ``.cache``). ImageReward is compared in its full size, against the ``image-reward`` package; the CLIP
rewards in their real widths with two layers per tower, against transformers, open_clip and the code of SPO's authors,
the latter at another timestep for each prompt.

- ``rows[].relative_difference``: the largest difference of any score, as a share of the largest score.
- ``rows[].spread``: standard deviation of the original's scores; with none there would be nothing to compare.
- ``rows[].batch_difference``: the same for one batch of all prompts against one image at a time.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusion_probe.dev.steps import SetupError, step
from PIL import Image

from benchmarks.lib import parity_reference, report
from benchmarks.lib.parity_packages import ORIGINALS, PACKAGES, run_original
from benchmarks.lib.parity_reference import PROMPTS, TIMESTEPS
from benchmarks.lib.vocabulary import write_vocabulary
from training.client.paths import CACHE, comfyui_path

SIZES = ((512, 512), (301, 448), (640, 224), (97, 150))
"""Widths and heights of the images: square; an odd remainder to crop; nothing to resize; too small."""
LIMIT = 1e-6


def main() -> None:
    """Compare the reward models and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=__doc__.splitlines()[0])
    parser.add_argument("--rewards", nargs="+", choices=list(ORIGINALS), default=["ImageReward"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/parity_imagereward.json"))
    arguments = parser.parse_args()
    import folder_paths

    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="parity-", dir=CACHE) as folder:
        folder_paths.add_model_folder_path("reward_models", f"{folder}/reward_models", is_default=True)
        try:
            rows = [compare(name, Path(folder), arguments.seed) for name in arguments.rewards]
        except SetupError as error:
            raise SystemExit(str(error)) from None
    report.write(arguments.out, {"limit": LIMIT, "rows": rows}, "benchmarks.parity", arguments.seed)
    if any(row["relative_difference"] > LIMIT or row["batch_difference"] > LIMIT for row in rows):
        raise SystemExit(f"The scores differ by more than {LIMIT:g}.")


def compare(name: str, folder: Path, seed: int) -> dict:
    """Compare one reward model with its original."""
    from diffusion_probe.engine.rewards.catalog import REWARDS, load

    files = REWARDS[name].files
    weights = folder / "reward_models" / files[0].folder
    weights.mkdir(parents=True)
    draw_images(weights, seed)
    write_vocabulary(weights / "vocab.txt")
    shutil.copytree(comfyui_path() / "comfy" / "sd1_tokenizer", weights / "tokenizer")
    with step(f"{name} by the original"):
        run_original(name, parity_reference.__file__, str(weights), str(seed))
        original = np.array(json.loads((weights / "scores.json").read_text()))
    for file in files[1:]:  # a file that two reward models share has a folder of its own
        if file.path() is None:
            weights.with_name(file.folder).mkdir(exist_ok=True)
            shutil.move(weights / file.names[0], weights.with_name(file.folder))
    with step(f"{name} by this pack"):
        reward = load(name)
        images = [torch.from_numpy(np.array(Image.open(path)))[None] / 255 for path in sorted(weights.glob("*.png"))]
        own = np.array([[scores(reward, image, [number]).item() for number in range(len(PROMPTS))] for image in images])
        batches = np.array([scores(reward, image, range(len(PROMPTS))).numpy() for image in images])
    largest = np.abs(original).max()
    return {
        "reward": name,
        "packages": list(PACKAGES[ORIGINALS[name]]),
        "parameters": sum(parameter.numel() for parameter in reward.patcher.model.parameters()),
        "images": len(images),
        "prompts": len(PROMPTS),
        "spread": float(original.std()),
        "relative_difference": float(np.abs(own - original).max() / largest),
        "batch_difference": float(np.abs(batches - own).max() / largest),
        "original": original.tolist(),
        "own": own.tolist(),
    }


def scores(reward: Any, image: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
    """Return a reward's scores of an image by the prompts of these numbers, at the timestep of each if it reads one."""
    images, prompts = image.expand(len(numbers), -1, -1, -1), [PROMPTS[number] for number in numbers]
    if not reward.preview_families:
        return reward.score(images, prompts)
    at = [reward.at("SDXL", 1 - TIMESTEPS[number] / max(TIMESTEPS)) for number in numbers]
    return torch.cat([each.score(image, [prompt]) for each, prompt in zip(at, prompts, strict=True)])


def draw_images(folder: Path, seed: int) -> None:
    """Draw coarse random colours under fine noise, as PNG."""
    generator = np.random.default_rng(seed)
    for number, (width, height) in enumerate(SIZES):
        coarse = Image.fromarray(generator.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
        noisy = smooth + generator.normal(0, 12, smooth.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"image{number}.png")


if __name__ == "__main__":
    main()
