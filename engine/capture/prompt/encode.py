"""Encoding of a prompt as the stock node does it, with the text positions of each of its words.

The pieces of a text are not computed again: ComfyUI's own tokenizer runs once more with hooks that note the strings
that reach the vocabulary's tokenizer and the embeddings that are loaded. So weights, escapes, embeddings and chunks
are those of ComfyUI.
"""

import copy
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from comfy.sd1_clip import SDTokenizer
from torch import Tensor

from ...core.features import halved
from ...core.prompt_words import Word, numbered, word_spans
from ...runs.comfy_versions import embedding_name
from ..hooks.tokens import embeddings
from .alignment import BLANK, BYTE_BLANK, WORD_END, piece_words
from .encoders import ENCODERS, Stream
from .sampled_text import KEY as TEXT_KEY

KEY = "diffusion_probe_words"
"""Key in a conditioning's dict of ``((spelling, positions), …)`` in the order of the text. Plain data, so that every
node that copies or saves a conditioning keeps it."""

MOST_TEXTS = 16
"""Texts that a search keeps at a time: those of its wordings, at two conditionings each."""

MARKER = "\ue000"
"""Text that no template contains."""

Spelled = tuple[tuple[str, tuple[int, ...]], ...]


def encode_words(clip: Any, text: str) -> tuple[list, tuple[Word, ...] | None]:
    """Encode a prompt as the stock node does, and return the CONDITIONING, which also holds its text, and the words.

    The words are None, and the conditioning has no word information, where no entry of ``ENCODERS`` fits.
    """
    encoded = clip.encode_from_tokens_scheduled(clip.tokenize(text))
    conditioning = [[context, {**entry, TEXT_KEY: text}] for context, entry in encoded]
    context, entry = conditioning[0]
    llama = entry.get("conditioning_llama3")  # HiDream's second text, whose positions follow
    spelled = _spelled(clip, text, context.shape[1] + (0 if llama is None else llama.shape[2]))
    if spelled is None:
        logging.warning(
            f"Diffusion Probe: {type(clip.cond_stage_model).__name__} is not in the pack's table of text encoders, or "
            "its tokens are not the positions of its context. All text positions count as one."
        )
        return conditioning, None
    return [[context, {**entry, KEY: spelled}] for context, entry in conditioning], numbered(spelled)


def words_of(conds: Sequence[tuple[dict[str, Any], int]]) -> tuple[Word, ...]:
    """Return the words of several conditioning entries whose text positions follow each other.

    Args:
        conds: the dict of each entry, and its number of text positions.

    Returns:
        Empty if no entry has word information. Positions that an entry doesn't have, because its text was cut, are
        left out.
    """
    spelled, start = [], 0
    for cond, length in conds:
        for spelling, positions in cond.get(KEY, ()):
            present = [start + position for position in positions if position < length]
            if present:
                spelled.append((spelling, present))
        start += length
    return numbered(spelled)


def context_lengths(conds: Sequence[dict[str, Any]]) -> list[int]:
    """Return the number of text positions of each entry that the guider processed; 0 for one without text."""
    return [embeddings(cond).shape[1] if cond.get("cross_attn") is not None else 0 for cond in conds]


def text_of(conds: Sequence[tuple[dict[str, Any], int]]) -> Tensor | None:
    """Return the text embeddings of several conditioning entries.

    Args:
        conds: as for :func:`words_of`, processed by the guider.

    Returns:
        ``[rows or 1, tokens, channels]`` float16 on the device; None without text.
    """
    contexts = [embeddings(cond)[:, :length] for cond, length in conds if length]
    if not contexts:
        return None
    rows = max(len(context) for context in contexts)
    return halved(torch.cat([context.expand(rows, -1, -1) for context in contexts], 1))


class SharedTexts:
    """Text embeddings of the conditionings of one run or one search, kept once for all evaluations and candidates."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[Any, Tensor | None]] = {}

    def of(self, conds: Sequence[tuple[dict[str, Any], int]]) -> Tensor | None:
        """Return :func:`text_of` conditioning entries: for the same tensors the same result."""
        contexts = [(embeddings(cond), length) for cond, length in conds if length]
        key = tuple((id(context), length) for context, length in contexts)
        if key not in self._known:
            if len(self._known) >= MOST_TEXTS:
                self._known.clear()
            self._known[key] = contexts, text_of(conds)
        return self._known[key][1]


def _spelled(clip: Any, text: str, length: int) -> Spelled | None:
    """Return the words and positions of a context of ``length`` positions; None if they can't be known."""
    encoder = next((encoder for encoder in ENCODERS if encoder.fits(clip)), None)
    segments = encoder.segments(clip) if encoder else ()
    streams = [stream for segment in segments for stream in segment]
    if not streams or not all(_readable(getattr(clip.tokenizer, name)) for _, name, _ in streams):
        return None
    tokens, logs = _tokenize(clip, text, streams)
    _, templates = _tokenize(clip, MARKER, streams)
    all_words, start = [], 0
    for segment in segments:
        spelled, counts = [], []
        for stream, _, name in segment:
            width = getattr(clip.cond_stage_model, name).transformer.get_input_embeddings().weight.shape[-1]
            groups, count = _positions(tokens[stream], width)
            spelled.append(_of_prompt(_words(logs[stream], groups), logs[stream].text, templates[stream].text))
            counts.append(count)
        end = min(counts)  # a longer stream is cut
        all_words += [_moved(words, start, range(start, start + end)) for words in spelled]
        start += end
    missing = start - length
    if missing and not (encoder.cut and missing > 0):
        return None
    return _merged([_moved(words, -missing, range(length)) for words in all_words])


