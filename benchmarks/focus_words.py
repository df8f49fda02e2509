"""Skill of Attention Focus with and without the words of the prompt.

``python -m benchmarks.focus_words --model {flux,sdxl} --seed S --prompts 80 --seeds 16 --out FILE.json``

On training prompts only: the answer decides how the probe is built, so held-out prompts must not
take part in it. Both ways see the same captured maps.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from diffusion_probe.dev.testbed_training.train import FAMILIES
from diffusion_probe.engine.capture.prompt.encode import encode_words
from diffusion_probe.probe_models.focus import AttentionFocus
from diffusion_probe.training.metrics import protocol
from tqdm import tqdm

from benchmarks.lib import report
from benchmarks.lib.candidates import Testbed, candidate_seeds

MODULE = "benchmarks.focus_words"
STEPS = (5, 8, 10)


def measure(testbed: Testbed, args: argparse.Namespace) -> tuple[np.ndarray, dict[str, dict[int, np.ndarray]]]:
    """Return the truth ``[prompts, seeds]``, and scores of the same shape with and without words by step."""
    probe, truth = AttentionFocus(), []
    scores = {name: {step: [] for step in STEPS} for name in ("with", "without")}
    for number, prompt in enumerate(tqdm(testbed.prompts(args.prompts, args.seed, "train"), mininterval=2)):
        sampled = testbed.candidates(prompt, candidate_seeds(args.seed, number, args.seeds), STEPS)
        truth.append(sampled.truth.tolist())
        _, words = encode_words(testbed.clip, prompt)
        for step, rows in sampled.features.items():
            scores["without"][step].append(probe.score(rows).tolist())
            scores["with"][step].append(probe.score([replace(row, words=words) for row in rows]).tolist())
    arrays = {name: {step: np.array(values) for step, values in by.items()} for name, by in scores.items()}
    return np.array(truth), arrays


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the result file; return the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=FAMILIES, required=True)
    parser.add_argument("--seed", type=int, required=True, help="of prompts, noise, ties and intervals")
    parser.add_argument("--prompts", type=int, default=80)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    testbed = Testbed.load(args.model)
    truth, scores = measure(testbed, args)
    figures = {}
    for step in STEPS:
        compared = protocol.compare(scores["with"][step], scores["without"][step], truth, args.seed)
        estimates = {name: protocol.within_spearman(by[step], truth, args.seed)[0] for name, by in scores.items()}
        estimates["difference"] = compared["within_spearman"]
        figures[step] = {name: [estimate.value, *estimate.interval] for name, estimate in estimates.items()}
        shown = (f"{name} {value:.3f} [{low:.3f}, {high:.3f}]" for name, (value, low, high) in figures[step].items())
        print(f"evaluation {step}: within-prompt Spearman", ", ".join(shown))
    settings = {"model": args.model, "prompts": args.prompts, "split": "train", "seeds": args.seeds}
    record = {"within_spearman": figures, "settings": {**settings, **testbed.settings}}
    report.write(args.out, record, MODULE, args.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
