"""Structural similarity of images (Wang et al. 2004), as the papers on step caches report it."""

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03


def ssim(images: Tensor, references: Tensor) -> Tensor:
    """Compute the mean structural similarity of each image, over channels and all whole windows.

    Args:
        images, references: ``[rows, height, width, channels]`` in 0 … 1, no side shorter than ``WINDOW``.

    Returns:
        ``[rows]``, 1 for equal images.
    """
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    line = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    weights = torch.outer(line, line) / line.sum() ** 2

    def mean(values: Tensor) -> Tensor:
        return F.conv2d(values.flatten(0, 1)[:, None], weights[None, None]).unflatten(0, values.shape[:2])

    x, y = (each.double().movedim(-1, 1) for each in (images, references))
    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    alike = (2 * mean_x * mean_y + K1**2) / (mean_x**2 + mean_y**2 + K1**2)
    varied = (2 * covariance + K2**2) / (variance_x + variance_y + K2**2)
    return (alike * varied).flatten(1).mean(1).to(images.dtype)
