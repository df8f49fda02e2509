"""What a prompt consists of: its parts can be judged by themselves, with words that were captured anyway."""

import random
import re

from ...engine.core.prompt_words import word_spans

PARTS = 8
"""At most so many per prompt."""

BETWEEN = frozenset(
    "a an the this that these those his her its their my our your and or but with without of in on at to from by for "
    "as is are was were has have while into onto near beside under over above below behind between next left right "
    "top bottom front against around through across along very".split()
)
"""English words between the phrases of a prompt."""

_BREAK = re.compile(r"[^\s]")


def prompt_parts(prompt: str, words: int) -> dict[str, tuple[int, ...]]:
    """Phrases of a prompt, its first phrase with what each later one says of it, and the same the other way round.

    "A red fox on a hill and under a tree" has "red fox", "hill", "tree", "red fox on a hill", "red fox under a tree",
    "hill on a red fox" and "tree under a red fox". The last two are of the same words and mean something else, so
    images that are judged by both teach what stands where.

    Args:
        prompt: its text.
        words: how many were captured. Where that isn't how many the text has, weights or embeddings are in it,
            and it has no parts.

    Returns:
        By the part's own text the numbers of its words. Never the whole; ``PARTS`` at most, for the same prompt
        the same ones.
    """
    spans = word_spans(prompt)
    if len(spans) != words:
        return {}
    phrases = _phrases(prompt, spans)
    if not phrases:
        return {}
    first = phrases[0]
    found = list(phrases)
    for phrase in phrases[1:]:
        leading = _leading(prompt, spans, phrase)
        found += [first + leading + phrase, phrase + leading + first] if leading else [first + phrase]
    parts = {" ".join(prompt[slice(*spans[word])] for word in part): part for part in found if len(part) <= words}
    parts.pop(" ".join(prompt[slice(*span)] for span in spans), None)
    chosen = random.Random(prompt).sample(sorted(parts), min(PARTS, len(parts)))
    return {text: parts[text] for text in chosen}


def _phrases(prompt: str, spans: list[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Runs of words without punctuation or a word of ``BETWEEN`` in them."""
    phrases, current = [], []
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
    """The words that lead to a phrase, but for "and"."""
    start = phrase[0]
    while start > 0 and prompt[slice(*spans[start - 1])].lower() in BETWEEN - {"and"}:
        start -= 1
    return tuple(range(start, phrase[0]))
