"""Evaluation of a trained probe and every baseline on recorded prompts that it was not trained on."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..engine.core.features import ACTIVATION
from ..probe_models.probe_file import LearnedProbe
from .dataset.batches import Batches
from .dataset.folder import Dataset, is_validation, prompt_digest
from .dataset.projection import dataset_projection, reprojection
from .dataset.run_record import RunRecord
from .fitting.fit import check_labels
from .fitting.held_out import progress_by_moment
from .metrics import accuracy, protocol
from .metrics.validation import Scored, score_groups, with_enough_rows

BY = "moment"
"""Key of a row's noise level as a text."""


LEAST_SHARE = 0.7
"""Least share of the axes of a probe's activations that a dataset has to hold for the probe to be measured on it."""


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation.

    Attributes:
        probe: name of the probe.
        label: unit of its score.
        which: the prompts that it was measured on, as a sentence.
        scored: scores and labels.
        rows: of the table, see :func:`moment_rows`.
        left_out: files and prompts that don't count, as sentences.
    """

    probe: str
    label: str
    which: str
    scored: Scored
    rows: list[dict[str, Any]]
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as plain values, without the single scores."""
        return {
            "probe": self.probe,
            "label": self.label,
            "measured": self.which,
            "left_out": list(self.left_out),
            "rows": self.rows,
        }

    def table(self) -> str:
        """Write the rows as a Markdown table."""
        return table_of(self.rows)

    def text(self) -> str:
        """Write the evaluation as text for people."""
        return "\n\n".join([f"{self.probe}, measured in {self.label}, {self.which}", self.table(), *self.left_out])


def evaluate_probe(
    probe: LearnedProbe,
    folder: Path,
    seed: int = 0,
    device: str = "cpu",
    watch: Callable[[int, int], None] = lambda done, rows: None,
) -> Evaluation:
    """Measure a probe on a dataset, on the prompts that it was not trained on.

    Args:
        probe: to be measured.
        folder: of the dataset.
        seed: of random scores, ties and intervals.
        device: of the network.
        watch: called before every batch with the number of rows done and that of all rows.

    Raises:
        ValueError: the dataset is of another family, other layers or labels, or holds no other prompts.
    """
    dataset = Dataset(folder)
    numbers = _block_numbers(probe, dataset)
    matrix, shortened = _activations_of(probe, dataset)
    runs, which = unseen_runs(probe, dataset)
    check_labels(runs, (probe.label,))
    batches = Batches(dataset, runs, probe.needs, (probe.label,), numbers, reprojection=matrix)
    left_out: tuple[str, ...] = shortened
    if not batches.groups:
        raise ValueError(
            "no prompt of the dataset has two seeds captured at the same moments, so there is no choice to measure. "
            "Record several seeds of each prompt."
        )
    enough = with_enough_rows(batches.groups)
    few = len({run.prompt for run in runs} - {group.runs[0].prompt for group in enough})
    if few:
        left_out += (f"{few} prompts with fewer seeds than most are left out.",)
    batches.groups = enough
    network = copy.deepcopy(probe.network).to(device)
    count = min(len(group.rows) for group in batches.groups)
    done, rows = 0, sum(count * len(group.runs[0].moments) for group in batches.groups)

    def count_rows(_: Any, arguments: tuple) -> None:
        nonlocal done
        watch(done, rows)
        done += len(arguments[0].percent)

    network.register_forward_pre_hook(count_rows)
    scored = score_groups(network, batches, torch.device(device))
    shares = progress_by_moment(runs)
    if dataset.damaged:
        left_out += (f"{len(dataset.damaged)} recorded runs can't be used and are left out; the log names them.",)
    return Evaluation(probe.name, probe.label, which, scored, moment_rows(scored, shares, probe.name, seed), left_out)


def unseen_runs(probe: LearnedProbe, dataset: Dataset) -> tuple[list[RunRecord], str]:
    """Return the runs of prompts that the probe was not trained on, and a sentence that says which these are.

    Raises:
        ValueError: there are none.
    """
    if probe.prompts is None:
        runs = dataset.split()[1]
        which = "prompts of the dataset's validation split; the file doesn't say which prompts it was trained on"
    else:
        runs = [run for run in dataset.runs if prompt_digest(run.prompt) not in probe.prompts]
        which = "prompts of the dataset, none of which it was trained on"
        if len(runs) < len(dataset.runs):
            which = "prompts of the dataset that it was not trained on"
    prompts = {run.prompt for run in runs}
    if not prompts:
        raise ValueError(
            f'"{probe.name}" was trained on every prompt of the dataset {dataset.folder.name}, so that nothing can be '
            "learnt from it about new ones. Record other prompts into another dataset."
        )
    if any(is_validation(prompt) for prompt in prompts) and len(runs) < len(dataset.runs):
        which += ". They decided when its training stopped, which flatters it a little"
    return runs, f"on {len(prompts)} {which}."


