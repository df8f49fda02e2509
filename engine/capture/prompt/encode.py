"""Encode a prompt as the stock node does, and say which text positions each of its words has.

Which pieces a text becomes is not computed a second time: ComfyUI's own tokenizer runs once more
with listeners in it, that write down which strings reached the vocabulary's tokenizer and which
embeddings were found. So weights, escapes, embeddings and chunks are whatever ComfyUI makes of them.
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
from ...runs.comfy_versions import found_embedding
from ..taps.tokens import embeddings
from .alignment import BLANK, BYTE_BLANK, WORD_END, piece_words
from .encoders import ENCODERS, Stream

KEY = "diffusion_probe_words"
"""In a conditioning's dict: ``((spelling, positions), …)`` in the order of the text. Plain data, so
that every node that copies or saves a conditioning keeps it."""

MARKER = "\ue000"
"""A text that no template holds."""

Spelled = tuple[tuple[str, tuple[int, ...]], ...]


def encode_words(clip: Any, text: str) -> tuple[list, tuple[Word, ...] | None]:
    """Encode a prompt to a CONDITIONING as CLIP Text Encode does, with word information; return it and the words.

    The words are None, and the conditioning is the stock one, where no entry of ``ENCODERS`` fits.
    """
    conditioning = clip.encode_from_tokens_scheduled(clip.tokenize(text))
    context, entry = conditioning[0]
    llama = entry.get("conditioning_llama3")  # HiDream's second text, whose positions follow
    spelled = _spelled(clip, text, context.shape[1] + (0 if llama is None else llama.shape[2]))
    if spelled is None:
        logging.warning(
            f"Encode Words: {type(clip.cond_stage_model).__name__} is not in the pack's table of text encoders, or its "
            "tokens are not the positions of its context. All text positions count as one."
        )
        return conditioning, None
    return [[context, {**entry, KEY: spelled}] for context, entry in conditioning], numbered(spelled)


def words_of(conds: Sequence[tuple[dict[str, Any], int]]) -> tuple[Word, ...]:
    """Collect the words of several conditioning entries whose text positions follow each other.

    Args:
        conds: the dict of each entry, and how many text positions it has.

    Returns:
        Empty if no entry knows its words. Positions that an entry doesn't have are left out: something cut its text.
    """
    spelled, start = [], 0
    for cond, length in conds:
        for spelling, positions in cond.get(KEY, ()):
            there = [start + position for position in positions if position < length]
            if there:
                spelled.append((spelling, there))
        start += length
    return numbered(spelled)


def context_lengths(conds: Sequence[dict[str, Any]]) -> list[int]:
    """Count the text positions of each conditioning entry, as the guider processed it; 0 for one without text."""
    return [embeddings(cond).shape[1] if cond.get("cross_attn") is not None else 0 for cond in conds]


def text_of(conds: Sequence[tuple[dict[str, Any], int]]) -> Tensor | None:
    """Return the text embeddings of several conditioning entries, ``[rows or 1, tokens, channels]`` float16 on the CPU.

    Args:
        conds: as for :func:`words_of`, processed by the guider.
    """
    contexts = [embeddings(cond)[:, :length] for cond, length in conds if length]
    if not contexts:
        return None
    rows = max(len(context) for context in contexts)
    return halved(torch.cat([context.expand(rows, -1, -1) for context in contexts], 1))


def _spelled(clip: Any, text: str, length: int) -> Spelled | None:
    """Find words and positions of a context of ``length`` positions; None if they can't be known."""
    encoder = next((encoder for encoder in ENCODERS if encoder.fits(clip)), None)
    parts = encoder.parts(clip) if encoder else ()
    if not parts or not all(_readable(getattr(clip.tokenizer, name)) for part in parts for _, name, _ in part):
        return None
    tokens, heard = _heard(clip, text, parts)
    _, template = _heard(clip, MARKER, parts)
    found, start = [], 0
    for part in parts:
        spelled, counts = [], []
        for stream, _, name in part:
            width = getattr(clip.cond_stage_model, name).transformer.get_input_embeddings().weight.shape[-1]
            groups, count = _positions(tokens[stream], width)
            spelled.append(_of_prompt(_words(heard[stream], groups), heard[stream].text, template[stream].text))
            counts.append(count)
        end = min(counts)  # a longer stream is cut
        found += [_moved(words, start, range(start, start + end)) for words in spelled]
        start += end
    missing = start - length
    if missing and not (encoder.cut and missing > 0):
        return None
    return _together([_moved(words, -missing, range(length)) for words in found])


