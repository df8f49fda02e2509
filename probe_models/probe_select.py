"""Network of the Probe-Select paper (arXiv 2603.02829): a ranker on one early activation and the prompt's embedding.

Stated are the input (48 channels at 48 × 48, text embedding, time), two stages of a time-conditioned residual block,
spatial attention and a strided convolution with 128 and 256 channels, vectors of 256 numbers for image and text, a head
on both, their product and their difference, and about 6.1 M parameters. Widths inside of the text's and the head's
layers are not; they are arguments here, whose defaults give that size for FLUX's text encoder.
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


class ProbeSelectNetwork(ProbeNetwork):
    """Network from activation, text and time to one number per head.

    Args:
        blocks: number of attention blocks, whose maps it doesn't read.
        heads: number of scores; one as published.
        activation: channels of the projected activation, 48 as published.
        text: channels of a word's embedding.
        widths: channels of the two stages, multiples of ``GROUPS``.
        vector: size of the vectors of image and text.
        hidden: width inside of the layers of the text.
        comparing: width inside of the head.
        longest: longer side of the grid to which activations are averaged; smaller ones stay as they are.
    """

    needs = frozenset({ACTIVATION, TEXT})

    def __init__(
        self,
        blocks: int,
        heads: int,
        activation: int,
        text: int,
        widths: Sequence[int] = (128, 256),
        vector: int = 256,
        hidden: int = 640,
        comparing: int = 512,
        longest: int = 48,
    ):
        super().__init__()
        self.longest = longest
        self.activation_norm = ChannelNorm(activation)
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION))
        self.stem = nn.Conv2d(activation, widths[0], 3, padding=1)
        befores = [widths[0], *widths[:-1]]
        self.stages = nn.ModuleList(SelectStage(before, width) for before, width in zip(befores, widths))
        self.image = nn.Linear(widths[-1], vector)
        self.text = nn.Sequential(nn.LayerNorm(text), nn.Linear(text, hidden), nn.SiLU(), nn.Linear(hidden, vector))
        self.head = nn.Sequential(nn.Linear(4 * vector, comparing), nn.SiLU(), nn.Linear(comparing, heads))

    def vectors(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Encode image and text, ``[rows, vector]`` each."""
        images = self.activation_norm(inputs.activation)
        longest = max(images.shape[-2:])
        if longest > self.longest:
            height, width = (-(-side * self.longest // longest) for side in images.shape[-2:])
            images = F.adaptive_avg_pool2d(images, (height, width))
        condition = self.time(noise_embedding(inputs.percent.float()))
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x, condition)
        present = inputs.present[:, :, None]
        text = (inputs.text * present).sum(1) / present.sum(1)
        return self.image(x.mean((-2, -1))), self.text(text)

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


class SelectStage(nn.Module):
    """A time-conditioned residual block, spatial attention over all cells, and a convolution that halves the grid."""

    def __init__(self, before: int, width: int):
        super().__init__()
        self.widen = nn.Conv2d(before, width, 1) if before != width else nn.Identity()
        self.block = ResidualLayer(width)
        self.norm = nn.GroupNorm(GROUPS, width)
        self.qkv, self.out = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)
        self.smaller = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Compute ``[rows, before, h, w]`` → ``[rows, width, ⌈h/2⌉, ⌈w/2⌉]``."""
        x = self.block(self.widen(x), condition)
        q, k, v = self.qkv(self.norm(x)).flatten(2).mT[:, None].chunk(3, -1)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v)[:, 0].mT.unflatten(-1, x.shape[-2:]))
        return self.smaller(x)
