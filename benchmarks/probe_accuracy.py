"""Accuracy with which each probe chooses the good seeds of a prompt, and its worth at equal cost.

``python -m benchmarks.probe_accuracy --model {flux,sdxl} --seed S --prompts N --seeds 16 --out FILE.json``

Fresh held-out prompts; every seed is sampled to the end once, probes look on the way, and the truth is
that of the finished image. Protocol and statistics: ``training/metrics/protocol.py``. ``cost``: what
scoring the seeds of a prompt takes, as a share of sampling them to 20 % of a run.
Work that is done stays in ``output/probe_accuracy`` and is taken up again by the same command; for a
trained probe that is new or has changed, the runs are sampled again as far as it looks.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusion_probe.dev.testbed_training.train import FAMILIES
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.core.probe import CaptureAll, Probe
from diffusion_probe.probe_models.combining import combine_probes
from diffusion_probe.probe_models.focus import AttentionFocus
from diffusion_probe.probe_models.preview import PreviewReward
from diffusion_probe.probe_models.probe_file import load_probe
from diffusion_probe.testbed.load import PROBES
from diffusion_probe.testbed.sample import STEPS as STEPS_OF_A_RUN
from diffusion_probe.testbed.scorer import GroundTruth
from diffusion_probe.training.metrics import accuracy, protocol
from tqdm import tqdm

from benchmarks import scoring_cost
from benchmarks.lib import report
from benchmarks.lib.candidates import Testbed, candidate_seeds
from training.client.paths import OUTPUT, PACK_ROOT

MODULE = "benchmarks.probe_accuracy"
STEPS = (1, 3, 5, 8, 10, 15)
TEXT_ONLY_SEEDS = 4
"""Number of finished images of other seeds by which text-only scores a prompt."""

Make = Callable[[Testbed, str], Probe]


class FocusWithoutWords(AttentionFocus):
    """Attention Focus on a conditioning that doesn't know its words."""

    def score(self, rows: Sequence[Features]) -> torch.Tensor:
        """Score rows as if no words of the prompt were known."""
        return super().score([replace(row, words=()) for row in rows])


UNTRAINED: dict[str, Make] = {
    "focus": lambda testbed, prompt: AttentionFocus(),
    "focus without words": lambda testbed, prompt: FocusWithoutWords(),
    "preview": lambda testbed, prompt: PreviewReward(testbed.decode, GroundTruth(), prompt),
}
"""Probes that are measured besides the trained ones. Names stay: results are read by them."""

CODE = (
    *("engine/core/features.py", "probe_models/focus.py", "probe_models/preview.py", "probe_models/signatures.py"),
    *("engine/capture/hooks/attention.py", "engine/capture/hooks/activation.py", "engine/capture/recording.py"),
    *("engine/capture/prompt/encode.py", "benchmarks/lib/candidates.py"),
    *("testbed/sample.py", "testbed/scenes.py", "testbed/scorer.py", "testbed/segment.py"),
)
"""Files that decide the numbers: a checkpoint made with others is not taken up again."""


