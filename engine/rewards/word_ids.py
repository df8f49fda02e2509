"""Prompts → word ids, as each reward model was trained to read them."""

import functools
import html
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

IMAGE_REWARD_WORDS = 35
CLIP_WORDS = 77
ADDED_WORDS = 2
"""BLIP's [DEC] and [ENC], which its embedding has rows for and a BERT vocabulary doesn't hold."""

STRAIGHT_QUOTES = str.maketrans("‘’‚‛“”„‟", "''''" + '""""')


class BertWords:
    """BERT's WordPiece, lower case, cut and padded to 35 ids: what ImageReward reads.

    Args:
        vocabulary: the ``vocab.txt`` of bert-base-uncased.
        embeddings: how many words the network knows.

    Raises:
        ValueError: the vocabulary is another one.
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
        """Tokenize to ``[prompts, 35]`` int64, padded with 0."""
        return torch.tensor([encoded.ids for encoded in self.tokenizer.encode_batch(prompts)])


def clip_words(prompts: list[str]) -> Tensor:
    """Tokenize to CLIP's byte-pair ids ``[prompts, 77]`` int64; a longer prompt is cut and ends with the end token."""
    encoded = _clip_tokenizer()(prompts, truncation=True, max_length=CLIP_WORDS, padding="max_length")
    return torch.tensor(encoded["input_ids"])


def clean_clip_words(prompts: list[str]) -> Tensor:
    """Tokenize as :func:`clip_words`, after the cleaning that OpenAI's CLIP and open_clip do.

    HTML entities are read and curly quotes made straight. open_clip's further repair of wrongly decoded text
    (ftfy) is left out: well-formed prompts don't need it, and ComfyUI doesn't bring the package.
    """
    texts = (html.unescape(html.unescape(prompt.translate(STRAIGHT_QUOTES))) for prompt in prompts)
    return clip_words([" ".join(text.split()) for text in texts])


@functools.cache
def _clip_tokenizer() -> Any:
    """Load the tokenizer that ComfyUI brings for CLIP-L. It is the same for ViT-H."""
    import comfy.sd1_clip

    return comfy.sd1_clip.SDTokenizer().tokenizer
