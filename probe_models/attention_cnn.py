"""Network of the word-map probe, one of this pack's own: a CNN on the cross-attention maps of a prompt's words.

After an idea of the Diffusion Probe paper, whose own network is ``diffusion_probe.py``: maps and noise level →
DownBlocks with residual layers → norm, pooling. Here the CNN reads the maps of each word separately, and a
transformer over the words, which knows their text, combines them into one score.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.core.features import ATTENTION, TEXT
from .inputs import SPELLING, Inputs
from .layers import CONDITION, FREQUENCIES, GROUPS, ResidualLayer, noise_embedding
from .map_features import SUMMARY, VIEWS, maps_of, summary, views
from .norms import ChannelNorm
from .word_network import WordFeatures, WordNetwork, WordSizes

WIDTHS = (48, 96, 192)
LAYERS = 2


class AttentionCNN(WordNetwork):
    """Network from maps of words, which words they are, and the noise level to one number per head.

    Args:
        blocks, heads: see :class:`WordNetwork`.
        text, width, reading, judging, attention_heads, spelling: see :class:`WordSizes`.
        widths: channels of the DownBlocks, multiples of ``GROUPS``; each halves the grid but the last.
        layers: number of residual layers per DownBlock.
    """

    needs = frozenset({ATTENTION, TEXT})

    def __init__(
        self,
        blocks: int,
        heads: int = 1,
        *,
        text: int = 0,
        widths: Sequence[int] = WIDTHS,
        layers: int = LAYERS,
        width: int = 64,
        reading: int = 1,
        judging: int = 2,
        attention_heads: int = 4,
        spelling: int = SPELLING,
    ):
        super().__init__(blocks, heads, WordSizes(text, width, reading, judging, attention_heads, spelling))
        self.map_condition = nn.Sequential(
            nn.Linear(SUMMARY * blocks + 2 * FREQUENCIES, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION)
        )
        self.views_norm = ChannelNorm(VIEWS * blocks)
        self.stem = nn.Conv2d(VIEWS * blocks, widths[0], 3, padding=1)
        following = [*widths[1:], None]
        self.down = nn.ModuleList(DownBlock(channels, layers, after) for channels, after in zip(widths, following))
        self.pooled_norm = nn.GroupNorm(GROUPS, widths[-1])
        self.pooled = nn.Linear(2 * widths[-1], width)

    def fit_norms(self, inputs: Inputs) -> None:
        """Set the norms of maps and summaries from training inputs, as both differ little from image to image."""
        maps = maps_of(inputs)
        self.lie_norm.fit(summary(maps)[inputs.present])
        self.views_norm.fit(views(maps)[inputs.present])

    def encode_rows(self, inputs: Inputs) -> tuple[WordFeatures, None, None]:
        """Encode the maps of each word; there are no cells of the image."""
        maps, present = maps_of(inputs), inputs.present
        summaries = self.lie_norm(summary(maps)) * present[..., None]
        level = noise_embedding(inputs.percent.float())[:, None].expand(-1, present.shape[1], -1)
        condition = self.map_condition(torch.cat([summaries, level], -1)).flatten(0, 1)
        x = self.stem(self.views_norm(views(maps).flatten(0, 1)))
        for block in self.down:
            x = block(x, condition)
        x = F.silu(self.pooled_norm(x))
        encoded = self.pooled(torch.cat([x.mean((-2, -1)), x.amax((-2, -1))], -1)).unflatten(0, present.shape)
        return WordFeatures(summaries, encoded * present[..., None]), None, None


class DownBlock(nn.Module):
    """Residual layers, then half the grid with ``after`` channels; None: the grid stays."""

    def __init__(self, width: int, layers: int, after: int | None):
        super().__init__()
        self.layers = nn.ModuleList(ResidualLayer(width) for _ in range(layers))
        self.smaller = nn.Identity() if after is None else nn.Conv2d(width, after, 3, padding=1)
        self.halves = after is not None

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Compute ``[items, width, h, w]``, ``[items, CONDITION]`` → ``[items, after, ⌈h/2⌉, ⌈w/2⌉]``."""
        for layer in self.layers:
            x = layer(x, condition)
        return self.smaller(F.avg_pool2d(x, 2, ceil_mode=True) if self.halves else x)