def _moved(words: list[tuple[str, list[int]]], by: int, present: range) -> list[tuple[str, list[int]]]:
    """Shift the positions of words, and leave out positions that are not ``present``."""
    moved = [(word, [at + by for at in positions if at + by in present]) for word, positions in words]
    return [(word, positions) for word, positions in moved if positions]


def _tokenize(clip: Any, text: str, streams: Sequence[Stream]) -> tuple[dict[str, Any], dict[str, "_TokenizerLog"]]:
    """Return ComfyUI's tokens of a text, with the numbers of their groups, and a log of each stream's tokenizer."""
    logged = copy.copy(clip)
    logged.tokenizer = copy.copy(clip.tokenizer)
    logs = {}
    for stream, name, _ in streams:
        logs[stream] = _TokenizerLog.of(getattr(clip.tokenizer, name))
        setattr(logged.tokenizer, name, logs[stream].tokenizer)
    return logged.tokenize(text, return_word_ids=True), logs


def _of_prompt(words: list[tuple[str, list[int]]], text: str, template: str) -> list[tuple[str, list[int]]]:
    """Return the words that are not those of the template around the prompt.

    Args:
        words: of the whole text.
        text: all that reached the tokenizer; a prompt with its own template is not put into another.
        template: the same for the marker.
    """
    before, _, after = template.partition(MARKER)
    if not text.startswith(before):
        return words
    return words[len(word_spans(before)) : len(words) - len(word_spans(after))]


def _readable(tokenizer: Any) -> bool:
    """Return whether a tokenizer works as ComfyUI's own, with pieces that :mod:`alignment` can read."""
    stock = getattr(type(tokenizer), "tokenize_with_weights", None) is SDTokenizer.tokenize_with_weights
    blanks = (BLANK, BYTE_BLANK)
    return stock and any(piece.endswith(WORD_END) or piece.startswith(blanks) for piece in tokenizer.inv_vocab.values())


@dataclass
class _TokenizerLog:
    """Log of one of ComfyUI's tokenizers, group by group as it numbers them (from 1).

    Attributes:
        tokenizer: a copy of ComfyUI's with hooks.
        groups: a text, or the name of an embedding, and whether it is an embedding.
    """

    tokenizer: SDTokenizer
    groups: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Texts of all groups but embeddings."""
        return "".join(text for text, is_embedding in self.groups if not is_embedding)

    @classmethod
    def of(cls, tokenizer: SDTokenizer) -> "_TokenizerLog":
        """Return an empty log with a hooked copy of a tokenizer."""
        log = cls(copy.copy(tokenizer))

        def vocabulary(text: str, **options: Any) -> Any:
            log.groups.append((text, False))
            return tokenizer.tokenizer(text, **options)

        def embedding(name: str) -> Any:
            answer = tokenizer._try_get_embedding(name)
            loaded = embedding_name(answer, name)
            if loaded is not None:
                log.groups.append((tokenizer.embedding_identifier + loaded.strip(","), True))
            return answer

        log.tokenizer.tokenizer = vocabulary
        log.tokenizer._try_get_embedding = embedding
        return log


def _positions(chunks: list[list[tuple]], width: int) -> tuple[dict[int, list[tuple[int, Any]]], int]:
    """Return the text positions of each group, each with its token, and the number of positions.

    An embedding has as many positions as vectors. ComfyUI leaves out vectors of another width than the text
    encoder's: the following tokens move up, and the chunk is filled at its end.
    """
    groups: dict[int, list[tuple[int, Any]]] = {}
    start = 0
    for chunk in chunks:
        at = start
        for token, _, group in chunk:
            vectors = token.numel() // token.shape[-1] if isinstance(token, Tensor) else 1
            start += vectors
            if isinstance(token, Tensor) and token.shape[-1] != width:
                continue
            if group:
                groups.setdefault(group, []).extend((at + n, token) for n in range(vectors))
            at += vectors
    return groups, start


def _words(log: _TokenizerLog, groups: dict[int, list[tuple[int, Any]]]) -> list[tuple[str, list[int]]]:
    """Return words with positions, in the order of the text."""
    vocabulary = log.tokenizer.inv_vocab
    bytewise = not any(piece.startswith(BLANK) for piece in vocabulary.values())
    words = []
    for number, (text, is_embedding) in enumerate(log.groups, start=1):
        positions = [position for position, _ in groups.get(number, ())]
        if is_embedding:
            words += [(text, positions)] if positions else []
            continue
        pieces = [vocabulary[token] for _, token in groups.get(number, ())]
        for spelling, numbers in piece_words(text, pieces, bytewise):
            words.append((spelling, [positions[n] for n in numbers]))
    return words


def _merged(of_streams: list[list[tuple[str, list[int]]]]) -> Spelled:
    """Merge the words of streams that share positions, in the order of the text.

    Their positions differ only after an embedding that is longer for one of them, or made for it
    alone: then a word has the positions of each.
    """
    merged: dict[tuple[str, int], set[int]] = {}
    for words in of_streams:
        counts: Counter[str] = Counter()
        for spelling, positions in words:
            counts[spelling] += 1
            merged.setdefault((spelling, counts[spelling]), set()).update(positions)
    in_order = sorted(merged.items(), key=lambda item: min(item[1]))
    return tuple((spelling, tuple(sorted(positions))) for (spelling, _), positions in in_order)
