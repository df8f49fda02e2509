"""Base of the networks that read a prompt's words, and score how well the features of a row show each of them."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .inputs import SPELLING, Inputs
from .layers import CONDITION, FREQUENCIES, WAVES, AttentionLayer, RelativePositions, noise_embedding, word_order
from .map_features import CENTRE, SUMMARY
from .network import ProbeNetwork
from .norms import ChannelNorm, FeatureNorm


@dataclass(frozen=True)
class WordFeatures:
    """Features of each word of several items, made of its attention maps.

    Attributes:
        summary: statistics and centres of the maps, normalised, ``[items, words, SUMMARY * blocks]``.
        encoded: output of a network that read the maps, ``[items, words, width]``.
        bias: addend to the logits of the word's attention to cells of the image, ``[items, words, attention heads,
            cells]``.
    """

    summary: Tensor
    encoded: Tensor | None = None
    bias: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "WordFeatures":
        """Apply a function to each field that is not None."""
        return WordFeatures(**{name: None if value is None else change(value) for name, value in vars(self).items()})


@dataclass(frozen=True)
class WordSizes:
    """Sizes of a :class:`WordNetwork`.

    Attributes:
        text: channels of a word's embedding; 0: embeddings are not read, so the network fits any text encoder.
        width: of a token, a multiple of ``attention_heads``.
        reading: number of layers among the words alone, before features are added: once per prompt.
        judging: number of layers among the words with their features, and cells of the image where there are some.
        attention_heads: in each layer, an even number.
        spelling: number of signs of the words' spelling that are read, ``SPELLING`` or 0.
    """

    text: int
    width: int
    reading: int
    judging: int
    attention_heads: int
    spelling: int = SPELLING


class WordNetwork(ProbeNetwork):
    """Transformer over a prompt's words: it adds the features of each word, and scores them together.

    Args:
        blocks: number of attention blocks that a word's maps come from.
        heads: number of scores.
        sizes: of the transformer.

    Attributes:
        denoised_norm: norm of x0 predictions and finished latents, of a network that predicts the latter.
    """

    denoised_norm: ChannelNorm

    def __init__(self, blocks: int, heads: int, sizes: WordSizes):
        super().__init__()
        width, attention_heads = sizes.width, sizes.attention_heads
        self.embedding, self.spelling = sizes.text, sizes.spelling
        self.text_norm = nn.LayerNorm(sizes.text) if sizes.text else nn.Identity()
        self.word = nn.Linear(sizes.text + sizes.spelling + 2 * WAVES, width)
        self.lie_norm, self.lie = FeatureNorm(SUMMARY * blocks), nn.Linear(SUMMARY * blocks, width, bias=False)
        self.apart = RelativePositions(width, CENTRE * blocks, attention_heads)
        self.gather = nn.Parameter(torch.zeros(width))
        self.condition = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION)
        )
        self.reading = nn.ModuleList(AttentionLayer(width, attention_heads) for _ in range(sizes.reading))
        self.judging = nn.ModuleList(AttentionLayer(width, attention_heads) for _ in range(sizes.judging))
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, heads)

    @property
    def last_layer(self) -> nn.Linear:
        """Layer that reads the gathered token."""
        return self.score

    @abstractmethod
    def encode_rows(self, inputs: Inputs) -> tuple[WordFeatures, Tensor | None, Tensor | None]:
        """Encode what was captured of rows.

        Returns:
            Features of each row's words; and for a network that reads the image, cells of it ``[rows, width, high,
            wide]`` and a prediction of the finished latent ``[rows, channels, height, width]``, else None.
        """

    def forward(self, inputs: Inputs) -> Tensor:
        """Score rows, ``[rows, heads]`` float32."""
        features, cells, _ = self.encode_rows(inputs)
        return self.score_words(self.encode_words(inputs), inputs, features, cells)

    def encode_words(self, inputs: Inputs) -> Tensor:
        """Encode the words of prompts without any features of images.

        Args:
            inputs: prompts, one a row: text, spelling, present, and the noise level of the features to come.

        Returns:
            ``[prompts, 1 + words, 2, width]``: each word in its context, and by itself. A token that gathers the score
            comes before the first word.
        """
        text = inputs.text
        position = word_order(text.shape[1]).to(text).expand(len(text), -1, -1)
        embedded = self.text_norm(text) if self.embedding else text[..., :0]
        words = self.word(torch.cat([embedded, inputs.spelling[..., : self.spelling], position], -1))
        tokens = single = torch.cat([self.gather.expand(len(words), 1, -1), words], 1)
        condition = self.condition(noise_embedding(inputs.percent.float()))
        for layer in self.reading:
            tokens = layer(tokens, condition, _with_first(inputs.present))
        return torch.stack([tokens, single], 2)

    def score_words(
        self, words: Tensor, inputs: Inputs, features: WordFeatures | None = None, cells: Tensor | None = None
    ) -> Tensor:
        """Score how well features show the words of prompts, ``[items, heads]`` float32.

        Args:
            words: of :meth:`encode_words`, one prompt per item.
            inputs: percent and present words of each item.
            features: of the words of each item, zeros for words without maps. None: the cells alone decide, so that
                any prompt can be scored.
            cells: of some rows of the image, ``[rows, width, high, wide]``; each row's belong to equally many items,
                one row's after another's.
        """
        (tokens, single), bias = words.unbind(2), None
        if features is not None:
            centres = features.summary[..., -self.apart.positions :]
            added = self.lie(features.summary) + self.apart(single[:, 1:], centres, inputs.present)
            added = added if features.encoded is None else added + features.encoded
            tokens = tokens + F.pad(added, (0, 0, 1, 0))
            if features.bias is not None:
                bias = F.pad(features.bias.transpose(1, 2), (0, 0, 1, 0))
        cells = None if cells is None else cells.flatten(2).mT
        condition, present = self.condition(noise_embedding(inputs.percent.float())), _with_first(inputs.present)
        for layer in self.judging:
            tokens = layer(tokens, condition, present, cells, bias)
        weights = present[..., None]
        return self.score(self.norm((tokens * weights).sum(1) / weights.sum(1))).float()


def _with_first(present: Tensor) -> Tensor:
    """Return which tokens are present, the one that gathers the score before the words."""
    return F.pad(present, (1, 0), value=True)
