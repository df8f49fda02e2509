"""Network of the activation probe, one of this pack's own: a ranker on one activation and the text.

After an idea of Probe-Select, whose own network is ``probe_select.py``.

Two stages of a time-conditioned residual block, spatial attention and a strided convolution encode the
image as a vector; the words are encoded as another; a head compares the two.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.core.features import ACTIVATION, TEXT
from .inputs import Inputs
from .layers import CONDITION, FREQUENCIES, GROUPS, ResidualLayer, noise_embedding
from .network import ProbeNetwork
from .norms import ChannelNorm

LONGEST = 16
"""Longer side of the grid on which spatial attention works."""


class ActivationRanker(ProbeNetwork):
    """Network from activation, text and noise level to one number per head.

    Args:
        blocks: number of attention blocks, whose maps it doesn't read.
        heads: number of scores.
        activation: channels of the projected activation.
        text: channels of a word's embedding.
        widths: channels of the stages, multiples of ``GROUPS``.
        vector: channels of the vectors of image and text.
    """

    needs = frozenset({ACTIVATION, TEXT})

    def __init__(
        self, blocks: int, heads: int, activation: int, text: int, widths: Sequence[int] = (96, 192), vector: int = 192
    ):
        super().__init__()
        self.activation_norm = ChannelNorm(activation)
        self.condition = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION)
        )
        self.stem = nn.Conv2d(activation, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(Stage(width, after) for width, after in zip(widths, [*widths[1:], vector]))
        self.text = nn.Sequential(nn.LayerNorm(text), nn.Linear(text, vector), nn.SiLU(), nn.Linear(vector, vector))
        self.head = nn.Sequential(nn.Linear(4 * vector, vector), nn.SiLU(), nn.Linear(vector, heads))

    def vectors(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Encode image and text, ``[rows, vector]`` each."""
        images = self.activation_norm(inputs.activation)
        longest = max(images.shape[-2:])
        if longest > LONGEST:
            height, width = (-(-side * LONGEST // longest) for side in images.shape[-2:])
            images = F.adaptive_avg_pool2d(images, (height, width))
        condition = self.condition(noise_embedding(inputs.percent.float()))
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x, condition)
        present = inputs.present[:, :, None]
        words = self.text(inputs.text) * present
        return x.mean((-2, -1)), words.sum(1) / present.sum(1)

    def fit_norms(self, inputs: Inputs) -> None:
        """Set the norm of the activation from training inputs."""
        self.activation_norm.fit(inputs.activation)

    @property
    def last_layer(self) -> nn.Linear:
        """Last layer of the head."""
        layer = self.head[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, inputs: Inputs) -> Tensor:
        """Score rows, ``[rows, heads]`` float32."""
        return self.compare(*self.vectors(inputs))

    def compare(self, image: Tensor, text: Tensor) -> Tensor:
        """Score how well vectors of images and texts fit, ``[rows, heads]`` float32."""
        return self.head(torch.cat([image, text, image * text, (image - text).abs()], -1)).float()


class Stage(nn.Module):
    """A time-conditioned residual layer, spatial attention, then half the grid with ``after`` channels."""

    def __init__(self, width: int, after: int):
        super().__init__()
        self.layer = ResidualLayer(width)
        self.norm, self.qkv, self.out = (
            nn.GroupNorm(GROUPS, width),
            nn.Conv2d(width, 3 * width, 1),
            nn.Conv2d(width, width, 1),
        )
        self.smaller = nn.Conv2d(width, after, 3, stride=2, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Compute ``[rows, width, h, w]`` → ``[rows, after, ⌈h/2⌉, ⌈w/2⌉]``."""
        x = self.layer(x, condition)
        q, k, v = self.qkv(self.norm(x)).flatten(2).mT[:, None].chunk(3, -1)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v)[:, 0].mT.unflatten(-1, x.shape[-2:]))
        return self.smaller(x)
