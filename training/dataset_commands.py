"""Commands ``python -m training merge`` and ``python -m training verify``."""

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .dataset.checking import DAMAGED, check_dataset, remove_damaged
from .dataset.merging import merge_datasets


def add_merge(commands: Any) -> None:
    """Add the command ``merge``."""
    merge = commands.add_parser(
        "merge",
        help="join datasets of one model into one",
        description="Copies the runs of several datasets of one model, one label and one projection into one, each "
        "once. What is there already stays, so the same command goes on after a stop.",
    )
    merge.add_argument("datasets", type=Path, nargs="+", metavar="DATASET", help="folders of the datasets")
    merge.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the joined dataset")
    merge.set_defaults(run=_merge)


def add_verify(commands: Any) -> None:
    """Add the command ``verify``."""
    verify = commands.add_parser(
        "verify",
        help="read all of a dataset, and name damaged files",
        description="Reads all of a dataset, compares each file with the SHA-256 that was noted when it was recorded, "
        "and names those that are damaged or missing. Ends with 1 if there are any.",
    )
    verify.add_argument("dataset", type=Path, metavar="DATASET", help="folder of the dataset")
    verify.add_argument(
        "--remove", action="store_true", help=f"move damaged files to {DAMAGED}, so that they are recorded again"
    )
    verify.set_defaults(run=_verify)


def _merge(options: argparse.Namespace) -> None:
    merged = merge_datasets(options.datasets, options.out, lambda runs: tqdm(runs, desc="merging", unit="run"))
    print(
        f"{options.out}: {merged.copied} runs copied, {merged.there} were there already, {merged.damaged} files of the "
        "others can't be used."
    )


def _verify(options: argparse.Namespace) -> None:
    check = check_dataset(options.dataset, lambda runs: tqdm(runs, desc="reading", unit="run"))
    print(check.text())
    if options.remove and check.damaged:
        print(f"{remove_damaged(check)} files were moved to {options.dataset / DAMAGED}.")
    if check.damaged:
        raise SystemExit(1)
