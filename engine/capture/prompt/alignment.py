"""Alignment of a tokenizer's pieces with the words of a text. Pure text: nothing of ComfyUI or torch.

Pieces and text are compared character by character in a form in which upper and lower case,
composed and decomposed accents and full-width letters are the same, and blanks don't count, because
tokenizers change these. Remaining differences (a piece for an unknown character, characters that a tokenizer
drops or replaces) are bridged between the nearest characters that agree.

Offsets of tokenizers would not replace this: with transformers 4, which ComfyUI accepts, CLIP's and Qwen's give none,
and ComfyUI's own SentencePiece tokenizers (umT5, Gemma) give none with any version.
"""

import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from ...core.prompt_words import word_spans

WORD_END = "</w>"
"""CLIP's mark at the end of a word."""

BLANK = "\u2581"
"""SentencePiece's mark for a blank."""

BYTE_BLANK = "\u0120"
"""Blank in vocabularies of bytes."""

AGREE = 3
"""Number of characters that have to agree, or all that are left, for text and pieces to be aligned again."""

MOST_BRIDGED = 2**18
"""Largest product of characters and pieces between two aligned positions up to which all pieces count for all
characters. Where more of a text is unknown to a tokenizer, it can't be known which piece spells which character."""

BYTE_PIECE = re.compile("<0x[0-9A-F]{2}>")
"""Pattern of SentencePiece's piece for one byte of a character without a piece."""

UNKNOWN = "<unk>"
UNKNOWN_CHARACTER = "\ufffd"

Owned = tuple[str, frozenset[int]]
"""Character and the numbers of its owners: characters of the text, or pieces."""


def piece_words(text: str, pieces: Sequence[str], bytewise: bool) -> list[tuple[str, list[int]]]:
    """Return each word of a text with the numbers of the pieces that spell it, words without a piece left out.

    Args:
        text: the tokenizer's input.
        pieces: its output, as in its vocabulary, without start and end.
        bytewise: whether these are pieces of bytes, as CLIP's, Qwen's and Llama's; False: SentencePiece's.
    """
    owners = _owners(text, _bytes_spelled(pieces) if bytewise else _characters_spelled(pieces))
    words = []
    for start, end in word_spans(text):
        spelling = sorted({piece for position in range(start, end) for piece in owners[position]})
        if spelling:
            words.append((text[start:end], spelling))
    return words


def _owners(text: str, spelled: list[Owned]) -> list[set[int]]:
    """Return, for each character of the text, the pieces that spell it."""
    owners: list[set[int]] = [set() for _ in text]
    written = _folded((character, frozenset({at})) for at, character in enumerate(text))
    spelled = _folded(spelled)
    for in_text, in_pieces in _agreement("".join(c for c, _ in written), "".join(c for c, _ in spelled)):
        pieces = frozenset().union(*(numbers for _, numbers in spelled[in_pieces]))
        if (in_text.stop - in_text.start) * len(pieces) > MOST_BRIDGED:
            continue
        for _, positions in written[in_text]:
            for position in positions:
                owners[position] |= pieces
    return owners


def _agreement(written: str, spelled: str) -> Iterator[tuple[slice, slice]]:
    """Yield ranges of both texts that belong together, from the start to the end of both."""
    positions: dict[str, list[int]] = defaultdict(list)
    ends = written + " " * AGREE, spelled + " " * AGREE  # neither holds blanks
    for at in range(len(spelled) + 1):
        positions[ends[1][at : at + AGREE]].append(at)
    here = there = 0
    while here < len(written):
        skip = (1, 1)
        if ends[0][here] != ends[1][there] and ends[0][here + 1] != ends[1][min(there + 1, len(spelled))]:
            skip = _to_agreement(ends[0][here:], positions, there)
        yield slice(here, here + skip[0]), slice(there, there + skip[1])
        here, there = here + skip[0], there + skip[1]


def _to_agreement(written: str, positions: dict[str, list[int]], there: int) -> tuple[int, int]:
    """Return the number of characters of each to skip, the fewest possible, until both agree again."""
    best = None
    for ahead in range(len(written) - AGREE + 1):
        if best and ahead >= sum(best):
            break
        equal = positions.get(written[ahead : ahead + AGREE], ())
        first = bisect_left(equal, there)
        if first < len(equal) and (best is None or ahead + equal[first] - there < sum(best)):
            best = ahead, equal[first] - there
    return best


def _folded(characters: Iterable[Owned]) -> list[Owned]:
    """Return characters in the form in which text and pieces are compared."""
    folded = []
    for character, owners in characters:
        for part in unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold()):
            if not part.isspace():
                folded.append((part, owners))
    return folded


def _characters_spelled(pieces: Sequence[str]) -> list[Owned]:
    """Return the characters of SentencePiece's pieces with their pieces.

    A blank that is a piece of its own belongs to the next character; an unknown character may be spelled in bytes.
    """
    spelled: list[Owned] = []
    before: frozenset[int] = frozenset()
    for is_byte, group in groupby(
        enumerate(pieces), key=lambda numbered: BYTE_PIECE.fullmatch(numbered[1]) is not None
    ):
        if is_byte:
            characters = _decoded([(int(piece[3:5], 16), number) for number, piece in group])
        else:
            characters = [owned for number, piece in group for owned in _piece_characters(piece, number)]
        for character, owners in characters:
            owners |= before
            before = frozenset() if character else owners
            spelled += [(character, owners)] if character else []
    return spelled


def _piece_characters(piece: str, number: int) -> list[Owned]:
    """Return the characters of one of SentencePiece's pieces; an empty one for a blank alone."""
    text = UNKNOWN_CHARACTER if piece == UNKNOWN else piece.replace(BLANK, "")
    return [(character, frozenset({number})) for character in text or [""]]


def _bytes_spelled(pieces: Sequence[str]) -> list[Owned]:
    return _decoded([(byte, number) for number, piece in enumerate(pieces) for byte in _piece_bytes(piece)])


def _decoded(spelling: Sequence[tuple[int, int]]) -> list[Owned]:
    """Decode UTF-8 bytes to characters, each with its pieces; a character may be spread over several.

    Bytes that are no text, which remain where a tokenizer drops others, agree with nothing.
    """
    text = bytes(byte for byte, _ in spelling).decode(errors="surrogateescape")
    spelled, at = [], 0
    for character in text:
        size = len(character.encode(errors="surrogateescape"))
        spelled.append((character, frozenset(number for _, number in spelling[at : at + size])))
        at += size
    return spelled


def _piece_bytes(piece: str) -> list[int]:
    return [BYTES[character] for character in piece.removesuffix(WORD_END)]


def _bytes_by_character() -> dict[str, int]:
    """Return the bytes of byte-level vocabularies (GPT-2) by character: printable ones, the rest from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


BYTES = _bytes_by_character()
