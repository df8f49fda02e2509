"""Tokenizers of prompts for each reward model."""

import functools
import html
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

IMAGE_REWARD_WORDS = 35
CLIP_WORDS = 77
ADDED_WORDS = 2
"""Number of BLIP's extra words [DEC] and [ENC], which have embeddings and are not in BERT's vocabulary."""

STRAIGHT_QUOTES = str.maketrans("‘’‚‛“”„‟", "''''" + '""""')


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

    def __call__(self, prompts: list[str]) -> Tensor:
        """Return ids ``[prompts, 35]`` int64, padded with 0."""
        return torch.tensor([encoded.ids for encoded in self.tokenizer.encode_batch(prompts)])


def clip_words(prompts: list[str]) -> Tensor:
    """Return CLIP's byte-pair ids ``[prompts, 77]`` int64; a longer prompt is cut before the end token."""
    encoded = _clip_tokenizer()(prompts, truncation=True, max_length=CLIP_WORDS, padding="max_length")
    return torch.tensor(encoded["input_ids"])


def clean_clip_words(prompts: list[str]) -> Tensor:
    """Return ids as :func:`clip_words`, after the cleaning of OpenAI's CLIP and open_clip.

    HTML entities are read and curly quotes made straight. open_clip's further repair of wrongly decoded text
    (ftfy) is left out: well-formed prompts don't need it, and ComfyUI doesn't bring the package.
    """
    texts = (html.unescape(html.unescape(prompt.translate(STRAIGHT_QUOTES))) for prompt in prompts)
    return clip_words([" ".join(text.split()) for text in texts])


@functools.cache
def _clip_tokenizer() -> Any:
    """Return ComfyUI's tokenizer for CLIP-L, which is the same for ViT-H."""
    import comfy.sd1_clip

    return comfy.sd1_clip.SDTokenizer().tokenizer
