"""What makes learned probes better: more images, and which of their parts?

``python -m benchmarks.probe_learning DATASET --what {images,parts,families} --seed S --out FILE.json``

Trains on a recorded dataset's training prompts and measures within-prompt Spearman on its validation
prompts; no test prompt has a part in it. ``images``: every learned probe on ever more of the recorded
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
    """By name the recipe and the runs it learns from: ever more of them."""
    chosen = {}
    for share in SHARES:
        some = runs[: round(share * len(runs))]
        images = sum(len(run.seeds) for run in some)
        chosen |= {f"{kind}, {images} images": (recipe, some) for kind, recipe in recipes.items()}
    return chosen


def without_parts(dataset: Dataset, runs: list[RunRecord], recipes: Mapping[str, Recipe]) -> dict[str, tuple]:
    """By name the recipe and the runs: each probe whole, and with one thing taken away."""
    blocks = len(dataset.header.blocks)
    cnn, joint = recipes["attention cnn"], recipes["joint"]
    middle = tuple(range(blocks // 4, blocks // 4 + (blocks + 1) // 2))
    found = dict(recipes) | {
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
    return {name: (recipe, runs) for name, recipe in found.items()}


def evenly(count: int, blocks: int) -> tuple[int, ...]:
    """Numbers of ``count`` of the blocks, from the first to the last."""
    return tuple(round(place * (blocks - 1) / max(1, count - 1)) for place in range(count))


def across_families(dataset: Dataset, onto: Dataset, recipe: Recipe) -> tuple[Recipe, tuple[int, ...]]:
    """The recipe with as many blocks as both datasets have, and which of ``onto`` stand in their place."""
    here, there = len(dataset.header.blocks), len(onto.header.blocks)
    network = {**recipe.network, "text": 0}  # text encoders differ; words are told from each other by their spelling
    return replace(recipe, blocks=evenly(min(here, there), here), network=network), evenly(min(here, there), there)


def measure(
    dataset: Dataset,
    runs: list[RunRecord],
    recipe: Recipe,
    checkpoint: Path,
    seed: int,
    onto: tuple[Dataset, tuple[int, ...]] | None = None,
) -> dict[str, Any]:
    """Train, and measure on the validation prompts; ``onto``: on those of another dataset and its blocks, too."""
    fit = Fit(dataset, runs, recipe, checkpoint)
    fit.run()
    found = {"images": sum(len(run.seeds) for run in runs), "steps": recipe.steps}
    found["moments"] = on_validation(fit, dataset, recipe.blocks, seed)
    if onto:
        found["onto"] = on_validation(fit, *onto, seed)
    return found


def on_validation(fit: Fit, dataset: Dataset, blocks: tuple[int, ...] | None, seed: int) -> dict[float, dict[str, Any]]:
    """By noise level, within-prompt Spearman on a dataset's validation prompts."""
    found = {}
    for percent, (scores, labels) in validation_scores(fit, dataset, blocks).items():
        rho = protocol.within_spearman(scores, labels, seed)[0]
        found[percent] = {"within_spearman": rho.value, "ci": rho.interval, "prompts": len(labels)}
    return found


def validation_scores(fit: Fit, dataset: Dataset, blocks: tuple[int, ...] | None = None) -> Scored:
    """What the trained network says of a dataset's validation prompts."""
    recipe = fit.recipe
    batches = Batches(dataset, dataset.split()[1], fit.batches.needs, recipe.labels, blocks, recipe.use_words)
    batches.groups = with_enough_rows(batches.groups)
    return score_groups(fit.averaged(), batches, fit.device)


def main(arguments: list[str] | None = None) -> int:
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
    given = parser.parse_args(arguments)
    if (given.what == "families") != bool(given.onto):
        parser.error("--what families and --onto DATASET belong together")
    dataset = Dataset(given.dataset)
    labels = tuple(given.labels.split(","))
    recipes = {
        kind: Recipe(kind, labels, steps=steps, seed=given.seed, network=given.networks.get(kind, {}))
        for kind, steps in given.steps.items()
    }
    runs, onto = dataset.split()[0], None
    if given.onto:
        other = Dataset(given.onto)
        recipe, blocks = across_families(dataset, other, recipes["attention cnn"])
        trainings, onto = {"attention cnn": (recipe, runs)}, (other, blocks)
    else:
        trainings = {"images": more_images, "parts": without_parts}[given.what](dataset, runs, recipes)
    rows = json.loads(given.out.read_text())["trainings"] if given.out.is_file() else {}
    settings = {
        "family": dataset.header.family,
        **({"onto": onto[0].header.family} if onto else {}),
        "what": given.what,
        "labels": labels,
        "networks": given.networks,
        "validation": "one prompt of ten",
    }
    for name, (recipe, some) in trainings.items():
        if name in rows:
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = measure(dataset, some, recipe, Path(folder) / "checkpoint.safetensors", given.seed, onto)
        for where in ("moments", "onto") if onto else ("moments",):
            shown = ", ".join(f"{level}: {rho['within_spearman']:.3f}" for level, rho in rows[name][where].items())
            print(f"{name}{', onto the other' if where == 'onto' else ''}: {shown}")
        report.write(given.out, {"trainings": rows, "settings": settings}, MODULE, given.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