def fingerprint(settings: dict[str, Any]) -> str:
    """Return the name of the checkpoint: another model, another setting or other code gives another name."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in CODE:
        digest.update((PACK_ROOT / name).read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Entry:
    """A probe that is measured: how it is made for a prompt, and what names its present state."""

    make: Make
    state: str = ""


def entries(paths: Sequence[Path]) -> dict[str, Entry]:
    """Return every probe by name: those without training, and the files."""
    trained = {}
    for path in paths:
        probe, state = load_probe(path), hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        trained[path.stem] = Entry(lambda testbed, prompt, probe=probe: probe, state)
    return {name: Entry(make) for name, make in UNTRAINED.items()} | trained


def shared_projection(paths: Sequence[Path]) -> torch.Tensor | None:
    """Return the one projection of activations that all probe files have.

    Raises:
        SystemExit: they differ; such files can't be measured in one run.
    """
    projections = [projection for path in paths if (projection := load_probe(path).projection) is not None]
    if any(not torch.equal(projection, projections[0]) for projection in projections):
        raise SystemExit("The probe files project activations differently. Measure them one by one.")
    return projections[0] if projections else None


def measure_prompt(
    testbed: Testbed, number: int, prompt: str, known: dict[str, Any] | None, args: argparse.Namespace
) -> dict[str, Any] | None:
    """Return truth and scores of all candidates of one prompt; None if ``known`` has all of them."""
    wanted = entries(args.probe)
    if number >= args.previews_on:
        wanted.pop("preview")
    scores, states = (dict(known[part]) if known else {} for part in ("scores", "states"))
    missing = {name: entry for name, entry in wanted.items() if states.get(name) != entry.state}
    if not missing:
        return None
    seeds, capture = candidate_seeds(args.seed, number, args.seeds + TEXT_ONLY_SEEDS), CaptureAll(args.projection)
    if known is None:
        sampled = testbed.candidates(prompt, seeds, args.steps, capture, **args.options)
        truth, features = sampled.truth.tolist(), sampled.features
        known = {"number": number, "prompt": prompt, "truth": truth[: args.seeds], "others": truth[args.seeds :]}
    else:
        features = testbed.features(prompt, seeds[: args.seeds], args.steps, capture, **args.options)
    with torch.inference_mode():
        for name, entry in missing.items():
            probe = entry.make(testbed, prompt)
            scores[name] = {str(step): probe.score(rows[: args.seeds]).tolist() for step, rows in features.items()}
            states[name] = entry.state
        if "preview" in scores:
            scores |= combined_scores(testbed, prompt, scores, features, args)
    return {**known, "scores": scores, "states": states}


def combined_scores(
    testbed: Testbed, prompt: str, scores: dict[str, Any], features: dict[int, Any], args: argparse.Namespace
) -> dict[str, Any]:
    """Combine the scores of joint probes with those of previews."""
    combinations, preview = {}, UNTRAINED["preview"](testbed, prompt)
    for probe in map(load_probe, args.probe):
        if probe.card.kind != "joint":
            continue
        combined = combine_probes(probe, preview)
        combinations[combined.name] = {
            str(step): combined.together(
                rows[: args.seeds], *(torch.tensor(scores[name][str(step)]) for name in (probe.name, "preview"))
            ).tolist()
            for step, rows in features.items()
        }
    return combinations


def measure(testbed: Testbed, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all prompts, from the checkpoint of an interrupted run on; return them in the order of the prompts."""
    prompts = testbed.prompts(args.prompts, args.seed)
    settings = {"model": args.model, "seed": args.seed, "seeds": args.seeds, "looks": args.steps}
    settings |= {f"run_{name}": value for name, value in args.options.items()}
    path = OUTPUT / "probe_accuracy" / f"{args.model}-{fingerprint({**settings, **testbed.settings})}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {line["prompt"]: line for line in read_lines(path)}
    if done:
        print(f"{len(done)} prompts were already measured; continuing.")
    with path.open("a") as file:
        for number, prompt in enumerate(tqdm(prompts, desc="prompts", mininterval=2)):
            line = measure_prompt(testbed, number, prompt, done.get(prompt), args)
            if line is not None:
                done[prompt] = line
                file.write(json.dumps(line) + "\n")
                file.flush()
    return [done[prompt] for prompt in prompts]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the whole lines of a JSON Lines file; one that a killed run left unfinished is cut off."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    return [json.loads(line) for line in whole.splitlines()]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=FAMILIES, required=True)
    parser.add_argument("--seed", type=int, required=True, help="of prompts, noise, ties and intervals")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=16, help="candidates per prompt, at least 8")
    parser.add_argument("--steps", type=lambda text: [int(step) for step in text.split(",")], default=list(STEPS))
    parser.add_argument("--run-steps", type=int, default=STEPS_OF_A_RUN, help="evaluations of a whole run")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of the images, in pixels")
    parser.add_argument("--probe", type=Path, action="append", help="a trained probe; default: those that ship")
    parser.add_argument("--previews-on", type=int, help="decode previews for the first so many prompts only")
    parser.add_argument("--weights", type=Path, help="folder of a training run, instead of the shipped weights")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    if args.seeds < protocol.SUBSET or args.prompts < 1:
        parser.error(f"at least 1 prompt and {protocol.SUBSET} seeds are needed")
    args.probe = sorted((PROBES / args.model).glob("*.safetensors")) if args.probe is None else args.probe
    args.options = {} if args.run_steps == STEPS_OF_A_RUN else {"steps": args.run_steps}
    args.options |= {"size": tuple(args.size)} if args.size else {}
    args.projection = shared_projection(args.probe)
    args.previews_on = args.prompts if args.previews_on is None else args.previews_on
    return args


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the result file; return the exit status."""
    args = parse(arguments)
    testbed = Testbed.load(args.model, args.weights)
    run_steps = args.run_steps
    if not all(1 <= step <= run_steps for step in args.steps):
        raise SystemExit(f"--steps {args.steps}: evaluations 1 to {run_steps} are there.")
    started = time.monotonic()
    # As read back from the file, so that a resumed run sees the same.
    lines = json.loads(json.dumps(measure(testbed, args)))
    truth = np.array([line["truth"] for line in lines])
    rows = accuracy.rows_of(lines, args.steps, run_steps, args.seed)
    made = {name: entry.make for name, entry in entries(args.probe).items()}
    record = {
        "model": args.model,
        **{**testbed.settings, **args.options, "steps": run_steps},
        "prompts": len(lines),
        "seeds": args.seeds,
        "previews_on": min(args.previews_on, len(lines)),
        "trained": {path.stem: load_probe(path).card.held_out for path in args.probe},
        "text_only_seeds": TEXT_ONLY_SEEDS,
        "truth_mean": truth.mean(),
        "truth_within_std": truth.std(axis=1).mean(),
        "constant_prompts": int((np.ptp(truth, axis=1) == 0).sum()),
        "seconds_since_last_resumed": time.monotonic() - started,
        "cost": scoring_cost.measure(testbed, args.seed, args.seeds, made, args.projection),
        "rows": rows,
    }
    report.write(args.out, record, MODULE, args.seed)
    print(accuracy.table(report.plain(rows)))
    for name, cost in record["cost"]["probes"].items():
        print(f"{name}: {cost['ms_per_row']:.1f} ms a row, {cost['share_of_partial_run']:.1%} of a run to 20 %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
