"""Words of a prompt: their spans in the text, their names, and how a user names some of them."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .texts import plain

JOINERS = "'\u2019-\u2010\u2011"
"""Apostrophes and hyphens, which belong to the word that they are inside of."""

EMOJI = ((0x2600, 0x27BF), (0x1F000, 0x1FAFF))
EMOJI_JOINER = "\u200d"

MOST_NAMED = 256
"""Largest number of words that a user can name at once."""

LISTED = 1000
"""Number of characters of a prompt's words that an error lists."""

WITHOUT_SPACES = ("CJK ", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA")
"""Unicode names of characters whose writing puts no spaces between words."""


STOP_WORDS = frozenset(
    "a an the this that these those of in on at to into onto from by with for as and or but nor so than then is are "
    "was were be been being am has have had having do does did it its it's he him his she her hers they them their "
    "theirs i me my mine we us our ours you your yours who whom whose which what there here where when while if "
    "because very just also such some any each both s t".split()
)
"""English words that depict nothing. Words of place and number ("left", "under", "two") and "no" are none of them."""


class Word(NamedTuple):
    """Word of a conditioning.

    Attributes:
        name: the word as written. When the same word comes again it is "red (2)", "red (3)".
        positions: text positions of the word, ascending.
    """

    name: str
    positions: tuple[int, ...]


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return the start and end of each word of a text.

    A word is a run of letters, digits and their marks, with apostrophes and hyphens inside of it.
    Each Chinese character and each Japanese kana is a word of its own, for these scripts put no
    spaces between words; so is each emoji. Everything else belongs to no word.
    """
    spans: list[tuple[int, int]] = []
    position = 0
    while position < len(text):
        end = _word_end(text, position)
        if end > position:
            spans.append((position, end))
        position = max(end, position + 1)
    return spans


def _word_end(text: str, start: int) -> int:
    """Return the end of the word that begins at ``start``; ``start`` itself if none does."""
    if _is_emoji(text[start]):
        return _emoji_end(text, start)
    if not _is_letter(text[start]):
        return start
    end = start + 1
    if _stands_alone(text[start]):
        while end < len(text) and unicodedata.category(text[end])[0] == "M":
            end += 1
        return end
    while end < len(text):
        joined = text[end] in JOINERS and end + 1 < len(text)
        following = text[end + joined]
        if not _is_letter(following) or _stands_alone(following):
            break
        end += 1 + joined
    return end


def _emoji_end(text: str, start: int) -> int:
    """Return the end of the emoji at ``start``, with its variation selectors, skin tones and joined emoji."""
    end = start + 1
    while end < len(text):
        mark = unicodedata.category(text[end]) in ("Mn", "Me", "Sk")
        joined = text[end - 1] == EMOJI_JOINER and _is_emoji(text[end])
        if not (mark or joined or text[end] == EMOJI_JOINER):
            break
        end += 1
    return end


def _is_emoji(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in EMOJI)


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


def _stands_alone(character: str) -> bool:
    return unicodedata.name(character, "").startswith(WITHOUT_SPACES)


def numbered(words: Iterable[tuple[str, Sequence[int]]]) -> tuple[Word, ...]:
    """Give spellings names that differ, upper and lower case being the same, and return the words."""
    seen: Counter[str] = Counter()
    named = []
    for spelling, positions in words:
        key = spelling.casefold()
        seen[key] += 1
        name = spelling if seen[key] == 1 else f"{spelling} ({seen[key]})"
        named.append(Word(name, tuple(positions)))
    return tuple(named)


def content_words(words: Sequence[Word]) -> tuple[Word, ...]:
    """Return the words of a prompt without English stop words; all words if there are no others.

    Words of languages without a list here are all kept.
    """
    kept = tuple(word for word in words if _spelling(word) not in STOP_WORDS)
    return kept or tuple(words)


def _spelling(word: Word) -> str:
    """Return a word in lower case, with straight apostrophes and without its number."""
    return word.name.casefold().rsplit(" (", 1)[0].replace("\u2019", "'")


def named_words(words: Sequence[Word], text: str) -> tuple[Word, ...]:
    """Return the words that a comma-separated list names, in its order.

    An entry is a word's name, or several words that follow each other ("red circle", a Chinese word
    of several characters), which count as one. Upper and lower case are the same.

    Raises:
        ValueError: an entry is not among the words, and the message lists them; or there are too many entries.
    """
    entries = dict.fromkeys(entry.strip() for entry in text.split(",") if entry.strip())
    if len(entries) > MOST_NAMED:
        raise ValueError(f"{len(entries)} words are named. Name at most {MOST_NAMED}.")
    named: dict[str, Word] = {}
    for word in words:
        named.setdefault(word.name.casefold(), word)
    spellings = [word.name.casefold().rsplit(" (", 1)[0] for word in words]
    return tuple(named.get(entry.casefold()) or _run(words, spellings, entry) for entry in entries)


def _run(words: Sequence[Word], spellings: Sequence[str], entry: str) -> Word:
    """Return the words that follow each other in ``entry`` as one."""
    wanted = entry.casefold()
    entries = [wanted[start:end] for start, end in word_spans(wanted)]
    for first in range(len(words)):
        if entries and spellings[first : first + len(entries)] == entries:
            run = words[first : first + len(entries)]
            return Word(entry, tuple(sorted({position for word in run for position in word.positions})))
    listed = ", ".join(word.name for word in words)
    raise ValueError(f'"{plain(entry)}" is not in the prompt. Its words are: {plain(listed, LISTED)}.')
