"""Trainings as two papers describe them: Diffusion Probe (arXiv 2602.23783) and Probe-Select (arXiv 2603.02829).

What the texts state is fixed by kind in :data:`RECIPES`, and what they leave open are arguments. Deviations, which the
known mistakes of the released code make necessary: ranks and correlations are within a prompt, never across prompts.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

DIFFUSION_PROBE, PROBE_SELECT = "diffusion probe", "probe select"
"""Kinds of networks with a training of their own."""

RECIPES: dict[str, dict[str, Any]] = {
    DIFFUSION_PROBE: {"listwise": 0.0, "matrix_rate": 0.0, "others": 0, "low_first": 1.0, "by_image": True},
    PROBE_SELECT: {
        "rate": 1e-5,
        "matrix_rate": 0.0,
        "others": 0,
        "prompts": 12,
        "rows": 8,
        "average": 0.999,
        "percent": 0.2,
    },
}
"""Settings of a ``Recipe`` by kind, where they differ from its defaults."""

ALIGNMENT_WEIGHT = 10.0
PEARSON_WEIGHT = 10.0


@dataclass(frozen=True)
class Schedule:
    """Margin and temperatures of Probe-Select's losses, each from its first to its last value along a line.

    Attributes:
        margin: difference of labels, in standard deviations, above which a candidate counts as worse; it shrinks. Its
            values are not stated.
        ranking: temperature of the ranking loss.
        alignment: temperature of the alignment loss.
    """

    margin: tuple[float, float] = (0.5, 0.1)
    ranking: tuple[float, float] = (1.0, 0.1)
    alignment: tuple[float, float] = (0.1, 1.0)

    def at(self, progress: float) -> tuple[float, float, float]:
        """Return margin and both temperatures after a share of a training, 0 … 1."""

        def between(ends: tuple[float, float]) -> float:
            return ends[0] + (ends[1] - ends[0]) * progress

        return between(self.margin), between(self.ranking), between(self.alignment)


SCHEDULE = Schedule()


def probe_select_loss(
    scores: Tensor, labels: Tensor, images: Tensor, texts: Tensor, progress: float, listwise: float = 1.0
) -> Tensor:
    """Compute the sum of ranking, alignment and Pearson losses.

    Args:
        scores, labels: ``[groups, rows, heads]``, labels in standard deviations.
        images: vectors of the images ``[groups, rows, width]``.
        texts: vectors of the prompts ``[groups, width]``.
        progress: share of the training that is done.
        listwise: weight of the ranking loss.
    """
    margin, ranking, temperature = SCHEDULE.at(progress)
    heads = list(zip(scores.unbind(-1), labels.unbind(-1)))
    ranks = torch.stack([margin_ranking(*head, margin, ranking) for head in heads]).mean()
    linear = torch.stack([1 - correlation(*head) for head in heads]).mean()
    return listwise * ranks + ALIGNMENT_WEIGHT * alignment(images, texts, temperature) + PEARSON_WEIGHT * linear


def margin_ranking(scores: Tensor, labels: Tensor, margin: float, temperature: float) -> Tensor:
    """Compute how surely each row is chosen from itself and those of its prompt that are worse by a margin.

    The mean over rows that have such rows of -log softmax of the row's score; 0 if none has.

    Args:
        scores, labels: ``[groups, rows]``.
        margin: least difference of labels.
        temperature: of the softmax.
    """
    worse = labels[:, :, None] - labels[:, None] >= margin
    itself = torch.eye(labels.shape[1], dtype=torch.bool, device=labels.device)
    logits = (scores / temperature)[:, None].expand_as(worse).masked_fill(~(worse | itself), -torch.inf)
    losses = logits.logsumexp(-1) - scores / temperature
    counts = worse.any(-1)
    return (losses * counts).sum() / counts.sum().clamp(min=1)


def alignment(images: Tensor, texts: Tensor, temperature: float) -> Tensor:
    """Compute InfoNCE: each image's vector is nearer to its own prompt's than to those of the batch's other prompts.

    Rows of one prompt are never each other's negatives.

    Args:
        images: ``[groups, rows, width]``.
        texts: ``[groups, width]``.
        temperature: of the softmax over prompts.
    """
    likeness = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T / temperature
    own = torch.arange(len(texts), device=texts.device)[:, None].expand(images.shape[:2])
    return F.cross_entropy(likeness.flatten(0, 1), own.flatten())


def correlation(scores: Tensor, labels: Tensor) -> Tensor:
    """Compute the mean over prompts of Pearson's correlation; a prompt whose labels are all equal counts as 0.

    Args:
        scores, labels: ``[groups, rows]``.
    """
    scores, labels = scores - scores.mean(1, keepdim=True), labels - labels.mean(1, keepdim=True)
    size = scores.square().sum(1) * labels.square().sum(1)
    return ((scores * labels).sum(1) * (size + 1e-12).rsqrt()).mean()
