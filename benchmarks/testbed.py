"""Quality of the testbed's images, and how much and why seeds of one prompt differ.

``python -m benchmarks.testbed --model {flux,sdxl} --seed S --prompts 64 --seeds 8 --out FILE.json``

- ``mean``: mean ground-truth score over held-out prompts and seeds.
- ``within_std``: root of the mean over prompts of the unbiased variance between seeds.
- ``structural_share``: share of that variance from structure (see ``testbed/scorer.py``).
- ``seconds_per_image``: sampling and decoding, in batches of 16, after a warm-up.
- ``true_scene_mean``, ``one_fault_mean``, ``two_fault_mean``: the scorer on rendered images of
  held-out prompts with none, one and two planted faults.
- ``part_means`` and ``fault_rates`` say which mistakes the model makes.
"""

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from diffusion_probe.dev.testbed_training.train import FAMILIES
from diffusion_probe.testbed import render, sample, scorer
from diffusion_probe.testbed.load import load_testbed
from diffusion_probe.testbed.scenes import Scene, sample_scenes
from tqdm import trange

from benchmarks.lib import report

BATCH = 16


def planted_scores(scenes: list[Scene], seed: int, faults: int) -> list[float]:
    """Score rendered scenes, each with that many different faults planted at random."""
    rng = random.Random(f"planted-{seed}-{faults}")
    images = []
    for number, scene in enumerate(scenes):
        picture = render.arrange(scene, f"benchmark-{seed}-{number}")
        kinds = rng.sample([k for k in render.FAULTS if k != "extra"], faults)  # "duplicate" takes the free cell
        for index, kind in enumerate(sorted(kinds, key=lambda kind: kind == "omit")):  # last, or indices would shift
            picture = render.plant_fault(picture, kind, index % len(picture.objects), f"{seed}-{number}")
        images.append(render.draw(picture))
    return scorer.score(torch.from_numpy(np.stack(images)), [scene.prompt for scene in scenes]).tolist()


def measure(
    name: str, seed: int, prompts: int, seeds: int, folder: Path | None = None, cfg: float | None = None
) -> dict:
    """Return the benchmark's figures."""
    model, clip, vae = load_testbed(name, folder)
    cfg = sample.default_cfg(model) if cfg is None else cfg
    scenes = sample_scenes(prompts, 10_000 + seed, "held_out")
    rows = [(scene.prompt, seed * 1_000_000 + p * 1_000 + s) for p, scene in enumerate(scenes) for s in range(seeds)]
    parts: list[scorer.Criteria] = []
    spent = 0.0
    sample.sample_images(model, clip, vae, rows[0][0], [0, 1], steps=2)  # warm-up
    for start in trange(0, len(rows), BATCH, desc="images", mininterval=2):
        texts, numbers = zip(*rows[start : start + BATCH])
        before = time.perf_counter()
        images = sample.sample_images(model, clip, vae, texts, numbers, cfg=cfg)
        spent += time.perf_counter() - before
        parts += scorer.criteria_of(images, list(texts))
    grouped = [parts[p * seeds : (p + 1) * seeds] for p in range(prompts)]
    totals = np.array([[part.total for part in group] for group in grouped])
    triples = sample_scenes(max(prompts, 100), 20_000 + seed, "held_out", object_count=3)
    return {
        "mean": float(totals.mean()),
        "within_std": float(np.sqrt(totals.var(axis=1, ddof=1).mean())),
        "structural_share": scorer.structural_share(grouped),
        "seconds_per_image": spent / len(rows),
        "true_scene_mean": float(np.mean(planted_scores(triples, seed, 0))),
        "one_fault_mean": float(np.mean(planted_scores(triples, seed, 1))),
        "two_fault_mean": float(np.mean(planted_scores(triples, seed, 2))),
        "between_prompt_std": float(totals.mean(axis=1).std(ddof=1)),
        "part_means": {n: float(np.mean([getattr(p, n) for p in parts])) for n in scorer.LOSS},
        "fault_rates": {n: float(np.mean([getattr(p, n) < 1 for p in parts])) for n in (*scorer.STRUCTURE, "shape")},
        "settings": {
            "model": name, "seed": seed, "prompts": prompts, "seeds": seeds, "steps": sample.STEPS, "cfg": cfg,
            "sampler": sample.SAMPLER, "scheduler": sample.SCHEDULER,
        },
    }  # fmt: skip


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.testbed", description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=FAMILIES, default="flux")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--cfg", type=float, help="guidance; the shipped figures use the model's own")
    parser.add_argument("--folder", type=Path, help="trained files to measure instead of the shipped ones")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    figures = measure(args.model, args.seed, args.prompts, args.seeds, args.folder, args.cfg)
    report.write(args.out, figures, "benchmarks.testbed", args.seed)
    print(json.dumps(report.plain(figures), indent=1))


if __name__ == "__main__":
    main()
