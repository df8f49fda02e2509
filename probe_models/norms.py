"""What networks read, at zero mean and unit variance: as it comes, some of it hardly varies."""

import torch
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Channels at zero mean and unit variance over a dataset; what these were is set by :meth:`fit`."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def fit(self, images: Tensor) -> None:
        """Take mean and deviation from ``[rows, channels, height, width]``."""
        self.mean.copy_(images.float().mean((0, 2, 3)))
        self.std.copy_(images.float().std((0, 2, 3)).clamp(min=1e-4))

    def forward(self, images: Tensor) -> Tensor:
        """``[rows, channels, height, width]``, normalised."""
        return (images - self.mean[:, None, None]) / self.std[:, None, None]


class FeatureNorm(ChannelNorm):
    """The same for features that come last, ``[..., features]``."""

    def fit(self, values: Tensor) -> None:
        """Take mean and deviation from ``[rows, features]``."""
        super().fit(values[:, :, None, None])

    def forward(self, values: Tensor) -> Tensor:
        """``[..., features]``, normalised."""
        return (values - self.mean) / self.std
