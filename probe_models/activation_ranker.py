"""Network of the activation probe, one of this pack's own: a ranker on one activation and the text.

After an idea of Probe-Select, whose own network is ``probe_select.py``.

Two stages of a time-conditioned residual block, spatial attention and a strided convolution encode the
image as a vector; the words are encoded as another; a head compares the two.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from .image_text_network import ImageTextNetwork, Stage
from .inputs import Inputs

LONGEST = 16
"""Longer side of the grid on which spatial attention works."""


class ActivationRanker(ImageTextNetwork):
    """Network from activation, text and noise level to one number per head.

    Args:
        blocks: number of attention blocks, whose maps it doesn't read.
        heads: number of scores.
        activation: channels of the projected activation.
        text: channels of a word's embedding.
        widths: channels of the stages, multiples of ``GROUPS``.
        vector: channels of the vectors of image and text.
    """

    def __init__(
        self, blocks: int, heads: int, activation: int, text: int, widths: Sequence[int] = (96, 192), vector: int = 192
    ):
        super().__init__(activation, widths[0], LONGEST)
        self.stages = nn.ModuleList(Stage(width, after) for width, after in zip(widths, [*widths[1:], vector]))
        self.text = nn.Sequential(nn.LayerNorm(text), nn.Linear(text, vector), nn.SiLU(), nn.Linear(vector, vector))
        self.head = nn.Sequential(nn.Linear(4 * vector, vector), nn.SiLU(), nn.Linear(vector, heads))

    def vectors(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Encode image and text, ``[rows, vector]`` each."""
        present = inputs.present[:, :, None]
        words = self.text(inputs.text) * present
        return self.encoded(inputs), words.sum(1) / present.sum(1)
