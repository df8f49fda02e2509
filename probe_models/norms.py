"""Norms of network inputs over a dataset. Without them, some inputs hardly vary from image to image."""

import torch
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Normalisation of channels to zero mean and unit variance over a dataset, as measured by :meth:`fit`."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def fit(self, images: Tensor) -> None:
        """Measure mean and deviation of ``[rows, channels, height, width]``."""
        self.mean.copy_(images.float().mean((0, 2, 3)))
        self.std.copy_(images.float().std((0, 2, 3)).clamp(min=1e-4))

    def forward(self, images: Tensor) -> Tensor:
        """Normalise ``[rows, channels, height, width]``."""
        return (images - self.mean[:, None, None]) / self.std[:, None, None]


class FeatureNorm(ChannelNorm):
    """Normalisation as :class:`ChannelNorm`'s, for features on the last axis, ``[..., features]``."""

    def fit(self, values: Tensor) -> None:
        """Measure mean and deviation of ``[rows, features]``."""
        super().fit(values[:, :, None, None])

    def forward(self, values: Tensor) -> Tensor:
        """Normalise ``[..., features]``."""
        return (values - self.mean) / self.std
