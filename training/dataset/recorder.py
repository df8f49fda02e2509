"""Recorder of finished runs: it checks a run, projects its activations and writes it into a dataset."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from ...engine.core.features import Features, project_channels
from ...engine.core.json_text import storable
from .folder import RUNS, run_path
from .header import HEADER, Header, read_header
from .labels import Labels
from .projection import dataset_projection, fit_projection, keep_projection, require_width
from .run_file import why_no_record
from .run_record import RunRecord
from .writing import DatasetWriter, recorded_moments, run_tensors, word_names


@dataclass(frozen=True)
class FinishedRun:
    """A sampler run that has ended, with all that a dataset keeps of it.

    Attributes:
        prompt: its text.
        seeds: of the rows.
        steps: of its schedule.
        moments: features of the rows, for each moment, with all channels of the activation.
        final: the finished latents, ``[rows, channels, height, width]``.
        labels: of the rows.
        model: name of the model, for people.
        settings: other values of interest to people.
    """

    prompt: str
    seeds: tuple[int, ...]
    steps: int
    moments: Sequence[Sequence[Features]]
    final: Tensor
    labels: Labels
    model: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def record_run(folder: Path, key: str, run: FinishedRun) -> None:
    """Write a run into a dataset; the first run of a dataset also decides its projection.

    Raises:
        ValueError: labels or features with NaN or infinity, or that half precision can't hold, or the dataset is of
            another model or label.
        OSError: the disk is full, or the folder can't be written to.
    """
    _require_numbers(run)
    record = _record(key, run)
    projection, first, tensors = _projected(folder, run)
    header = Header(first.family, first.blocks, len(projection), run.model, next(iter(run.labels.own)))
    DatasetWriter(folder, header).add(record, tensors)


def _record(key: str, run: FinishedRun) -> RunRecord:
    record = RunRecord(
        key=key,
        prompt=run.prompt,
        seeds=run.seeds,
        steps=run.steps,
        words=word_names(run.moments[0][0]),
        moments=recorded_moments(run.moments),
        labels={label: tuple(values) for label, values in run.labels.own.items()},
        others={prompt: tuple(values) for prompt, values in run.labels.others.items()},
        phrases={phrase: tuple(words) for phrase, words in run.labels.phrases.items()},
        settings=storable(dict(run.settings)),
    )
    if why := why_no_record(record):
        raise ValueError(f"nothing of this run was recorded: {why}, as no reader of the dataset takes it.")
    return record


def _projected(folder: Path, run: FinishedRun) -> tuple[Tensor, Features, dict[str, Tensor]]:
    """Project a run's activations, and return the dataset's projection, the first features and the tensors to keep.

    The projection of a new dataset is written once the tensors are known to be fit to be kept.
    """
    activations = torch.stack([row.activation for rows in run.moments for row in rows])
    existing = dataset_projection(folder)
    projection = fit_projection(activations) if existing is None else existing
    while True:
        require_width(projection, folder, activations.shape[1])
        moments = [[_with_projection(row, projection) for row in rows] for rows in run.moments]
        tensors = run_tensors(moments, run.final)
        _require_half(tensors)
        kept = existing if existing is not None else keep_projection(folder, projection)
        if torch.equal(kept, projection):
            return projection, moments[0][0], tensors
        projection = existing = kept  # another process was first


def _with_projection(row: Features, projection: Tensor) -> Features:
    return replace(row, activation=project_channels(row.activation, projection).half())


def _require_half(tensors: Mapping[str, Tensor]) -> None:
    wrong = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if wrong:
        raise ValueError(
            f"the numbers of this run ({', '.join(wrong)}) are larger than half precision holds, in which datasets are "
            "kept, so nothing of it was recorded. A run that reaches 65504 went wrong: lower its cfg, or take another "
            "sampler."
        )


def require_sound(folder: Path) -> None:
    """Refuse a dataset that no run can be added to; one that isn't there yet is accepted.

    Raises:
        ValueError: its header or its projection is damaged or missing.
    """
    if (folder / HEADER).exists():
        read_header(folder)
        dataset_projection(folder)


@dataclass
class _Counted:
    """Number and bytes of a dataset's runs, when the newest was written, and until when they are not counted again."""

    runs: int
    size: int
    newest: int
    until: float


LISTING_SHARE = 0.01
"""Largest share of the time in which the files of a dataset are listed: 100,000 of them take seconds."""

LISTING_SECONDS = 0.02
"""Time of a listing up to which the files are listed each time."""

_counted: dict[Path, _Counted] = {}


def dataset_size(folder: Path, key: str) -> dict[str, int]:
    """Return the bytes of a run and of all runs, the number of runs, and the bytes that are free on their disk.

    In a large dataset the runs that this process adds are counted up, and all are counted again from time to time.
    """
    this, now = run_path(folder, key).stat(), monotonic()
    known = _counted.get(folder)
    if known is None or now >= known.until:
        files = [path.stat() for path in (folder / RUNS).glob("[!.]*.safetensors")]
        taken = monotonic() - now
        until = now + taken / LISTING_SHARE if taken > LISTING_SECONDS else now
        newest = max(file.st_mtime_ns for file in files)
        known = _counted[folder] = _Counted(len(files), sum(file.st_size for file in files), newest, until)
    elif this.st_mtime_ns > known.newest:
        known.runs, known.size, known.newest = known.runs + 1, known.size + this.st_size, this.st_mtime_ns
    return {
        "run_bytes": this.st_size,
        "runs": known.runs,
        "bytes": known.size,
        "free_bytes": shutil.disk_usage(folder).free,
    }


def _require_numbers(run: FinishedRun) -> None:
    for label, values in (*run.labels.own.items(), *run.labels.others.items()):
        if len(values) != len(run.seeds):
            raise ValueError(
                f"{len(values)} images for {len(run.seeds)} rows of the latent. Decode the same latent that is "
                "connected here, all of its rows."
            )
        wrong = [row for row, value in enumerate(values) if not torch.tensor(value).isfinite()]
        if wrong:
            raise ValueError(
                f"{label} gave no number for images {wrong} (counted from 0), so nothing of this run was recorded. "
                "Look at these images: black ones come from a VAE in half precision, run it in fp32."
            )
    tensors = [run.final, *(row.text for row in run.moments[0][:1] if row.text is not None)]
    for row in chain.from_iterable(run.moments):
        tensors += [row.activation, row.denoised, row.latent]
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise ValueError(
            "the model gave NaN or infinity in this run, so nothing of it was recorded. "
            "Run the model in bf16 or fp32 instead of fp16."
        )