def _block_numbers(probe: LearnedProbe, dataset: Dataset) -> list[int]:
    header, name = dataset.header, dataset.folder.name
    if header.family != probe.family:
        raise ValueError(
            f'"{probe.name}" was trained for {probe.family}, and the dataset {name} was recorded with {header.family}. '
            f"Name a dataset of a {probe.family} model, or connect a probe for {header.family}."
        )
    missing = [block for block in probe.blocks if block not in header.blocks]
    if missing:
        raise ValueError(
            f'"{probe.name}" reads the attention of {", ".join(missing)}, and the dataset {name} holds that of '
            f"{', '.join(header.blocks)}. Name a dataset of the model that the probe was trained for."
        )
    return [header.blocks.index(block) for block in probe.blocks]


def _activations_of(probe: LearnedProbe, dataset: Dataset) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    """Return what the dataset's activations are multiplied by for the probe, None for nothing, and what to say of it.

    A dataset keeps few channels of an activation, and another dataset than that of the training has chosen others.

    Raises:
        ValueError: the dataset lacks too much of what the probe reads.
    """
    if ACTIVATION not in probe.needs or probe.projection is None:
        return None, ()
    projection = dataset_projection(dataset.folder)
    if projection is None or projection.shape[1] != probe.projection.shape[1]:
        raise ValueError(
            f'"{probe.name}" reads activations of {probe.projection.shape[1]} channels, and the dataset '
            f"{dataset.folder.name} has none of that width. Name a dataset of the model that the probe was trained for."
        )
    if torch.equal(projection, probe.projection):
        return None, ()
    matrix, share = reprojection(projection, probe.projection)
    if share < LEAST_SHARE:
        raise ValueError(
            f'"{probe.name}" reads activations, and those of the dataset {dataset.folder.name} were shortened in '
            f"another way than those that it was trained on: they hold {share:.0%} of what it reads. To record a "
            "dataset that both can read, copy projection.safetensors of the training dataset into the new folder "
            "before the first run."
        )
    return matrix, (
        f"The dataset shortened its activations in another way than that of the training; {share:.0%} of what the "
        "probe reads is in them, and was computed from that. The probe may do better than these figures.",
    )


def moment_rows(scored: Scored, shares: dict[float, float], name: str, seed: int = 0) -> list[dict[str, Any]]:
    """Compute one row of statistics per noise level, for the probe and every baseline.

    The baseline text-only scores a row by the mean label of the prompt's other rows. That falls as the row's own label
    rises, which would count against it within a prompt; so within prompts it scores all rows alike.

    Args:
        scored: scores and labels of prompts that the probe was not trained on.
        shares: evaluations done as a share of all, by noise level.
        name: of the probe.
        seed: of random scores, ties and intervals.
    """
    rows = []
    for percent, (scores, labels) in scored.items():
        scores, labels = scores.astype(np.float64), labels.astype(np.float64)
        subset = min(protocol.SUBSET, labels.shape[1])
        n = min(subset, accuracy.equal_cost_n(shares[percent], 1.0, subset))
        at = {BY: f"{percent:.1%}".replace(".0%", "%"), "percent": percent, "progress": shares[percent]}
        alike = np.repeat(labels.mean(1, keepdims=True), labels.shape[1], axis=1)
        others = (labels.sum(1, keepdims=True) - labels) / (labels.shape[1] - 1)
        compared = {
            name: scores,
            "random": np.random.default_rng([seed, 1]).random(labels.shape),
            "text-only": alike,
            "oracle": labels,
        }
        for probe, values in compared.items():
            row = {"probe": probe, **at, **accuracy.figures(values, labels, n, seed, subset)}
            if probe == "text-only":
                row |= protocol.pooled(others, labels, seed)
            rows.append({**row, "seeds": labels.shape[1]})
        rows.append({"probe": "best-of-n", **at, **accuracy.best_of_n_figures(labels, n, seed, subset)})
    return [{key: _finite(value) for key, value in row.items()} for row in rows]


def table_of(rows: list[dict[str, Any]]) -> str:
    """Write rows of :func:`moment_rows` as a Markdown table."""
    return accuracy.table(rows, BY, accuracy.POOLED, ("prompts",))


def _finite(value: Any) -> Any:
    """Return a value, None for one that is undefined."""
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, list) and not np.isfinite(value).all():
        return None
    return value
