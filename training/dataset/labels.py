"""Labels of a finished run: rewards of its images by their own prompt, by phrases of it and by other prompts.

Scoring an image by more prompts costs little beside sampling it, and teaches a probe what words look like.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError

from ...engine.core.prompt_words import word_spans
from .folder import RUNS
from .phrases import prompt_phrases
from .run_file import read_record

OTHERS = 3
"""Number of other prompts of either kind, drawn at random or alike, by which a reward model scores images."""

CANDIDATES = 200
"""Number of a dataset's prompts among which the most alike are looked for."""


@dataclass(frozen=True)
class Labels:
    """Labels of a run's rows, as ``RunRecord`` keeps them.

    Attributes:
        own: rewards by the rows' own prompt, by unit, one per row. The first is what probes learn.
        others: the first reward of the same images by other prompts, and by phrases of their own.
        phrases: those of the others that are phrases of the prompt, with the numbers of their words in it.
    """

    own: Mapping[str, Sequence[float]]
    others: Mapping[str, Sequence[float]] = field(default_factory=dict)
    phrases: Mapping[str, Sequence[int]] = field(default_factory=dict)


def label_run(
    prompt: str,
    words: int,
    pool: Sequence[str],
    own: Mapping[str, Sequence[float]],
    score: Callable[[Sequence[str]], Mapping[str, Sequence[float]]],
    others: int = OTHERS,
) -> Labels:
    """Label the images of a run.

    Args:
        prompt: the prompt that they were sampled from.
        words: how many words of it were captured.
        pool: other prompts of the dataset.
        own: rewards of the images by their own prompt, by unit.
        score: scores the images by each of several prompts, in the unit of the first reward. Prompts by which the
            images can't be scored are missing from its result.
        others: number of other prompts of either kind; phrases of twice as many other prompts come with them.
    """
    phrases = prompt_phrases(prompt, words)
    drawn = [*other_prompts(prompt, pool, others), *other_phrases(prompt, pool, 2 * others)]
    scores = score(list(dict.fromkeys([*phrases, *drawn])))
    return Labels(own, scores, {phrase: numbers for phrase, numbers in phrases.items() if phrase in scores})


def other_prompts(prompt: str, pool: Sequence[str], each: int = OTHERS) -> list[str]:
    """Choose prompts of ``pool``: some at random, and some that share the most words with ``prompt``.

    The same prompt and pool give the same ones.

    Args:
        each: how many of either kind.
    """
    rng = random.Random(prompt)
    drawn = [other for other in rng.sample(pool, min(len(pool), CANDIDATES)) if other != prompt]
    words = Counter(prompt.split())
    alike = sorted(drawn[each:], key=lambda other: -(words & Counter(other.split())).total())
    return drawn[:each] + alike[:each]


def other_phrases(prompt: str, pool: Sequence[str], count: int = 2 * OTHERS) -> list[str]:
    """Choose a random phrase of each of ``count`` other prompts; the same prompt and pool give the same ones.

    All words of a short phrase are about one thing, so that phrases teach first what words look like.
    """
    rng = random.Random(f"parts {prompt}")
    chosen = []
    for other in rng.sample(pool, min(len(pool), count)):
        phrases = prompt_phrases(other, len(word_spans(other)))
        chosen += [rng.choice(sorted(phrases))] if phrases and other != prompt else []
    return list(dict.fromkeys(chosen))


def recorded_prompts(folder: Path) -> list[str]:
    """Return prompts of a dataset, those of at most ``CANDIDATES`` runs."""
    files = sorted((folder / RUNS).glob("[!.]*.safetensors"))
    prompts = []
    for path in random.Random(len(files)).sample(files, min(len(files), CANDIDATES)):
        try:
            prompts.append(read_record(path).prompt)
        except (ValueError, SafetensorError, OSError):
            continue  # whoever reads the dataset gets a warning that names the file
    return list(dict.fromkeys(prompts))
