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

from .attention_cnn import CONDITION, STATISTICS, VIEWS, ResidualLayer, noise_embedding, statistics, views
from .attention_cnn import FREQUENCIES as NOISE_FREQUENCIES
from .features import ACTIVATION, ATTENTION, DENOISED, LATENT, TEXT
from .inputs import SPELLING, Inputs
from .joint_layers import PLACES, Apart, JointLayer, centres, order, places
from .norms import ChannelNorm, FeatureNorm

CENTRE = 2
LIE = STATISTICS + CENTRE
"""Numbers that say how one word's map lies in one block: its statistics and its centre."""

PATCH = 2
"""Side in latent cells of what one image token covers."""


class JointProbe(nn.Module):
    """Inputs → one number per head.

    Args:
        blocks: how many attention blocks a word's maps come from.
        heads: how many numbers it gives.
        latent: channels of the latent.
        activation: channels of the projected activation.
        text: channels of a word's embedding.
        width: of a token, a multiple of ``attention_heads``.
        looking: residual convolutions at the latent's own resolution, of ``channels`` channels: shapes and
            colours are local, and convolutions need not learn that first.
        channels: a multiple of ``GROUPS``.
        seeing: layers among the cells of the image, each of which covers ``PATCH`` by ``PATCH`` of the latent.
        reading: layers among the words alone, which find out what is said of what, once per prompt.
        layers: in which the words look at the cells and at each other.
        attention_heads: in each layer.
        spelling: how much of the words' spelling is read, ``SPELLING`` or 0.
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
        super().__init__()
        self.latent_norm, self.denoised_norm = ChannelNorm(latent), ChannelNorm(latent)
        self.activation_norm = ChannelNorm(activation)
        self.text_norm = nn.LayerNorm(text)
        self.stem = nn.Conv2d(2 * latent + activation, channels, 3, padding=1)
        self.looking = nn.ModuleList(ResidualLayer(channels) for _ in range(looking))
        self.cell = nn.Linear((2 * latent + channels) * PATCH**2 + 4 * PLACES, width)
        self.spelling, self.word = spelling, nn.Linear(text + spelling + 2 * PLACES, width)
        self.lie = nn.Linear(LIE * blocks, width, bias=False)
        self.lie_norm, self.views_norm = FeatureNorm(LIE * blocks), FeatureNorm(VIEWS * blocks)
        self.apart = Apart(width, CENTRE * blocks, attention_heads)
        self.gather = nn.Parameter(torch.zeros(width))
        self.bias = nn.Linear(VIEWS * blocks, attention_heads, bias=False)
        self.condition = nn.Sequential(
            nn.Linear(2 * NOISE_FREQUENCIES, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION)
        )
        self.seeing = nn.ModuleList(JointLayer(width, attention_heads) for _ in range(seeing))
        self.reading = nn.ModuleList(JointLayer(width, attention_heads) for _ in range(reading))
        self.judging = nn.ModuleList(JointLayer(width, attention_heads) for _ in range(layers))
        self.final = nn.Linear(width, latent * PATCH**2)
        self.seen = nn.Linear(latent * PATCH**2, width)
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, heads)

    @property
    def last_layer(self) -> nn.Linear:
        """What gives the scores; their unit can be changed in it."""
        return self.score

    def forward(self, inputs: Inputs) -> Tensor:
        """``[rows, heads]`` float32."""
        cells = self.see(inputs)[0]
        words = self.read(inputs.text, inputs.spelling, inputs.present, inputs.percent)
        return self.judge(cells, words, inputs, self.shown(inputs, cells))

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

    def read(self, text: Tensor, spelling: Tensor, present: Tensor, percent: Tensor) -> Tensor:
        """What prompts ask for, ``[prompts, 1 + words, 2, width]``: what each word means here, and the word itself.

        Before the first one there is a token that gathers the judgement.

        Args:
            text: embeddings of the words, ``[prompts, words, channels]``.
            spelling: of the words, ``[prompts, words, SPELLING]``.
            present: bool ``[prompts, words]``.
            percent: noise level at which they will be asked about, ``[prompts]``.
        """
        place = order(text.shape[1]).to(text).expand(len(text), -1, -1)
        words = self.word(torch.cat([self.text_norm(text), spelling[..., : self.spelling], place], -1))
        tokens = plain = torch.cat([self.gather.expand(len(words), 1, -1), words], 1)
        condition = self.condition(noise_embedding(percent.float()))
        for layer in self.reading:
            tokens = layer(tokens, condition, _with_first(present))
        return torch.stack([tokens, plain], 2)

    def shown(self, inputs: Inputs, cells: Tensor) -> tuple[Tensor, Tensor]:
        """What the captured maps say of each word: how it lies, and which cells speak of it.

        Returns:
            Normalised numbers ``[rows, words, LIE * blocks]``, and what is added to the logits of their attention to
            ``cells``, ``[rows, attention heads, words, cells]``.
        """
        lie, seen = self.of_maps(inputs, cells.shape[-2:])
        return self.lie_norm(lie) * inputs.present[..., None], self.bias(self.views_norm(seen)).movedim(-1, 1)

    @staticmethod
    def of_maps(inputs: Inputs, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """How each word's maps lie, ``[rows, words, LIE * blocks]``, and what each cell of a grid has of them,
        ``[rows, words, cells, VIEWS * blocks]``; not normalised."""
        maps = inputs.maps.float().clamp(min=0) * inputs.present[:, :, None, None, None]
        lie = torch.cat([statistics(maps), centres(maps).flatten(2)], -1)
        on_cells = F.adaptive_avg_pool2d(maps.flatten(0, 1), grid).unflatten(0, maps.shape[:2])
        return lie, views(on_cells).flatten(3).movedim(2, -1)

    def fit_norms(self, inputs: Inputs) -> None:
        """Set what the inputs are normalised by."""
        self.latent_norm.fit(inputs.latent)
        self.denoised_norm.fit(inputs.denoised)
        self.activation_norm.fit(inputs.activation)
        lie, seen = self.of_maps(inputs, inputs.maps.shape[-2:])
        self.lie_norm.fit(lie[inputs.present])
        self.views_norm.fit(seen[inputs.present].flatten(0, 1))

    def judge(self, cells: Tensor, words: Tensor, inputs: Inputs, shown: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """How well cells, of :meth:`see`, show what words, of :meth:`read`, say, ``[items, heads]`` float32.

        Args:
            cells: of some rows.
            words: one prompt per item; as many items for each row, one row's after another's.
            inputs: percent and present words, one per item.
            shown: what :meth:`shown` gives, one per item, zeros for words without maps. None: they are judged by the
                cells alone, so any prompt can be asked about.
        """
        (tokens, plain), bias = words.unbind(2), None
        if shown is not None:
            lie, bias = shown[0], F.pad(shown[1], (0, 0, 1, 0))
            apart = self.apart(plain[:, 1:], lie[..., -self.apart.places :], inputs.present)
            tokens = tokens + F.pad(self.lie(lie) + apart, (0, 0, 1, 0))
        cells = cells.flatten(2).mT
        condition = self.condition(noise_embedding(inputs.percent.float()))
        for layer in self.judging:
            tokens = layer(tokens, condition, _with_first(inputs.present), cells, bias)
        there = _with_first(inputs.present)[..., None]
        return self.score(self.norm((tokens * there).sum(1) / there.sum(1))).float()


def _with_first(present: Tensor) -> Tensor:
    """Which tokens there are, the one that gathers the judgement first."""
    return F.pad(present, (1, 0), value=True)
