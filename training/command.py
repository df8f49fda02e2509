"""Command line of recording, training and evaluation, ``python -m training``."""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from ..engine.core.files import replace_file
from ..probe_models.probe_file import KINDS, load_probe
from .dataset_commands import add_merge, add_verify
from .fitting.recipe import Recipe
from .fleet import record

SUFFIX = ".safetensors"
"""Ending of a probe's file."""

SETTINGS: dict[str, tuple[type, str]] = {
    "prompts": (int, "number of prompts in a batch"),
    "rows": (int, "number of rows of each prompt in a batch"),
    "rate": (float, "peak learning rate of AdamW"),
    "matrix_rate": (float, "peak rate of Muon, for matrices; 0: AdamW"),
    "listwise": (float, "weight of the ranking loss; 0: squared error alone"),
    "low_first": (float, "how much more often low-scored prompts are drawn, or low-scored images by a published kind"),
    "percent": (float, "noise level of the only moment to learn from, 0 … 1, such as 0.2"),
    "average": (float, "decay of the moving average of the weights"),
}
"""Types and descriptions of the recipe's settings that the command line takes, by name."""


def main(arguments: list[str] | None = None) -> None:
    """Run ``python -m training`` with some arguments, those of the command line by default."""
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Records datasets of sampler runs, trains probes on them and evaluates these. "
        "python -m training COMMAND --help lists the options of a command.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    record.add_arguments(
        commands.add_parser(
            "record",
            help="record a workflow with Record Probe Data on a running ComfyUI",
            description="Records a workflow with Record Probe Data on a running ComfyUI: for each prompt as many seeds "
            "as wanted. Runs that the dataset has already are passed over, so the same command goes on after a stop. "
            "With --out, several servers record one dataset together.",
        )
    )
    _add_record_testbed(commands)
    add_merge(commands)
    add_verify(commands)
    _add_train(commands)
    _add_evaluate(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(f"{parser.prog}: interrupted. What was written is kept: the same command goes on.") from None


def _add_record_testbed(commands: Any) -> None:
    record = commands.add_parser(
        "record-testbed",
        help="record a testbed model, in this process",
        description="Records a testbed model in this process, without a server, with the ground truth as labels. "
        "Prompts that the dataset has already are passed over.",
    )
    record.add_argument("--model", choices=("flux", "sdxl"), required=True, help="the testbed model")
    record.add_argument("--out", type=Path, required=True, help="folder of the dataset")
    record.add_argument("--prompts", type=int, default=2000, help="number of training prompts (default: %(default)s)")
    record.add_argument("--seeds", type=int, default=8, help="number of seeds per prompt (default: %(default)s)")
    record.add_argument("--seed", type=int, default=1, help="seed of prompts and noise (default: %(default)s)")
    record.add_argument("--full-precision", action="store_true", help="compute in float32, as ComfyUI does on a CPU")
    record.add_argument(
        "--size",
        type=_side,
        nargs=2,
        default=(128, 128),
        metavar=("HEIGHT", "WIDTH"),
        help="of the images, in pixels (default: 128 128)",
    )
    record.add_argument(
        "--part", type=_part, default=(0, 1), help="i/n: every n-th prompt from the i-th on, for n processes at once"
    )
    record.set_defaults(run=_record_testbed)


def _add_train(commands: Any) -> None:
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
        help="the probe's file, .safetensors; a file of that name is replaced",
    )
    train.add_argument("--kind", choices=KINDS, default="joint", help="kind of the network (default: %(default)s)")
    train.add_argument(
        "--labels", default="", help="names of labels with commas between them, the score first; empty: all, at most 3"
    )
    train.add_argument(
        "--steps",
        type=int,
        default=Recipe.steps,
        help="most training steps; it stops when nothing gets better (default: %(default)s)",
    )
    train.add_argument("--seed", type=int, default=0, help="seed of weights and batches (default: %(default)s)")
    settings = train.add_argument_group("settings of the recipe", "A published kind has its own defaults for some.")
    for name, (kind, text) in SETTINGS.items():
        option = f"--{name.replace('_', '-')}"
        default = "all" if getattr(Recipe, name) is None else getattr(Recipe, name)
        settings.add_argument(option, type=kind, default=argparse.SUPPRESS, help=f"{text} (default: {default})")
    train.add_argument(
        "--network", type=_sizes, default={}, help='sizes of the network, as JSON: {"width": 128, "layers": 4}'
    )
    train.add_argument("--device", default="cpu", help="cpu, cuda … (default: %(default)s)")
    train.set_defaults(run=_train)


def _add_evaluate(commands: Any) -> None:
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
        "--out", type=_table, required=True, metavar="FILE", help="FILE.json; FILE.png is written beside it"
    )
    evaluate.add_argument(
        "--seed", type=int, default=0, help="seed of random scores, ties and intervals (default: %(default)s)"
    )
    evaluate.add_argument("--device", default="cpu", help="cpu, cuda … (default: %(default)s)")
    evaluate.set_defaults(run=_evaluate)


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


def _record_testbed(options: argparse.Namespace) -> None:
    from .testbed_recording import TestbedRecorder

    half, size = not options.full_precision, tuple(options.size)
    recorder = TestbedRecorder(options.model, options.out, options.seeds, options.seed, half, size)
    recorder.record(options.prompts, options.part)


def _device(name: str) -> str:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name}: {str(error).splitlines()[0]}. cpu is always there.") from error
    return name


def _train(options: argparse.Namespace) -> None:
    from . import report
    from .dataset.folder import Dataset
    from .fitting.probe_training import train_probe
    from .fitting.recipe import recipe_for

    report.require_drawing()
    dataset = Dataset(options.dataset)
    given = {name: value for name, value in vars(options).items() if name in ("steps", "seed", "network", *SETTINGS)}
    recipe = recipe_for(dataset, options.kind, options.labels, **given)
    command = f"python -m training {shlex.join(sys.argv[1:])}"
    trained = train_probe(options.dataset, options.out, recipe, _device(options.device), command)
    report.save(report.training_report(options.out.stem, trained, dataset), options.out.with_suffix(".png"))
    print(report.training_text(options.out.name, trained, len(dataset.damaged)))


def _evaluate(options: argparse.Namespace) -> None:
    from . import report
    from .evaluation import evaluate_probe

    report.require_drawing()
    evaluation = evaluate_probe(load_probe(options.probe), options.dataset, options.seed, _device(options.device))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(evaluation.to_json(), indent=1, allow_nan=False) + "\n"
    replace_file(options.out, lambda path: path.write_text(text))
    report.save(report.evaluation_report(evaluation), options.out.with_suffix(".png"))
    print(evaluation.text())
