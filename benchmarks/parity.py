"""Parity of the reward models with the original packages, on random weights, images and prompts of all kinds.

``python -m benchmarks.parity --rewards ImageReward --seed S --out FILE.json``

The originals run in a process of their own, with their own versions of packages in front of those of this environment
(a folder in ``.cache``, deleted afterwards). ImageReward is compared in its full size, against the
``image-reward`` package; the CLIP rewards in their real widths with two layers per tower, against transformers and
open_clip.

- ``rows[].relative_difference``: the largest difference of any score, as a share of the largest score.
- ``rows[].spread``: standard deviation of the original's scores; with none there would be nothing to compare.
- ``rows[].batch_difference``: the same for one batch of all prompts against one image at a time.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from diffusion_probe.dev.steps import SetupError, run, step
from PIL import Image

from benchmarks.lib import parity_reference, report
from benchmarks.lib.parity_reference import PROMPTS
from training.client.paths import CACHE, comfyui_path

PACKAGES = {
    "image-reward": (
        "image-reward==1.5",
        "transformers==4.55.4",
        "tokenizers==0.21.4",
        "huggingface-hub==0.36.2",
        "timm==0.6.13",
        "fairscale==0.4.13",
    ),
    "open_clip": ("open-clip-torch==3.3.0", "timm==1.0.31", "ftfy==6.3.1", "wcwidth==0.2.14"),
}
ORIGINALS = {
    "ImageReward": "image-reward",
    "PickScore": "image-reward",  # for its transformers
    "CLIPScore": "open_clip",
    "LAION aesthetic": "open_clip",
    "HPSv2.1": "open_clip",
}
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
    packages = installed(folder, ORIGINALS[name])
    with step(f"{name} by the original"):
        original = reference(name, weights, packages, seed)
    for file in files[1:]:  # a file that two reward models share has a folder of its own
        if file.path() is None:
            weights.with_name(file.folder).mkdir(exist_ok=True)
            shutil.move(weights / file.names[0], weights.with_name(file.folder))
    with step(f"{name} by this pack"):
        reward = load(name)
        images = [torch.from_numpy(np.array(Image.open(path)))[None] / 255 for path in sorted(weights.glob("*.png"))]
        own = np.array([[reward.score(image, [prompt]).item() for prompt in PROMPTS] for image in images])
        batches = np.array(
            [reward.score(image.expand(len(PROMPTS), -1, -1, -1), list(PROMPTS)).numpy() for image in images]
        )
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


def installed(folder: Path, name: str) -> Path:
    """Install the original's packages, without those that it shares with this environment; return their folder."""
    where = folder / name
    if not where.exists():
        with step(f"Installing {', '.join(PACKAGES[name])} into .cache"):
            run(
                [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
                 "--no-deps", "--target", str(where), *PACKAGES[name]],
                "Installing the original packages failed",
                "Check the connection to the package registry.",
            )  # fmt: skip
    return where


def reference(name: str, weights: Path, packages: Path, seed: int) -> np.ndarray:
    """Return the original's scores, ``[images, prompts]``."""
    environment = os.environ | {"PYTHONPATH": str(packages), "HF_HUB_OFFLINE": "1"}
    run(
        [sys.executable, parity_reference.__file__, name, str(weights), str(seed)],
        f"The original of {name} failed",
        "That is an error of the benchmark.",
        env=environment,
    )
    return np.array(json.loads((weights / "scores.json").read_text()))


def draw_images(folder: Path, seed: int) -> None:
    """Draw coarse random colours under fine noise, as PNG."""
    generator = np.random.default_rng(seed)
    for number, (width, height) in enumerate(SIZES):
        coarse = Image.fromarray(generator.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=float)
        noisy = smooth + generator.normal(0, 12, smooth.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"image{number}.png")


def write_vocabulary(path: Path) -> None:
    """Write a vocabulary as long as BERT's, with its special words where they are; then letters, pieces and words.

    BERT's own is not part of this pack. Which words it holds makes no difference to how text is cut into them.
    """
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    letters = sorted({letter for prompt in PROMPTS for letter in prompt.lower() if not letter.isspace()})
    letters = list(dict.fromkeys([*letters, *"abcdefghijklmnopqrstuvwxyz0123456789"]))
    words = dict.fromkeys(word for prompt in PROMPTS[::3] for word in prompt.split())
    pieces = [f"##{piece}" for piece in (*letters, "ing", "ro", "ed", "left")]
    known = list(dict.fromkeys([*letters, *pieces, *words, "astro", "detail", "paint"]))
    lines = [special.get(number, f"[unused{number}]") for number in range(104)] + known
    lines += [f"filler{number}" for number in range(30522 - len(lines))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
