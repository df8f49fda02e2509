"""What a prompt consists of: its parts can be judged by themselves, with words that were captured anyway."""

import random
import re

from ..probe_models.words import word_spans

PARTS = 6
"""At most so many per prompt."""

BETWEEN = frozenset(
    "a an the this that these those his her its their my our your and or but with without of in on at to from by for "
    "as is are was were has have while into onto near beside under over above below behind between next left right "
    "top bottom front against around through across along very".split()
)
"""English words between the phrases of a prompt."""

_BREAK = re.compile(r"[^\s]")


def prompt_parts(prompt: str, words: int) -> dict[str, tuple[int, ...]]:
    """Phrases of a prompt, and its first phrase with what each later one says of it.

    "A red fox on a hill and under a tree" has "red fox", "hill", "tree", "red fox on a hill", "red fox under a tree".

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
    found = phrases + [first + _joined(prompt, spans, phrase) for phrase in phrases[1:]]
    parts = {" ".join(prompt[slice(*spans[word])] for word in part): part for part in found if len(part) < words}
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


def _joined(prompt: str, spans: list[tuple[int, int]], phrase: tuple[int, ...]) -> tuple[int, ...]:
    """A phrase with the words that lead to it, but for "and"."""
    start = phrase[0]
    while start > 0 and prompt[slice(*spans[start - 1])].lower() in BETWEEN - {"and"}:
        start -= 1
    return tuple(range(start, phrase[-1] + 1))
