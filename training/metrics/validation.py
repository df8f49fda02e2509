"""How well a network ranks the rows of recorded prompts, by the protocol."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

import numpy as np
import torch
from torch import nn

from ..dataset.batches import Batches, Group
from . import protocol

ROWS_AT_ONCE = 64


Scored = dict[float, tuple[np.ndarray, np.ndarray]]
"""By noise level the scores and the labels, ``[prompts, rows]`` each."""


@torch.no_grad()
def score_groups(network: nn.Module, batches: Batches, device: torch.device) -> Scored:
    """What the first head says of recorded rows, and their labels.

    Of groups with more rows than the smallest, the first so many count.
    """
    count = min(len(group.rows) for group in batches.groups)
    found = defaultdict(list)
    at_once = max(1, ROWS_AT_ONCE // count)
    for alike in _alike(batches.groups):
        for first in range(0, len(alike), at_once):
            some = alike[first : first + at_once]
            for moment in range(len(some[0].runs[0].moments)):
                batch = batches.read([(group, moment, group.rows[:count]) for group in some])
                scores = network(batch.inputs.to(device))[:, 0].unflatten(0, (len(some), count)).cpu()
                for row, labels, percent in zip(scores.float(), batch.labels[..., 0], batch.percent.tolist()):
                    found[round(percent, 3)].append((row.numpy(), labels.numpy()))
    return {percent: tuple(map(np.stack, zip(*rows))) for percent, rows in sorted(found.items())}


def with_enough_rows(groups: Sequence[Group]) -> list[Group]:
    """Groups with at least as many rows as most have: figures count equally many of each prompt."""
    usual = int(median(len(group.rows) for group in groups))
    return [group for group in groups if len(group.rows) >= usual]


def within_by_moment(scored: Scored, seed: int = 0) -> dict[float, float]:
    """By noise level, Spearman's ρ within prompts."""
    return {
        percent: protocol.within_spearman(scores, labels, seed, resamples=1)[0].value
        for percent, (scores, labels) in scored.items()
    }


def _alike(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups that can be read together: of the same moments and size."""
    found = defaultdict(list)
    for group in groups:
        found[tuple(round(moment.percent, 3) for moment in group.runs[0].moments), group.grids].append(group)
    return list(found.values())
