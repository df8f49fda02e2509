"""The joint probe: attention, activation, noisy latent and x0 prediction of a row, read by one network.

It consists of two small transformers. The first makes tokens of the image to come, one per cell, of latents and
activation. The second scores how well these show the words of the prompt; the captured attention maps are a bias of its
own attention, and say which cells belong to which word. The noise level conditions every layer, so one network serves
every moment. No published system reads all of these features; the components are from Diffusion Probe (maps of words,
section 3.3) and Probe-Select (an activation and the text, section 3).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.core.features import ACTIVATION, ATTENTION, DENOISED, LATENT, TEXT
from .inputs import SPELLING, Inputs
from .layers import WAVES, AttentionLayer, ResidualLayer, cell_positions, noise_embedding
from .map_features import VIEWS, maps_of, summary, views
from .norms import ChannelNorm, FeatureNorm
from .word_network import WordFeatures, WordNetwork, WordSizes

PATCH = 2
"""Side of an image token's cell, in pixels of the latent."""


class JointProbe(WordNetwork):
    """Network from all features to one number per head.

    Args:
        blocks, heads: see :class:`WordNetwork`.
        text, width, reading, attention_heads, spelling: see :class:`WordSizes`.
        latent: channels of the latent.
        activation: channels of the projected activation.
        looking: number of residual convolutions at the latent's own resolution, of ``channels`` channels: shapes
            and colours are local, and convolutions need not learn that first.
        channels: of the convolutions, a multiple of ``GROUPS``.
        seeing: number of layers among the cells of the image, each of ``PATCH`` by ``PATCH`` pixels of the latent.
        layers: number of layers in which the words attend to the cells and to each other.
    """

    needs = frozenset({ATTENTION, ACTIVATION, LATENT, DENOISED, TEXT})

    def __init__(
        self,
        blocks: int,
        heads: int,
        *,
        latent: int,
        activation: int,
        text: int,
        width: int = 128,
        looking: int = 3,
        channels: int = 64,
        seeing: int = 2,
        reading: int = 2,
        layers: int = 3,
        attention_heads: int = 4,
        spelling: int = SPELLING,
    ):
        super().__init__(blocks, heads, WordSizes(text, width, reading, layers, attention_heads, spelling))
        self.latent_norm, self.denoised_norm = ChannelNorm(latent), ChannelNorm(latent)
        self.activation_norm = ChannelNorm(activation)
        self.stem = nn.Conv2d(2 * latent + activation, channels, 3, padding=1)
        self.looking = nn.ModuleList(ResidualLayer(channels) for _ in range(looking))
        self.cell = nn.Linear((2 * latent + channels) * PATCH**2 + 4 * WAVES, width)
        self.views_norm = FeatureNorm(VIEWS * blocks)
        self.bias = nn.Linear(VIEWS * blocks, attention_heads, bias=False)
        self.seeing = nn.ModuleList(AttentionLayer(width, attention_heads) for _ in range(seeing))
        self.final = nn.Linear(width, latent * PATCH**2)
        self.seen = nn.Linear(latent * PATCH**2, width)

    def encode_rows(self, inputs: Inputs) -> tuple[WordFeatures, Tensor, Tensor]:
        """Encode rows: features of each word, cells of the image, and the finished latent; see :meth:`encode_image`."""
        cells, final = self.encode_image(inputs)
        return self.word_features(inputs, cells), cells, final

    def encode_image(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Encode the image to come.

        Returns:
            Cells ``[rows, width, high, wide]``, and the finished latent that they stand for, normalised
            as ``denoised_norm`` does it, ``[rows, channels, height, width]``. The finished latent is learnt beside
            the score because it says at every pixel what the score says in one number.
        """
        noisy, denoised = self.latent_norm(inputs.latent), self.denoised_norm(inputs.denoised)
        odd = (0, denoised.shape[-1] % PATCH, 0, denoised.shape[-2] % PATCH)
        latents = F.pad(torch.cat([noisy, denoised], 1), odd, mode="replicate")
        condition = self.condition(noise_embedding(inputs.percent.float()))
        activation = F.interpolate(self.activation_norm(inputs.activation), latents.shape[-2:], mode="nearest-exact")
        x = self.stem(torch.cat([latents, activation], 1))
        for layer in self.looking:
            x = layer(x, condition)
        patches = F.pixel_unshuffle(torch.cat([latents, x], 1), PATCH)
        grid = patches.shape[-2:]
        position = cell_positions(*grid).to(patches).expand(len(patches), -1, -1, -1)
        cells = self.cell(torch.cat([patches, position], 1).flatten(2).mT)
        for layer in self.seeing:
            cells = layer(cells, condition)
        change = self.final(cells)
        final = change + F.pixel_unshuffle(F.pad(denoised, odd, mode="replicate"), PATCH).flatten(2).mT
        image = F.pixel_shuffle(final.mT.unflatten(-1, grid), PATCH)
        height, width = inputs.denoised.shape[-2:]
        return (cells + self.seen(final)).mT.unflatten(-1, grid), image[..., :height, :width].float()

    def word_features(self, inputs: Inputs, cells: Tensor) -> WordFeatures:
        """Make the features of each word from its maps: a summary, and a bias that says which cells belong to it."""
        summaries, on_cells = self.map_features(inputs, cells.shape[-2:])
        return WordFeatures(
            self.lie_norm(summaries) * inputs.present[..., None], bias=self.bias(self.views_norm(on_cells)).mT
        )

    @staticmethod
    def map_features(inputs: Inputs, grid: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Compute a summary of each word's maps and their values on each cell of a grid, both not normalised.

        Returns:
            ``[rows, words, SUMMARY * blocks]``, and ``[rows, words, cells, VIEWS * blocks]``.
        """
        maps = maps_of(inputs)
        high, wide = grid
        on_cells = F.adaptive_avg_pool2d(maps.flatten(0, 1), (high, wide)).unflatten(0, maps.shape[:2])
        return summary(maps), views(on_cells).flatten(3).movedim(2, -1)

    def fit_norms(self, inputs: Inputs) -> None:
        """Set the norms of all inputs from training inputs."""
        self.latent_norm.fit(inputs.latent)
        self.denoised_norm.fit(inputs.denoised)
        self.activation_norm.fit(inputs.activation)
        summaries, on_cells = self.map_features(inputs, inputs.maps.shape[-2:])
        self.lie_norm.fit(summaries[inputs.present])
        self.views_norm.fit(on_cells[inputs.present].flatten(0, 1))
