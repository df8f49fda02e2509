"""Network of the Probe-Select paper (arXiv 2603.02829): a ranker on one early activation and the prompt's embedding.

Stated are the input (48 channels at 48 × 48, text embedding, time), two stages of a time-conditioned residual block,
spatial attention and a strided convolution with 128 and 256 channels, vectors of 256 numbers for image and text, a head
on both, their product and their difference, and about 6.1 M parameters. Widths inside of the text's and the head's
layers are not; they are arguments here, whose defaults give that size for FLUX's text encoder.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from .image_text_network import ImageTextNetwork, Stage
from .inputs import Inputs


class ProbeSelectNetwork(ImageTextNetwork):
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
        super().__init__(activation, widths[0], longest)
        befores = [widths[0], *widths[:-1]]
        self.stages = nn.ModuleList(SelectStage(before, width) for before, width in zip(befores, widths))
        self.image = nn.Linear(widths[-1], vector)
        self.text = nn.Sequential(nn.LayerNorm(text), nn.Linear(text, hidden), nn.SiLU(), nn.Linear(hidden, vector))
        self.head = nn.Sequential(nn.Linear(4 * vector, comparing), nn.SiLU(), nn.Linear(comparing, heads))

    def vectors(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Encode image and text, ``[rows, vector]`` each."""
        present = inputs.present[:, :, None]
        text = (inputs.text * present).sum(1) / present.sum(1)
        return self.image(self.encoded(inputs)), self.text(text)


class SelectStage(Stage):
    """A stage that begins with a convolution to its width, where its input has another."""

    def __init__(self, before: int, width: int):
        super().__init__(width, width)
        self.widen = nn.Conv2d(before, width, 1) if before != width else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Compute ``[rows, before, h, w]`` → ``[rows, width, ⌈h/2⌉, ⌈w/2⌉]``."""
        return super().forward(self.widen(x), condition)
