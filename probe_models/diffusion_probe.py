"""Network of the Diffusion Probe paper (arXiv 2602.23783, section 3.3): a CNN on cross-attention maps of ten blocks.

The text states the input (maps of all words at ten blocks, and the timestep), several DownBlocks with residual layers,
and an OutputLayer of normalisation, pooling and convolutions that gives one number, or three. The released checkpoint
is reported to read 20 channels: two statistics over the words for each block. Which two, the size of the maps, and
all widths are not stated; they are arguments here.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.core.features import ATTENTION
from .attention_cnn import DownBlock
from .inputs import Inputs
from .layers import CONDITION, FREQUENCIES, GROUPS, averaged_to, noise_embedding
from .map_features import maps_of
from .network import ProbeNetwork
from .norms import ChannelNorm


class DiffusionProbeNetwork(ProbeNetwork):
    """Network from the attention maps of ten blocks and the noise level to one number per head; it reads no words.

    Args:
        blocks: number of attention blocks, 10 as published.
        heads: number of scores, 1 or 3 as published.
        mean, largest, deviation: 1 to read that statistic of the maps over the words, a channel per block; else 0.
        longest: longer side of the grid to which maps are averaged; smaller maps stay as they are.
        widths: channels of the DownBlocks, multiples of ``GROUPS``; each halves the grid but the last.
        layers: number of residual layers per DownBlock.

    Raises:
        ValueError: no statistic is read.
    """

    needs = frozenset({ATTENTION})

    def __init__(
        self,
        blocks: int,
        heads: int = 1,
        *,
        mean: int = 1,
        largest: int = 1,
        deviation: int = 0,
        longest: int = 32,
        widths: Sequence[int] = (64, 128, 256),
        layers: int = 2,
    ):
        super().__init__()
        self.mean, self.largest, self.deviation, self.longest = bool(mean), bool(largest), bool(deviation), longest
        if not (channels := (self.mean + self.largest + self.deviation) * blocks):
            raise ValueError("mean, largest and deviation are all 0: give at least one statistic to read")
        self.maps_norm = ChannelNorm(channels)
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION))
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(DownBlock(width, layers, after) for width, after in zip(widths, [*widths[1:], None]))
        self.output = OutputLayer(widths[-1], heads)

    def images(self, inputs: Inputs) -> Tensor:
        """Return the statistics of the maps over the words, ``[rows, channels, height, width]``."""
        maps = averaged_to(maps_of(inputs), self.longest)
        words = inputs.present.sum(1)[:, None, None, None]
        mean = maps.sum(1) / words
        images = [mean] if self.mean else []
        if self.largest:
            images.append(maps.amax(1))
        if self.deviation:
            off = (maps - mean[:, None]) * inputs.present[:, :, None, None, None]
            images.append((off.square().sum(1) / words).sqrt())
        return torch.cat(images, 1)

    def fit_norms(self, inputs: Inputs) -> None:
        """Set the norm of the maps from training inputs: softmax weights are tiny and differ by block."""
        images = self.images(inputs)
        self.maps_norm.mean.copy_(images.mean((0, 2, 3)))
        self.maps_norm.std.copy_(images.std((0, 2, 3)).clamp(min=1e-8))

    @property
    def last_layer(self) -> nn.Conv2d:
        """Last convolution of the OutputLayer."""
        return self.output.score

    def forward(self, inputs: Inputs) -> Tensor:
        """Score rows, ``[rows, heads]`` float32."""
        condition = self.time(noise_embedding(inputs.percent.float()))
        x = self.stem(self.maps_norm(self.images(inputs)))
        for block in self.down:
            x = block(x, condition)
        return self.output(x).float()


class OutputLayer(nn.Module):
    """Normalisation, a convolution, pooling, and a convolution that gives the scores."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.score = nn.Conv2d(width, heads, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``[rows, width, h, w]`` → ``[rows, heads]``."""
        x = F.silu(self.conv(F.silu(self.norm(x))))
        return self.score(x.mean((-2, -1), keepdim=True))[..., 0, 0]
