"""Prompts to judge images by besides their own: cheap beside making them, and it teaches what words look like."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError

from ...engine.core.prompt_words import word_spans
from .folder import RUNS
from .prompt_parts import prompt_parts
from .run_file import read_record

OTHERS = 3
"""Other prompts of either kind that a reward model judges images by, out of so many ``CANDIDATES``."""

CANDIDATES = 200


def other_prompts(prompt: str, pool: Sequence[str], each: int = OTHERS) -> list[str]:
    """Prompts to judge the same images by: some at random, and some that share the most words with ``prompt``.

    The same ones for the same prompt and pool; only from the pool, so from the training split.

    Args:
        each: how many of either kind.
    """
    rng = random.Random(prompt)
    drawn = [other for other in rng.sample(pool, min(len(pool), CANDIDATES)) if other != prompt]
    words = Counter(prompt.split())
    alike = sorted(drawn[each:], key=lambda other: -(words & Counter(other.split())).total())
    return drawn[:each] + alike[:each]


def other_parts(prompt: str, pool: Sequence[str], count: int = 2 * OTHERS) -> list[str]:
    """Parts of so many other prompts, a random one of each; the same ones for the same prompt and pool.

    A short phrase is where looking at images is learnt first: all of its words are about one thing.
    """
    rng = random.Random(f"parts {prompt}")
    found = []
    for other in rng.sample(pool, min(len(pool), count)):
        parts = prompt_parts(other, len(word_spans(other)))
        found += [rng.choice(sorted(parts))] if parts and other != prompt else []
    return list(dict.fromkeys(found))


def recorded_prompts(folder: Path) -> list[str]:
    """Some of the prompts that a dataset has, of as many runs as there are ``CANDIDATES``."""
    files = sorted((folder / RUNS).glob("[!.]*.safetensors"))
    found = []
    for path in random.Random(len(files)).sample(files, min(len(files), CANDIDATES)):
        try:
            found.append(read_record(path).prompt)
        except (ValueError, SafetensorError, OSError):
            continue  # who reads the dataset is told
    return list(dict.fromkeys(found))
