"""Tokenizers of prompts for each reward model."""

import functools
import html
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

IMAGE_REWARD_WORDS = 35
CLIP_WORDS = 77
ADDED_WORDS = 2
"""Number of BLIP's extra words [DEC] and [ENC], which have embeddings and are not in BERT's vocabulary."""

ENDS = 2
"""Number of ids that mark the start and the end of a prompt."""

STRAIGHT_QUOTES = str.maketrans("‘’‚‛“”„‟", "''''" + '""""')


class Words(Protocol):
    """Tokenizer of a reward model.

    Attributes:
        most: number of words of a prompt that the model reads.
    """

    most: int

    def __call__(self, prompts: list[str]) -> Tensor:
        """Return ids ``[prompts, words]`` int64."""
        ...

    def count(self, prompt: str) -> int:
        """Return the number of words of a prompt, however long. A word of the vocabulary may be a part of one."""
        ...

    def knows(self, prompt: str) -> bool:
        """Return whether any word of a prompt is in the vocabulary."""
        ...


class BertWords:
    """BERT's WordPiece tokenizer for ImageReward: lower case, cut and padded to 35 ids.

    Args:
        vocabulary: the ``vocab.txt`` of bert-base-uncased.
        embeddings: number of words of the network.

    Raises:
        ValueError: it is another vocabulary.
    """

    def __init__(self, vocabulary: Path, embeddings: int):
        from tokenizers import BertWordPieceTokenizer  # a dependency of transformers, so ComfyUI's

        try:
            words = vocabulary.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            words = []
        missing = [word for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if word not in words]
        if missing or len(words) + ADDED_WORDS != embeddings or words[0] != "[PAD]":
            raise ValueError(
                f"{vocabulary} holds {len(words)} words, and the network wants {embeddings - ADDED_WORDS}, "
                "starting with [PAD]: it is not the vocabulary of bert-base-uncased. Replace it."
            )
        self.tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
        self.tokenizer.enable_truncation(IMAGE_REWARD_WORDS)
        self.tokenizer.enable_padding(length=IMAGE_REWARD_WORDS)

    most = IMAGE_REWARD_WORDS - ENDS

    def __call__(self, prompts: list[str]) -> Tensor:
        """Return ids ``[prompts, 35]`` int64, padded with 0."""
        return torch.tensor([encoded.ids for encoded in self.tokenizer.encode_batch(prompts)])

    def count(self, prompt: str) -> int:
        """Return the number of words of a prompt, however long."""
        encoded = self.tokenizer.encode(prompt)
        words = sum(encoded.attention_mask) - ENDS
        return words + sum(sum(rest.attention_mask) - ENDS for rest in encoded.overflowing)

    def knows(self, prompt: str) -> bool:
        """Return whether any word of a prompt is in the vocabulary."""
        encoded = self.tokenizer.encode(prompt)
        tokens = (token for token, inside in zip(encoded.tokens, encoded.attention_mask) if inside)
        return any(token not in ("[CLS]", "[SEP]", "[UNK]") for token in tokens)


class ClipWords:
    """CLIP's byte-pair tokenizer: padded to 77 ids, a longer prompt is cut before the end token.

    Args:
        clean: whether prompts are first cleaned as OpenAI's CLIP and open_clip do: HTML entities are read and curly
            quotes made straight. open_clip's further repair of wrongly decoded text (ftfy) is left out: well-formed
            prompts don't need it, and ComfyUI doesn't bring the package.
    """

    most = CLIP_WORDS - ENDS

    def __init__(self, clean: bool):
        self.clean = clean

    def __call__(self, prompts: list[str]) -> Tensor:
        """Return ids ``[prompts, 77]`` int64."""
        texts = [self._text(prompt) for prompt in prompts]
        encoded = _clip_tokenizer()(texts, truncation=True, max_length=CLIP_WORDS, padding="max_length")
        return torch.tensor(encoded["input_ids"])

    def count(self, prompt: str) -> int:
        """Return the number of words of a prompt, however long."""
        return len(_clip_tokenizer()(self._text(prompt))["input_ids"]) - ENDS

    def knows(self, prompt: str) -> bool:
        """Return True: the vocabulary has every byte."""
        return True

    def _text(self, prompt: str) -> str:
        if not self.clean:
            return prompt
        return " ".join(html.unescape(html.unescape(prompt.translate(STRAIGHT_QUOTES))).split())


clip_words = ClipWords(clean=False)
"""Tokenizer of transformers' CLIP, for PickScore."""

clean_clip_words = ClipWords(clean=True)
"""Tokenizer of OpenAI's CLIP and open_clip."""


@functools.cache
def _clip_tokenizer() -> Any:
    """Return ComfyUI's tokenizer for CLIP-L, which is the same for ViT-H."""
    import comfy.sd1_clip

    return comfy.sd1_clip.SDTokenizer().tokenizer
