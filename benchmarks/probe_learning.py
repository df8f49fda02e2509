"""Learning of probes: more images, and the worth of each of their components.

``python -m benchmarks.probe_learning DATASET --what {images,parts,families} --seed S --out FILE.json``

Trains on a recorded dataset's training prompts and measures within-prompt Spearman on its validation
prompts; no test prompt takes part in it. ``images``: every learned probe on ever more of the recorded
images. ``parts``: the probes as they are, beside each with one thing taken away. ``families``: the attention
CNN on as many blocks as the dataset ``--onto`` has, too, measured on the validation prompts of both; the
other probes read what differs in size between families. Trainings that are in the output file already
aren't done again.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffusion_probe.training.dataset.batches import Batches
from diffusion_probe.training.dataset.folder import Dataset
from diffusion_probe.training.dataset.run_record import RunRecord
from diffusion_probe.training.fitting.fit import Fit, Recipe
from diffusion_probe.training.metrics import protocol
from diffusion_probe.training.metrics.validation import Scored, score_groups, with_enough_rows

from benchmarks.lib import report

MODULE = "benchmarks.probe_learning"
STEPS = {"attention cnn": 500, "activation ranker": 800, "joint": 1000}
NETWORKS = {
    "attention cnn": {"widths": [16, 32, 64], "layers": 1},
    "activation ranker": {"widths": [48, 80], "vector": 96},
    "joint": {},
}
"""Sizes of the probes that come with the testbed FLUX."""

SHARES = (1 / 32, 1 / 10, 1 / 3, 1)


def more_images(dataset: Dataset, runs: list[RunRecord], recipes: Mapping[str, Recipe]) -> dict[str, tuple]:
    """Return by name the recipe and the runs it learns from: ever more of them."""
    chosen = {}
    for share in SHARES:
        subset = runs[: round(share * len(runs))]
        images = sum(len(run.seeds) for run in subset)
        chosen |= {f"{kind}, {images} images": (recipe, subset) for kind, recipe in recipes.items()}
    return chosen


def without_parts(dataset: Dataset, runs: list[RunRecord], recipes: Mapping[str, Recipe]) -> dict[str, tuple]:
    """Return by name the recipe and the runs: each probe whole, and with one thing taken away."""
    blocks = len(dataset.header.blocks)
    cnn, joint = recipes["attention cnn"], recipes["joint"]
    middle = tuple(range(blocks // 4, blocks // 4 + (blocks + 1) // 2))
    ablations = dict(recipes) | {
        "attention cnn, first block": replace(cnn, blocks=(0,)),
        "attention cnn, middle block": replace(cnn, blocks=(blocks // 2,)),
        "attention cnn, last block": replace(cnn, blocks=(blocks - 1,)),
        "attention cnn, middle half of the blocks": replace(cnn, blocks=middle),
        "attention cnn, every other block": replace(cnn, blocks=evenly(len(middle), blocks)),
        "attention cnn, words told by their place alone": replace(
            cnn, network={**cnn.network, "text": 0, "spelling": 0}, others=0
        ),
        "attention cnn, without words": replace(cnn, use_words=False),
        "attention cnn, squared error alone": replace(cnn, listwise=0.0),
        "attention cnn, one head": replace(cnn, labels=cnn.labels[:1]),
        "attention cnn, own prompts only": replace(cnn, others=0),
        "joint, last block": replace(joint, blocks=(blocks - 1,)),
        "joint, without words": replace(joint, use_words=False, others=0),
        "joint, squared error alone": replace(joint, listwise=0.0),
        "joint, one head": replace(joint, labels=joint.labels[:1]),
        "joint, own prompts only": replace(joint, others=0),
    }
    return {name: (recipe, runs) for name, recipe in ablations.items()}


def evenly(count: int, blocks: int) -> tuple[int, ...]:
    """Return the numbers of ``count`` of the blocks, from the first to the last."""
    return tuple(round(number * (blocks - 1) / max(1, count - 1)) for number in range(count))


def across_families(dataset: Dataset, onto: Dataset, recipe: Recipe) -> tuple[Recipe, tuple[int, ...]]:
    """Return the recipe with as many blocks as both datasets have, and the blocks of ``onto`` instead of them."""
    here, there = len(dataset.header.blocks), len(onto.header.blocks)
    network = {**recipe.network, "text": 0}  # text encoders differ; words are distinguished by their spelling
    return replace(recipe, blocks=evenly(min(here, there), here), network=network), evenly(min(here, there), there)


def measure(
    dataset: Dataset,
    runs: list[RunRecord],
    recipe: Recipe,
    checkpoint: Path,
    seed: int,
    onto: tuple[Dataset, tuple[int, ...]] | None = None,
) -> dict[str, Any]:
    """Train, and measure on the validation prompts; with ``onto`` on those of another dataset and its blocks, too."""
    fit = Fit(dataset, runs, recipe, checkpoint)
    fit.run()
    figures = {"images": sum(len(run.seeds) for run in runs), "steps": recipe.steps}
    figures["moments"] = on_validation(fit, dataset, recipe.blocks, seed)
    if onto:
        figures["onto"] = on_validation(fit, *onto, seed)
    return figures


def on_validation(fit: Fit, dataset: Dataset, blocks: tuple[int, ...] | None, seed: int) -> dict[float, dict[str, Any]]:
    """Return, by noise level, Spearman within prompts on a dataset's validation prompts."""
    figures = {}
    for percent, (scores, labels) in validation_scores(fit, dataset, blocks).items():
        rho = protocol.within_spearman(scores, labels, seed)[0]
        figures[percent] = {"within_spearman": rho.value, "ci": rho.interval, "prompts": len(labels)}
    return figures


