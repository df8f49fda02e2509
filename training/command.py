"""The command line of recording and training."""

import argparse
from pathlib import Path


def main(arguments: list[str] | None = None) -> None:
    """``python -m training …``."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Record, train and evaluate probes.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
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
    given = parser.parse_args(arguments)
    given.run(given)


def _record_testbed(given: argparse.Namespace) -> None:
    from .testbed_recording import TestbedRecorder

    part = tuple(int(number) for number in given.part.split("/"))
    recorder = TestbedRecorder(given.model, given.out, given.seeds, given.seed, half=not given.full_precision)
    recorder.record(given.prompts, part)
