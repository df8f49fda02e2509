"""How well does each probe pick the good seeds of a prompt, and what is that worth at equal cost?

``python -m benchmarks.probe_accuracy --model {flux,sdxl} --seed S --prompts N --seeds 16 --out FILE.json``

Fresh held-out prompts; every seed is sampled to the end once, probes look on the way, the
ground-truth scorer judges the finished image. Protocol and statistics: ``training/protocol.py``.
Work that is done stays in ``output/probe_accuracy`` and is taken up again by the same command.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusion_probe.probe_models.focus import AttentionFocus
from diffusion_probe.probe_models.preview import PreviewReward
from diffusion_probe.probe_models.probe import Probe
from diffusion_probe.testbed.scorer import GroundTruth
from diffusion_probe.testbed.train import FAMILIES
from diffusion_probe.training import accuracy, protocol
from tqdm import tqdm

from benchmarks import report
from benchmarks.candidates import Testbed, candidate_seeds
from runtime.paths import OUTPUT, PACK_ROOT

MODULE = "benchmarks.probe_accuracy"
STEPS = (1, 3, 5, 8, 10, 15)
TEXT_ONLY_SEEDS = 4
"""Finished images of other seeds, from which text-only knows how well its prompt goes."""

PROBES: dict[str, Callable[[Testbed, str], Probe]] = {
    "focus": lambda testbed, prompt: AttentionFocus(),
    "preview": lambda testbed, prompt: PreviewReward(testbed.decode, GroundTruth(), prompt),
}
"""Every probe that is measured. Names stay: results are read by them."""

CODE = (
    *("probe_models/features.py", "probe_models/focus.py", "probe_models/preview.py", "probe_models/signatures.py"),
    *("sampling/attention.py", "sampling/recording.py", "testbed/sample.py", "testbed/scenes.py"),
    *("testbed/scorer.py", "testbed/segment.py", "benchmarks/candidates.py"),
)
"""Files that decide the numbers: a checkpoint made with others is not taken up again."""


def fingerprint(settings: dict[str, Any]) -> str:
    """Names the checkpoint: another model, another setting or other code gives another name."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in CODE:
        digest.update((PACK_ROOT / name).read_bytes())
    return digest.hexdigest()[:12]


def measure_prompt(testbed: Testbed, number: int, prompt: str, given: argparse.Namespace) -> dict[str, Any]:
    """Truth and scores of all candidates of one prompt, as one JSON line."""
    seeds = candidate_seeds(given.seed, number, given.seeds + TEXT_ONLY_SEEDS)
    found = testbed.candidates(prompt, seeds, given.steps)
    scores: dict[str, dict[int, list[float]]] = {}
    for name, make in PROBES.items():
        if name == "preview" and number >= given.previews_on:
            continue
        with torch.inference_mode():
            probe = make(testbed, prompt)
            scores[name] = {step: probe.score(rows[: given.seeds]).tolist() for step, rows in found.features.items()}
    truth = found.truth.tolist()
    return {
        "number": number,
        "prompt": prompt,
        "truth": truth[: given.seeds],
        "others": truth[given.seeds :],
        "scores": scores,
    }


def measure(testbed: Testbed, given: argparse.Namespace) -> list[dict[str, Any]]:
    """All prompts, continuing from the checkpoint of an interrupted run; in the order of the prompts."""
    prompts = testbed.prompts(given.prompts, given.seed)
    settings = {"model": given.model, "seed": given.seed, "seeds": given.seeds, "steps": given.steps}
    path = OUTPUT / "probe_accuracy" / f"{given.model}-{fingerprint({**settings, **testbed.settings})}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {line["prompt"]: line for line in read_lines(path)}
    if done:
        print(f"{len(done)} prompts were already measured; continuing.")
    with path.open("a") as file:
        for number, prompt in enumerate(tqdm(prompts, desc="prompts", mininterval=2)):
            kept = done.get(prompt)
            if kept and ("preview" in kept["scores"] or number >= given.previews_on):
                continue
            done[prompt] = measure_prompt(testbed, number, prompt, given)
            file.write(json.dumps(done[prompt]) + "\n")
            file.flush()
    return [done[prompt] for prompt in prompts]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSON Lines file; one that a killed run left unfinished is cut off."""
    if not path.exists():
        return []
    found = path.read_bytes()
    whole = found[: found.rfind(b"\n") + 1]
    if whole != found:
        path.write_bytes(whole)
    return [json.loads(line) for line in whole.splitlines()]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=FAMILIES, required=True)
    parser.add_argument("--seed", type=int, required=True, help="of prompts, noise, ties and intervals")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=16, help="candidates per prompt, at least 8")
    parser.add_argument("--steps", type=lambda text: [int(step) for step in text.split(",")], default=list(STEPS))
    parser.add_argument("--previews-on", type=int, help="decode previews for the first so many prompts only")
    parser.add_argument("--weights", type=Path, help="folder of a training run, instead of the shipped weights")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    if given.seeds < protocol.SUBSET or given.prompts < 1:
        parser.error(f"at least 1 prompt and {protocol.SUBSET} seeds are needed")
    given.previews_on = given.prompts if given.previews_on is None else given.previews_on
    return given


def main(arguments: list[str] | None = None) -> int:
    given = parse(arguments)
    testbed = Testbed.load(given.model, given.weights)
    run_steps = testbed.settings["steps"]
    if not all(1 <= step <= run_steps for step in given.steps):
        raise SystemExit(f"--steps {given.steps}: evaluations 1 to {run_steps} are there.")
    started = time.monotonic()
    # As read back from the file, so that a resumed run sees the same.
    lines = json.loads(json.dumps(measure(testbed, given)))
    truth = np.array([line["truth"] for line in lines])
    rows = accuracy.rows_of(lines, given.steps, run_steps, given.seed)
    record = {
        "model": given.model,
        **testbed.settings,
        "prompts": len(lines),
        "seeds": given.seeds,
        "previews_on": min(given.previews_on, len(lines)),
        "text_only_seeds": TEXT_ONLY_SEEDS,
        "truth_mean": truth.mean(),
        "truth_within_std": truth.std(axis=1).mean(),
        "constant_prompts": int((np.ptp(truth, axis=1) == 0).sum()),
        "seconds_since_last_resumed": time.monotonic() - started,
        "rows": rows,
    }
    report.write(given.out, record, MODULE, given.seed)
    print(accuracy.table(report.plain(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