def _moved(words: list[tuple[str, list[int]]], by: int, there: range) -> list[tuple[str, list[int]]]:
    """Move words to other positions, of which some may not be there."""
    moved = [(word, [at + by for at in positions if at + by in there]) for word, positions in words]
    return [(word, positions) for word, positions in moved if positions]


def _heard(clip: Any, text: str, parts: Sequence[Sequence[Stream]]) -> tuple[dict[str, Any], dict[str, "_Listener"]]:
    """Tokenize a text as ComfyUI does, with the numbers of the groups; return the tokens and the listeners."""
    listening = copy.copy(clip)
    listening.tokenizer = copy.copy(clip.tokenizer)
    listeners = {}
    for stream, name, _ in (stream for part in parts for stream in part):
        listeners[stream] = _Listener.beside(getattr(clip.tokenizer, name))
        setattr(listening.tokenizer, name, listeners[stream].tokenizer)
    return listening.tokenize(text, return_word_ids=True), listeners


def _of_prompt(words: list[tuple[str, list[int]]], heard: str, template: str) -> list[tuple[str, list[int]]]:
    """Select those of the words that are not the template's, around the prompt.

    Args:
        words: of all that was heard.
        heard: of a prompt; one that brings its own template is not put into another.
        template: what was heard of the marker.
    """
    before, _, after = template.partition(MARKER)
    if not heard.startswith(before):
        return words
    return words[len(word_spans(before)) : len(words) - len(word_spans(after))]


def _readable(tokenizer: Any) -> bool:
    """Check whether it works as ComfyUI's own does, on pieces that :mod:`alignment` can read."""
    stock = getattr(type(tokenizer), "tokenize_with_weights", None) is SDTokenizer.tokenize_with_weights
    blanks = (BLANK, BYTE_BLANK)
    return stock and any(piece.endswith(WORD_END) or piece.startswith(blanks) for piece in tokenizer.inv_vocab.values())


@dataclass
class _Listener:
    """Record of what one of ComfyUI's tokenizers did, group by group as it numbers them (from 1).

    Attributes:
        tokenizer: a copy of ComfyUI's, that listens.
        groups: a text, or the name of an embedding, and whether it is one.
    """

    tokenizer: SDTokenizer
    groups: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All texts."""
        return "".join(text for text, is_embedding in self.groups if not is_embedding)

    @classmethod
    def beside(cls, tokenizer: SDTokenizer) -> "_Listener":
        listener = cls(copy.copy(tokenizer))

        def vocabulary(text: str, **options: Any) -> Any:
            listener.groups.append((text, False))
            return tokenizer.tokenizer(text, **options)

        def embedding(name: str) -> Any:
            answer = tokenizer._try_get_embedding(name)
            found = found_embedding(answer, name)
            if found is not None:
                listener.groups.append((tokenizer.embedding_identifier + found.strip(","), True))
            return answer

        listener.tokenizer.tokenizer = vocabulary
        listener.tokenizer._try_get_embedding = embedding
        return listener


def _positions(chunks: list[list[tuple]], width: int) -> tuple[dict[int, list[tuple[int, Any]]], int]:
    """Find by group its text positions, each with its token; and how many positions there are.

    An embedding has as many positions as vectors. Vectors of another width than the text encoder's
    are left out by ComfyUI: what follows moves up, and the chunk is filled at its end.
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


def _words(listener: _Listener, groups: dict[int, list[tuple[int, Any]]]) -> list[tuple[str, list[int]]]:
    """List words with positions, in the order of the text."""
    vocabulary = listener.tokenizer.inv_vocab
    bytewise = not any(piece.startswith(BLANK) for piece in vocabulary.values())
    words = []
    for number, (text, is_embedding) in enumerate(listener.groups, start=1):
        positions = [position for position, _ in groups.get(number, ())]
        if is_embedding:
            words += [(text, positions)] if positions else []
            continue
        pieces = [vocabulary[token] for _, token in groups.get(number, ())]
        for spelling, numbers in piece_words(text, pieces, bytewise):
            words.append((spelling, [positions[n] for n in numbers]))
    return words


def _together(found: list[list[tuple[str, list[int]]]]) -> Spelled:
    """Merge the words of encoders that share positions, in the order of the text.

    Their positions differ only after an embedding that is longer for one of them, or made for it
    alone: then a word has the positions of each.
    """
    merged: dict[tuple[str, int], set[int]] = {}
    for words in found:
        seen: Counter[str] = Counter()
        for spelling, positions in words:
            seen[spelling] += 1
            merged.setdefault((spelling, seen[spelling]), set()).update(positions)
    in_order = sorted(merged.items(), key=lambda item: min(item[1]))
    return tuple((spelling, tuple(sorted(positions))) for (spelling, _), positions in in_order)
