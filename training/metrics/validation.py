"""Scores of a network on recorded prompts, and how well they rank the rows of each."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

import numpy as np
import torch
from torch import nn

from ..dataset.batches import Batches, Group
from . import protocol

ROWS_AT_ONCE = 64
"""Largest number of rows in one forward pass."""


Scored = dict[float, tuple[np.ndarray, np.ndarray]]
"""Scores and labels by noise level, ``[prompts, rows]`` each."""


@torch.no_grad()
def score_groups(network: nn.Module, batches: Batches, device: torch.device) -> Scored:
    """Score recorded rows by the first head, and return the scores with the labels.

    All groups count with as many rows as the smallest has, their first ones.
    """
    count = min(len(group.rows) for group in batches.groups)
    scored: defaultdict[float, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    at_once = max(1, ROWS_AT_ONCE // count)
    for alike in _alike(batches.groups):
        for first in range(0, len(alike), at_once):
            groups = alike[first : first + at_once]
            for moment in range(len(groups[0].runs[0].moments)):
                batch = batches.read([(group, moment, group.rows[:count]) for group in groups])
                scores = network(batch.inputs.to(device))[:, 0].unflatten(0, (len(groups), count)).cpu()
                for row, labels, percent in zip(scores.float(), batch.labels[..., 0], batch.percent.tolist()):
                    scored[round(percent, 3)].append((row.numpy(), labels.numpy()))
    return {percent: _stacked(rows) for percent, rows in sorted(scored.items())}


def _stacked(rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = zip(*rows)
    return np.stack(scores), np.stack(labels)


def with_enough_rows(groups: Sequence[Group]) -> list[Group]:
    """Return the groups with at least as many rows as most have: all prompts count with equally many."""
    usual = int(median(len(group.rows) for group in groups))
    return [group for group in groups if len(group.rows) >= usual]


def within_by_moment(scored: Scored, seed: int = 0) -> dict[float, float]:
    """Compute Spearman's ρ within prompts for each noise level."""
    return {
        percent: protocol.within_spearman(scores, labels, seed, resamples=1)[0].value
        for percent, (scores, labels) in scored.items()
    }


def _alike(groups: Sequence[Group]) -> list[list[Group]]:
    """Sort groups by moments and size: those that are equal in both can be read together."""
    alike = defaultdict(list)
    for group in groups:
        moments = tuple(round(moment.percent, 3) for moment in group.runs[0].moments)
        alike[moments, group.grids].append(group)
    return list(alike.values())
