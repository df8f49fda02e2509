"""Base of networks that compare a vector of an activation with one of the prompt."""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.core.features import ACTIVATION, TEXT
from .inputs import Inputs
from .layers import CONDITION, FREQUENCIES, GROUPS, ResidualLayer, averaged_to, noise_embedding
from .network import ProbeNetwork
from .norms import ChannelNorm


class ImageTextNetwork(ProbeNetwork):
    """Network whose stages encode an activation, and whose head compares the result with the text.

    Args:
        activation: channels of the projected activation.
        width: channels of the first stage.
        longest: longer side of the grid to which activations are averaged; smaller ones stay as they are.

    Attributes:
        stages: layers that take the image ``[rows, channels, h, w]`` and the condition; set by the network.
        head: layers from four vectors to the scores; set by the network.
    """

    needs = frozenset({ACTIVATION, TEXT})
    stages: nn.ModuleList
    head: nn.Sequential

    def __init__(self, activation: int, width: int, longest: int):
        super().__init__()
        self.longest = longest
        self.activation_norm = ChannelNorm(activation)
        self.condition = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION)
        )
        self.stem = nn.Conv2d(activation, width, 3, padding=1)

    @abstractmethod
    def vectors(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Encode image and text, ``[rows, vector]`` each."""

    def encoded(self, inputs: Inputs) -> Tensor:
        """Return the mean of the last stage over the image, ``[rows, channels]``."""
        x = self.stem(averaged_to(self.activation_norm(inputs.activation), self.longest))
        condition = self.condition(noise_embedding(inputs.percent.float()))
        for stage in self.stages:
            x = stage(x, condition)
        return x.mean((-2, -1))

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
