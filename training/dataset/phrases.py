"""Phrases of a prompt, by which its images can be scored separately, with words that were captured anyway."""

import random
import re

from ...engine.core.prompt_words import word_spans

MOST = 8
"""Largest number of phrases of one prompt."""

BETWEEN = frozenset(
    "a an the this that these those his her its their my our your and or but with without of in on at to from by for "
    "as is are was were has have while into onto near beside under over above below behind between next left right "
    "top bottom front against around through across along very".split()
)
"""English words that separate the phrases of a prompt."""

_BREAK = re.compile(r"[^\s]")


def prompt_phrases(prompt: str, words: int) -> dict[str, tuple[int, ...]]:
    """Find the phrases of a prompt: simple ones, and the first one related to each later one, in both directions.

    "A red fox on a hill and under a tree" has "red fox", "hill", "tree", "red fox on a hill", "red fox under a tree",
    "hill on a red fox" and "tree under a red fox". The last two are of the same words and mean something else, so
    images that are scored by both teach where things are relative to each other.

    Args:
        prompt: its text.
        words: how many were captured. Where that isn't how many the text has, weights or embeddings are in it,
            and it has no phrases.

    Returns:
        The numbers of each phrase's words, by its text; never the whole prompt, and at most ``MOST``. The same
        prompt gives the same ones.
    """
    spans = word_spans(prompt)
    if len(spans) != words:
        return {}
    simple = _simple_phrases(prompt, spans)
    if not simple:
        return {}
    first, phrases = simple[0], list(simple)
    for phrase in simple[1:]:
        leading = _leading(prompt, spans, phrase)
        phrases += [first + leading + phrase, phrase + leading + first] if leading else [first + phrase]
    texts = [prompt[start:end] for start, end in spans]
    by_text = {" ".join(texts[word] for word in phrase): phrase for phrase in phrases if len(phrase) <= words}
    by_text.pop(" ".join(texts), None)
    chosen = random.Random(prompt).sample(sorted(by_text), min(MOST, len(by_text)))
    return {text: by_text[text] for text in chosen}


def _simple_phrases(prompt: str, spans: list[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Find the longest sequences of words without punctuation or a word of ``BETWEEN`` in them."""
    phrases: list[tuple[int, ...]] = []
    current: list[int] = []
    for number, (start, end) in enumerate(spans):
        before = prompt[spans[number - 1][1] : start] if number else ""
        outside = prompt[start:end].lower() in BETWEEN
        if current and (outside or _BREAK.search(before)):
            phrases.append(tuple(current))
            current = []
        if not outside:
            current.append(number)
    return phrases + ([tuple(current)] if current else [])


def _leading(prompt: str, spans: list[tuple[int, int]], phrase: tuple[int, ...]) -> tuple[int, ...]:
    """Return the words of ``BETWEEN`` right before a phrase, up to an "and"."""
    start = phrase[0]
    while start > 0 and prompt[slice(*spans[start - 1])].lower() in BETWEEN - {"and"}:
        start -= 1
    return tuple(range(start, phrase[0]))
