"""Losses of trainings. Scores and labels are ``[groups, rows]``: rows of one prompt at one moment are a group."""

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_squared(scores: Tensor, labels: Tensor) -> Tensor:
    """Compute the mean squared error, by which Diffusion Probe trains (section 3.3)."""
    return F.mse_loss(scores, labels)


def listwise(scores: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Compute the divergence of the distributions over each group's rows that softmax makes of scores and labels.

    The temperature is in the labels' unit and applies to both, so scores stay in that unit too.
    After the top-one probabilities of ListNet; Probe-Select (section 3.3) ranks within the prompt likewise.
    """
    wanted = F.softmax(labels / temperature, 1)
    return F.kl_div(F.log_softmax(scores / temperature, 1), wanted, reduction="batchmean")


def alignment(images: Tensor, texts: Tensor, temperature: float = 0.2) -> Tensor:
    """Compute InfoNCE over groups: an image's vector is nearer to its own text than to the others' (Probe-Select).

    Args:
        images: ``[groups, width]``, of the best row of each group.
        texts: ``[groups, width]``.
    """
    likeness = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    return F.cross_entropy(likeness, torch.arange(len(likeness), device=likeness.device))
