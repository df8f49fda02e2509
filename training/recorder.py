"""One finished run into a dataset: checked, its activations projected, written."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..probe_models.features import Features, project_channels
from .dataset import RUNS, Header, RunRecord, run_path
from .projection import dataset_projection
from .writing import DatasetWriter, recorded_moments, run_tensors, word_names


@dataclass(frozen=True)
class FinishedRun:
    """What became of one sampler run.

    Attributes:
        prompt: its text.
        seeds: of the rows.
        steps: of its schedule.
        moments: for each moment the features of the rows, with all channels of the activation.
        final: the finished latents, ``[rows, channels, height, width]``.
        labels, others, parts, settings: as in ``RunRecord``.
        model: which model, for people.
    """

    prompt: str
    seeds: tuple[int, ...]
    steps: int
    moments: Sequence[Sequence[Features]]
    final: Tensor
    labels: Mapping[str, Sequence[float]]
    others: Mapping[str, Sequence[float]] = field(default_factory=dict)
    parts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    model: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def record_run(folder: Path, key: str, run: FinishedRun) -> None:
    """Write a run; the first of a dataset also decides its projection.

    Raises:
        ValueError: labels or features with NaN or infinity, or the dataset is of another model or label.
        OSError: the disk is full, or the folder can't be written to.
    """
    _require_numbers(run)
    seen = torch.stack([row.activation for rows in run.moments for row in rows])
    projection = dataset_projection(folder, seen)
    moments = [
        [replace(row, activation=project_channels(row.activation, projection).half()) for row in rows]
        for rows in run.moments
    ]
    first = moments[0][0]
    header = Header(first.family, first.blocks, len(projection), run.model, next(iter(run.labels)))
    DatasetWriter(folder, header).add(
        RunRecord(
            key=key,
            prompt=run.prompt,
            seeds=run.seeds,
            steps=run.steps,
            words=word_names(first),
            moments=recorded_moments(moments),
            labels={label: tuple(values) for label, values in run.labels.items()},
            others={prompt: tuple(values) for prompt, values in run.others.items()},
            parts={part: tuple(words) for part, words in run.parts.items()},
            settings=dict(run.settings),
        ),
        run_tensors(moments, run.final),
    )


def dataset_size(folder: Path, key: str) -> dict[str, int]:
    """Bytes of a run and of all, how many there are, and how many bytes are free where they lie."""
    sizes = [path.stat().st_size for path in (folder / RUNS).glob("[!.]*.safetensors")]
    return {
        "run_bytes": run_path(folder, key).stat().st_size,
        "runs": len(sizes),
        "bytes": sum(sizes),
        "free_bytes": shutil.disk_usage(folder).free,
    }


def _require_numbers(run: FinishedRun) -> None:
    for label, values in (*run.labels.items(), *run.others.items()):
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
    tensors = [row.activation for rows in run.moments for row in rows] + [run.final]
    tensors += [tensor for rows in run.moments for row in rows for tensor in (row.denoised, row.latent)]
    tensors += [row.text for row in run.moments[0][:1] if row.text is not None]
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise ValueError(
            "the model gave NaN or infinity in this run, so nothing of it was recorded. "
            "Run the model in bf16 or fp32 instead of fp16."
        )
