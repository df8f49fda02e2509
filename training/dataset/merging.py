"""Merging of datasets of one model, label and projection into one."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ...engine.core.json_text import read_json
from .folder import RUNS, Dataset, run_path
from .header import HEADER, Header
from .projection import dataset_projection
from .run_file import read_record
from .writing import PROJECTION, DatasetWriter, nothing_lost, write_once

MODELS = "models.json"
"""File with the SHA-256 of each model file that a dataset was recorded with, by the name that workflows have for it."""


@dataclass
class Merged:
    """Numbers of a merging: runs that were copied, that were there already, and files that can't be used."""

    copied: int = 0
    there: int = 0
    damaged: int = 0


def merge_datasets(sources: Sequence[Path], folder: Path, progress: Callable[[Iterable], Iterable] = iter) -> Merged:
    """Copy the runs of several datasets into one, each once; what is there already stays.

    Args:
        sources: folders of the datasets.
        folder: of the dataset that they are copied into, a new one or one of their kind.
        progress: shows the progress through what it gets.

    Raises:
        ValueError: no dataset, or datasets that can't be one; nothing is copied.
        OSError: the disk is full; what was copied stays, and the same call goes on.
    """
    datasets = [Dataset(source) for source in sources]
    joined = [Dataset(folder, least=0), *datasets] if (folder / HEADER).exists() else datasets
    for other in joined[1:]:
        _require_one_kind(joined[0], other)
    models = _joined_models(joined)
    first = datasets[0]
    header = Header(**{**vars(first.header), "label": first.header.label or next(iter(first.runs[0].labels))})
    with nothing_lost(folder):
        (folder / RUNS).mkdir(parents=True, exist_ok=True)
        write_once(folder / PROJECTION, (first.folder / PROJECTION).read_bytes())
        if models:
            write_once(folder / MODELS, json.dumps(models, indent=1, sort_keys=True).encode())
    writer, merged = DatasetWriter(folder, header), Merged(damaged=sum(len(each.damaged) for each in datasets))
    contents = {run.content() for run in joined[0].runs} if joined is not datasets else set()
    for dataset, run in progress([(each, run) for each in datasets for run in each.runs]):
        if run_path(folder, run.key).exists() or run.content() in contents:
            merged.there += 1
            continue
        content = (dataset.folder / RUNS / run.file).read_bytes()
        dataset.load(run)
        writer.add_file(run.key, content, lambda path: read_record(path).to_json())
        contents.add(run.content())
        merged.copied += 1
    return merged


def _require_one_kind(first: Dataset, other: Dataset) -> None:
    for name in ("family", "blocks", "activation_channels", "label"):
        one, two = getattr(first.header, name), getattr(other.header, name)
        if one != two and (name != "label" or one and two):
            raise ValueError(
                f"{first.folder} was recorded with {name.replace('_', ' ')} {one}, and {other.folder} with {two}. "
                "One dataset is of one model and one label."
            )
    one, two = dataset_projection(first.folder), dataset_projection(other.folder)
    if not torch.equal(one, two):
        raise ValueError(
            f"{first.folder} and {other.folder} shorten activations in two ways, so they can't be one dataset. Record "
            f"into several folders only after copying {PROJECTION} of the first into each of the others; "
            "python -m training record with several servers does that."
        )


def _joined_models(datasets: Sequence[Dataset]) -> dict[str, str]:
    """Return the SHA-256 of all model files by name; refuse datasets that have different ones of a name."""
    joined: dict[str, str] = {}
    for dataset in datasets:
        path = dataset.folder / MODELS
        for name, digest in (read_json(path.read_bytes()) if path.exists() else {}).items():
            if joined.setdefault(name, digest) != digest:
                raise ValueError(
                    f"{dataset.folder} was recorded with another file {name} than the others (their SHA-256 differ). "
                    "One dataset is of one model."
                )
    return joined
