"""The command line of recording and training."""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from ..probe_models.probe_file import KINDS, load_probe
from .client import record as recording_client
from .fitting.recipe import Recipe

SUFFIX = ".safetensors"


def main(arguments: list[str] | None = None) -> None:
    """``python -m training …``."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Record, train and evaluate probes.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    recording_client.add_arguments(
        commands.add_parser("record", help="record a workflow with Record Probe Data on a running ComfyUI")
    )
    record = commands.add_parser("record-testbed", help="record a testbed model, in this process")
    record.add_argument("--model", choices=("flux", "sdxl"), required=True)
    record.add_argument("--out", type=Path, required=True, help="folder of the dataset; what is there already stays")
    record.add_argument("--prompts", type=int, default=2000)
    record.add_argument("--seeds", type=int, default=8, help="per prompt")
    record.add_argument("--seed", type=int, default=1, help="of prompts and noise")
    record.add_argument("--full-precision", action="store_true", help="compute in float32, as ComfyUI does on a CPU")
    record.add_argument(
        "--size", type=_side, nargs=2, default=(128, 128), metavar=("HEIGHT", "WIDTH"), help="of the images, in pixels"
    )
    record.add_argument(
        "--part", type=_part, default=(0, 1), help="i/n: every n-th prompt from the i-th on, for n processes at once"
    )
    record.set_defaults(run=_record_testbed)
    train = commands.add_parser(
        "train",
        help="train a probe on a recorded dataset",
        description="Trains a probe on a dataset and writes its file, and a report beside it as PNG. Nine tenths of "
        "the prompts train, one tenth decides when to stop. A training that was stopped keeps the best network so far, "
        "and the same command goes on with it.",
    )
    train.add_argument("dataset", type=Path, metavar="DATASET", help="folder of the dataset")
    train.add_argument(
        "--out",
        type=_probe_file,
        required=True,
        metavar="FILE",
        help="the probe's file, .safetensors; replaced if it is there",
    )
    train.add_argument("--kind", choices=KINDS, default="joint", help="which network (default: joint)")
    train.add_argument(
        "--labels", default="", help="names, commas between; the score first; default: what was recorded"
    )
    train.add_argument("--steps", type=int, default=Recipe.steps, help="at most; it stops when nothing gets better")
    train.add_argument("--seed", type=int, default=0, help="of weights and batches")
    train.add_argument("--prompts", type=int, default=Recipe.prompts, help="in a batch")
    train.add_argument("--rows", type=int, default=Recipe.rows, help="of each prompt in a batch")
    train.add_argument("--rate", type=float, default=Recipe.rate, help="peak learning rate of AdamW")
    train.add_argument("--matrix-rate", type=float, default=Recipe.matrix_rate, help="of Muon, for matrices; 0: AdamW")
    train.add_argument("--listwise", type=float, default=1.0, help="weight of the ranking loss; 0: squared error alone")
    train.add_argument("--low-first", type=float, default=0.0, help="how much more often low-scored prompts are drawn")
    train.add_argument("--network", type=_sizes, default={}, help='sizes, as JSON: {"width": 128, "layers": 4}')
    train.add_argument("--device", default="cpu", help="cpu, cuda …")
    train.set_defaults(run=_train)
    evaluate = commands.add_parser(
        "evaluate",
        help="measure a probe on recorded prompts that it was not trained on",
        description="Measures a probe on a dataset of its model, on the prompts that it was not trained on: "
        "within-prompt Spearman and oracle share with 95 %% intervals over prompts, SRCC, KTC, PCC and AUC at every "
        "recorded moment, beside random, text-only, best-of-n at equal cost and the oracle. Writes the table as JSON "
        "and the report as PNG, and prints the table.",
    )
    evaluate.add_argument("probe", type=Path, metavar="PROBE", help="the probe's file, .safetensors")
    evaluate.add_argument("dataset", type=Path, metavar="DATASET", help="folder of the dataset")
    evaluate.add_argument(
        "--out", type=_table, required=True, metavar="FILE", help="FILE.json; FILE.png goes beside it"
    )
    evaluate.add_argument("--seed", type=int, default=0, help="of random scores, ties and intervals")
    evaluate.add_argument("--device", default="cpu", help="cpu, cuda …")
    evaluate.set_defaults(run=_evaluate)
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except (ValueError, OSError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(f"{parser.prog}: interrupted. What was written is kept: the same command goes on.") from None


def _probe_file(text: str) -> Path:
    if not text.endswith(SUFFIX):
        raise argparse.ArgumentTypeError(f"a probe's file ends with {SUFFIX}: {text}{SUFFIX}")
    return Path(text)


def _table(text: str) -> Path:
    return Path(text if text.endswith(".json") else f"{text}.json")


def _side(text: str) -> int:
    if not text.isdigit() or int(text) % 16 or text == "0":
        raise argparse.ArgumentTypeError(f"{text}: a side is a multiple of 16 pixels, 128 or 160")
    return int(text)


def _part(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise argparse.ArgumentTypeError(f"{text}: write i/n with i below n, 0/2 and 1/2 for two processes")
    return int(number), int(count)


def _sizes(text: str) -> dict[str, Any]:
    try:
        sizes = json.loads(text)
    except ValueError:
        sizes = None
    if not isinstance(sizes, dict):
        raise argparse.ArgumentTypeError(f'{text}: write sizes by name, as JSON: {{"width": 128}}')
    return sizes


def _record_testbed(given: argparse.Namespace) -> None:
    from .testbed_recording import TestbedRecorder

    half, size = not given.full_precision, tuple(given.size)
    recorder = TestbedRecorder(given.model, given.out, given.seeds, given.seed, half, size)
    recorder.record(given.prompts, given.part)


def _device(name: str) -> str:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name}: {str(error).splitlines()[0]}. cpu is always there.") from error
    return name


def _train(given: argparse.Namespace) -> None:
    from . import report
    from .dataset.folder import Dataset
    from .fitting.probe_training import train_probe
    from .fitting.recipe import recipe_for

    report.require_drawing()
    dataset = Dataset(given.dataset)
    names = ("steps", "seed", "prompts", "rows", "rate", "matrix_rate", "listwise", "low_first", "network")
    recipe = recipe_for(dataset, given.kind, given.labels, **{name: getattr(given, name) for name in names})
    command = f"python -m training {shlex.join(sys.argv[1:])}"
    trained = train_probe(given.dataset, given.out, recipe, _device(given.device), command)
    report.save(report.training_report(given.out.stem, trained, dataset), given.out.with_suffix(".png"))
    print(report.training_text(given.out.name, trained, len(dataset.damaged)))


def _evaluate(given: argparse.Namespace) -> None:
    from . import report
    from .evaluation import evaluate_probe

    report.require_drawing()
    found = evaluate_probe(load_probe(given.probe), given.dataset, given.seed, _device(given.device))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n")
    report.save(report.evaluation_report(found), given.out.with_suffix(".png"))
    print(found.text())
