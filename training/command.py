"""The command line of recording and training."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from ..probe_models.probe_card import MOST_HEADS
from ..probe_models.probe_file import KINDS
from . import recording_client


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
        "--part", default="0/1", help="i/n: every n-th prompt from the i-th on, for n processes at once"
    )
    record.set_defaults(run=_record_testbed)
    train = commands.add_parser("train", help="train a probe on a recorded dataset")
    train.add_argument("dataset", type=Path, help="folder of the dataset")
    train.add_argument("--out", type=Path, required=True, help="the probe's file, .safetensors")
    train.add_argument("--kind", choices=KINDS, default="joint", help="which network (default: joint)")
    train.add_argument("--labels", default="", help="what to learn, the score first; default: the dataset's, at most 3")
    train.add_argument("--steps", type=int, default=2000)
    train.add_argument("--seed", type=int, default=0, help="of weights and batches")
    train.add_argument("--prompts", type=int, default=12, help="in a batch, 8 rows of each")
    train.add_argument("--rate", type=float, default=2e-3, help="peak learning rate of AdamW")
    train.add_argument("--matrix-rate", type=float, default=5e-3, help="of Muon, for matrices inside layers; 0: AdamW")
    train.add_argument("--listwise", type=float, default=1.0, help="weight of the ranking loss; 0: squared error alone")
    train.add_argument("--low-first", type=float, default=0.0, help="how much more often low-scored prompts are drawn")
    train.add_argument("--network", type=json.loads, default={}, help='sizes, as JSON: {"width": 128, "layers": 4}')
    train.add_argument("--device", default="cpu", help="cpu, cuda …")
    train.set_defaults(run=_train)
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except (ValueError, OSError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from error


def _record_testbed(given: argparse.Namespace) -> None:
    from .testbed_recording import TestbedRecorder

    part = tuple(int(number) for number in given.part.split("/"))
    recorder = TestbedRecorder(given.model, given.out, given.seeds, given.seed, half=not given.full_precision)
    recorder.record(given.prompts, part)


def _train(given: argparse.Namespace) -> None:
    from .dataset import Dataset
    from .fit import Recipe
    from .probe_training import train_probe
    from .report import write_report

    labels = given.labels.split(",") if given.labels else list(Dataset(given.dataset).runs[0].labels)[:MOST_HEADS]
    recipe = Recipe(
        kind=given.kind,
        labels=tuple(labels),
        steps=given.steps,
        seed=given.seed,
        prompts=given.prompts,
        rate=given.rate,
        matrix_rate=given.matrix_rate,
        listwise=given.listwise,
        low_first=given.low_first,
        network=given.network,
    )
    command = f"python -m training {shlex.join(sys.argv[1:])}"
    trained = train_probe(given.dataset, given.out, recipe, given.device, command)
    write_report(given.out.with_suffix(".png"), trained)
    print(json.dumps(trained.card.held_out, indent=1))