def validation_scores(fit: Fit, dataset: Dataset, blocks: tuple[int, ...] | None = None) -> Scored:
    """Return the trained network's scores of a dataset's validation prompts."""
    recipe = fit.recipe
    batches = Batches(dataset, dataset.split()[1], fit.batches.needs, recipe.labels, blocks, recipe.use_words)
    batches.groups = with_enough_rows(batches.groups)
    return score_groups(fit.averaged(), batches, fit.device)


def main(arguments: list[str] | None = None) -> int:
    """Train, print and write the result file after each training; return the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder of the dataset")
    parser.add_argument("--what", choices=("images", "parts", "families"), required=True)
    parser.add_argument("--onto", type=Path, metavar="DATASET", help="of another family, for --what families")
    parser.add_argument("--labels", default="truth,structure,appearance", help="names, commas between; the score first")
    parser.add_argument("--steps", type=json.loads, default=STEPS, help=f"by kind, as JSON; default: {STEPS}")
    parser.add_argument(
        "--networks", type=json.loads, default=NETWORKS, help=f"their sizes by kind, as JSON; default: {NETWORKS}"
    )
    parser.add_argument("--seed", type=int, required=True, help="of weights, batches, ties and intervals")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    if (args.what == "families") != bool(args.onto):
        parser.error("--what families and --onto DATASET belong together")
    dataset = Dataset(args.dataset)
    labels = tuple(args.labels.split(","))
    recipes = {
        kind: Recipe(kind, labels, steps=steps, seed=args.seed, network=args.networks.get(kind, {}))
        for kind, steps in args.steps.items()
    }
    runs, onto = dataset.split()[0], None
    if args.onto:
        other = Dataset(args.onto)
        recipe, blocks = across_families(dataset, other, recipes["attention cnn"])
        trainings, onto = {"attention cnn": (recipe, runs)}, (other, blocks)
    else:
        trainings = {"images": more_images, "parts": without_parts}[args.what](dataset, runs, recipes)
    rows = json.loads(args.out.read_text())["trainings"] if args.out.is_file() else {}
    settings = {
        "family": dataset.header.family,
        **({"onto": onto[0].header.family} if onto else {}),
        "what": args.what,
        "labels": labels,
        "networks": args.networks,
        "validation": "one prompt of ten",
    }
    for name, (recipe, subset) in trainings.items():
        if name in rows:
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = measure(dataset, subset, recipe, Path(folder) / "checkpoint.safetensors", args.seed, onto)
        for where in ("moments", "onto") if onto else ("moments",):
            shown = ", ".join(f"{level}: {rho['within_spearman']:.3f}" for level, rho in rows[name][where].items())
            print(f"{name}{', onto the other' if where == 'onto' else ''}: {shown}")
        report.write(args.out, {"trainings": rows, "settings": settings}, MODULE, args.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
