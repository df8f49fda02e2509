"""Skill of previews, scored by the ground truth, on recorded training prompts of a testbed.

``python -m benchmarks.preview_skill --model {flux,sdxl} --data DATASET --prompts N --out FILE.json``

What Shapes Judge tells Combine Probes (``testbed/scorer.py``) are the means of both models.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from diffusion_probe.dev.testbed_training.train import FAMILIES
from diffusion_probe.engine.core.skill import fit_skill
from diffusion_probe.testbed import sample, scorer
from diffusion_probe.training.dataset.folder import Dataset
from tqdm import tqdm

from benchmarks.lib import report
from benchmarks.lib.candidates import Testbed

MODULE = "benchmarks.preview_skill"
STEPS = (1, 3, 5, 8, 10, 15)


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the result file; return the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=FAMILIES, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the recorded dataset")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    testbed, dataset = Testbed.load(args.model), Dataset(args.data)
    runs = [run for run in dataset.runs if tuple(moment.step for moment in run.moments) == STEPS][: args.prompts]
    scores = []
    with torch.inference_mode():
        for run in tqdm(runs, mininterval=2):
            latents = [f"{number}.denoised" for number in range(len(STEPS))]
            by_moment = dataset.load(run, latents)
            decoded = [torch.cat([testbed.decode(row[None].float()) for row in by_moment[name]]) for name in latents]
            scores.append([scorer.score(images, [run.prompt]).tolist() for images in decoded])
    truth = np.array([run.labels[scorer.GroundTruth.label] for run in runs])
    skill = fit_skill(np.array(scores).swapaxes(0, 1), truth, STEPS, sample.STEPS, f"previews, testbed {args.model}")
    print(skill)
    report.write(args.out, {"skill": asdict(skill), "prompts": len(runs), "model": args.model}, MODULE, seed=0)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
