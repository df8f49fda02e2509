"""The joint probe: attention, activation, noisy latent and x0 prediction of a row, read together.

Two small transformers. The first *sees*: from latents and activation it makes tokens of what the image
is going to be, cell by cell. The second *judges* how well they show the words of the prompt; the captured
attention maps say, as a bias of its own attention, which cells speak of which word. The noise level
conditions every layer, so one network serves every moment. No published system reads all of these; the
parts are from Diffusion Probe (maps of words, section 3.3) and Probe-Select (an activation and the
text, section 3).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.core.features import ACTIVATION, ATTENTION, DENOISED, LATENT, TEXT
from .inputs import SPELLING, Inputs
from .layers import PLACES, AttentionLayer, ResidualLayer, noise_embedding, places
from .map_features import VIEWS, lie, maps_of, views
from .norms import ChannelNorm, FeatureNorm
from .word_judge import Shown, WordJudge

PATCH = 2
"""Side in latent cells of what one image token covers."""


class JointProbe(WordJudge):
    """Inputs → one number per head.

    Args:
        blocks, heads, text, width, reading, attention_heads, spelling: see :class:`WordJudge`.
        latent: channels of the latent.
        activation: channels of the projected activation.
        looking: residual convolutions at the latent's own resolution, of ``channels`` channels: shapes and
            colours are local, and convolutions need not learn that first.
        channels: a multiple of ``GROUPS``.
        seeing: layers among the cells of the image, each of which covers ``PATCH`` by ``PATCH`` of the latent.
        layers: in which the words look at the cells and at each other.
    """

    needs = frozenset({ATTENTION, ACTIVATION, LATENT, DENOISED, TEXT})

    def __init__(
        self,
        blocks: int,
        heads: int,
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
        super().__init__(blocks, heads, text, width, reading, layers, attention_heads, spelling)
        self.latent_norm, self.denoised_norm = ChannelNorm(latent), ChannelNorm(latent)
        self.activation_norm = ChannelNorm(activation)
        self.stem = nn.Conv2d(2 * latent + activation, channels, 3, padding=1)
        self.looking = nn.ModuleList(ResidualLayer(channels) for _ in range(looking))
        self.cell = nn.Linear((2 * latent + channels) * PATCH**2 + 4 * PLACES, width)
        self.views_norm = FeatureNorm(VIEWS * blocks)
        self.bias = nn.Linear(VIEWS * blocks, attention_heads, bias=False)
        self.seeing = nn.ModuleList(AttentionLayer(width, attention_heads) for _ in range(seeing))
        self.final = nn.Linear(width, latent * PATCH**2)
        self.seen = nn.Linear(latent * PATCH**2, width)

    def look(self, inputs: Inputs) -> tuple[Shown, Tensor, Tensor]:
        """What rows show of each word, their cells, and the finished latent."""
        cells, final = self.see(inputs)
        return self.shown(inputs, cells), cells, final

    def see(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """What the image is going to be.

        Returns:
            Cells ``[rows, width, high, wide]``, and the finished latent that they stand for, normalised
            as ``denoised_norm`` does it, ``[rows, channels, height, width]``. That one is learnt beside
            the score because it says at every place what the score says in one number.
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
        place = places(*grid).to(patches).expand(len(patches), -1, -1, -1)
        cells = self.cell(torch.cat([patches, place], 1).flatten(2).mT)
        for layer in self.seeing:
            cells = layer(cells, condition)
        change = self.final(cells)
        final = change + F.pixel_unshuffle(F.pad(denoised, odd, mode="replicate"), PATCH).flatten(2).mT
        image = F.pixel_shuffle(final.mT.unflatten(-1, grid), PATCH)
        height, width = inputs.denoised.shape[-2:]
        return (cells + self.seen(final)).mT.unflatten(-1, grid), image[..., :height, :width].float()

    def shown(self, inputs: Inputs, cells: Tensor) -> Shown:
        """What the captured maps say of each word: how it lies, and which of the cells speak of it."""
        lies, seen = self.of_maps(inputs, cells.shape[-2:])
        return Shown(self.lie_norm(lies) * inputs.present[..., None], bias=self.bias(self.views_norm(seen)).mT)

    @staticmethod
    def of_maps(inputs: Inputs, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """How each word's maps lie, ``[rows, words, LIE * blocks]``, and what each cell of a grid has of them,
        ``[rows, words, cells, VIEWS * blocks]``; not normalised."""
        maps = maps_of(inputs)
        on_cells = F.adaptive_avg_pool2d(maps.flatten(0, 1), grid).unflatten(0, maps.shape[:2])
        return lie(maps), views(on_cells).flatten(3).movedim(2, -1)

    def fit_norms(self, inputs: Inputs) -> None:
        """Set what the inputs are normalised by."""
        self.latent_norm.fit(inputs.latent)
        self.denoised_norm.fit(inputs.denoised)
        self.activation_norm.fit(inputs.activation)
        lies, seen = self.of_maps(inputs, inputs.maps.shape[-2:])
        self.lie_norm.fit(lies[inputs.present])
        self.views_norm.fit(seen[inputs.present].flatten(0, 1))
