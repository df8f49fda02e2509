"""What training minimises. Scores and labels are ``[groups, rows]``: groups of one prompt at one moment."""

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_squared(scores: Tensor, labels: Tensor) -> Tensor:
    """As Diffusion Probe trains (section 3.3)."""
    return F.mse_loss(scores, labels)


def listwise(scores: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between the two distributions over the rows of each group that softmax makes of them.

    The temperature is in the labels' unit and serves both sides, so scores stay in that unit too.
    After the top-one probabilities of ListNet; Probe-Select (section 3.3) ranks within the prompt likewise.
    """
    wanted = F.softmax(labels / temperature, 1)
    return F.kl_div(F.log_softmax(scores / temperature, 1), wanted, reduction="batchmean")


def alignment(images: Tensor, texts: Tensor, temperature: float = 0.2) -> Tensor:
    """InfoNCE over groups: a group's image vectors lie nearer to its own text than to the others' (Probe-Select).

    Args:
        images: ``[groups, width]``, of the best row of each.
        texts: ``[groups, width]``.
    """
    likeness = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T / temperature
    return F.cross_entropy(likeness, torch.arange(len(likeness), device=likeness.device))
