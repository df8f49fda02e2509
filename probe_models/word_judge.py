"""What attention CNN and joint probe have in common: they read a prompt's words and judge how well they show."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .inputs import SPELLING, Inputs
from .layers import CONDITION, FREQUENCIES, PLACES, Apart, AttentionLayer, noise_embedding, order
from .map_features import CENTRE, LIE
from .norms import FeatureNorm


@dataclass(frozen=True)
class Shown:
    """What the captured maps say of each word of an item.

    Attributes:
        lie: how its maps lie, normalised, ``[items, words, LIE * blocks]``.
        seen: what a network made of its maps, ``[items, words, width]``.
        bias: what is added to the logits of its attention to cells, ``[items, words, attention heads, cells]``.
    """

    lie: Tensor
    seen: Tensor | None = None
    bias: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> "Shown":
        """With what is there changed."""
        return Shown(**{name: None if value is None else change(value) for name, value in vars(self).items()})


class WordJudge(nn.Module, ABC):
    """Reads the words of a prompt, and judges by what is shown of each how well the image will be what they say.

    Args:
        blocks: how many attention blocks a word's maps come from.
        heads: how many numbers it gives.
        text: channels of a word's embedding; 0: embeddings are not read, so the network fits any text encoder.
        width: of a token, a multiple of ``attention_heads``.
        reading: layers among the words alone, which find out what is said of what, once per prompt.
        judging: layers among the words that know what is shown, and cells of the image where there are some.
        attention_heads: in each layer, an even number.
        spelling: how much of the words' spelling is read, ``SPELLING`` or 0.
    """

    def __init__(
        self,
        blocks: int,
        heads: int,
        text: int,
        width: int,
        reading: int,
        judging: int,
        attention_heads: int,
        spelling: int = SPELLING,
    ):
        super().__init__()
        self.embedding, self.spelling = text, spelling
        self.text_norm = nn.LayerNorm(text) if text else nn.Identity()
        self.word = nn.Linear(text + spelling + 2 * PLACES, width)
        self.lie_norm, self.lie = FeatureNorm(LIE * blocks), nn.Linear(LIE * blocks, width, bias=False)
        self.apart = Apart(width, CENTRE * blocks, attention_heads)
        self.gather = nn.Parameter(torch.zeros(width))
        self.condition = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION)
        )
        self.reading = nn.ModuleList(AttentionLayer(width, attention_heads) for _ in range(reading))
        self.judging = nn.ModuleList(AttentionLayer(width, attention_heads) for _ in range(judging))
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, heads)

    @property
    def last_layer(self) -> nn.Linear:
        """What gives the scores; their unit can be changed in it."""
        return self.score

    @abstractmethod
    def look(self, inputs: Inputs) -> tuple[Shown, Tensor | None, Tensor | None]:
        """What rows show of each word; and cells and the finished latent that it expects, if it looks at the image."""

    def forward(self, inputs: Inputs) -> Tensor:
        """``[rows, heads]`` float32."""
        shown, cells, _ = self.look(inputs)
        words = self.read(inputs.text, inputs.spelling, inputs.present, inputs.percent)
        return self.judge(words, inputs, shown, cells)

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
        embedded = self.text_norm(text) if self.embedding else text[..., :0]
        words = self.word(torch.cat([embedded, spelling[..., : self.spelling], place], -1))
        tokens = plain = torch.cat([self.gather.expand(len(words), 1, -1), words], 1)
        condition = self.condition(noise_embedding(percent.float()))
        for layer in self.reading:
            tokens = layer(tokens, condition, _with_first(present))
        return torch.stack([tokens, plain], 2)

    def judge(self, words: Tensor, asked: Inputs, shown: Shown | None = None, cells: Tensor | None = None) -> Tensor:
        """How well what is shown fits words of :meth:`read`, ``[items, heads]`` float32.

        Args:
            words: one prompt per item.
            asked: percent and present words, one per item.
            shown: one per item, zeros for words without maps. None: they are judged by the cells alone, so any prompt
                can be asked about.
            cells: of some rows, ``[rows, width, high, wide]``; each row's are looked at by equally many items, one
                row's after another's.
        """
        (tokens, plain), bias = words.unbind(2), None
        if shown is not None:
            told = self.lie(shown.lie) + self.apart(plain[:, 1:], shown.lie[..., -self.apart.places :], asked.present)
            told = told if shown.seen is None else told + shown.seen
            tokens = tokens + F.pad(told, (0, 0, 1, 0))
            if shown.bias is not None:
                bias = F.pad(shown.bias.transpose(1, 2), (0, 0, 1, 0))
        cells = None if cells is None else cells.flatten(2).mT
        condition, present = self.condition(noise_embedding(asked.percent.float())), _with_first(asked.present)
        for layer in self.judging:
            tokens = layer(tokens, condition, present, cells, bias)
        there = present[..., None]
        return self.score(self.norm((tokens * there).sum(1) / there.sum(1))).float()


def _with_first(present: Tensor) -> Tensor:
    """Which tokens there are, the one that gathers the judgement first."""
    return F.pad(present, (1, 0), value=True)
