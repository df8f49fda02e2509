"""Wordings of a prompt that were tried: their scores, the best one, and the next one of a rewritten text."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.ranking import best_first
from ..core.texts import writable

MEAN, BEST = "mean of all seeds", "best seed"
ROWS = (MEAN, BEST)
"""Ways to make the score of a wording of those of its seeds."""

PROMPT, TRIED, ROUND = "{prompt}", "{tried}", "{round}"
"""Words of a request for a rewrite that are replaced."""

REQUEST = (
    "Rewrite this prompt of a text-to-image model, so that the image shows everything that it says. Keep its meaning. "
    f"Answer with one prompt in one line, and nothing else.\n\nPrompt: {PROMPT}\n\nTried so far, with scores (higher "
    f"is better):\n{TRIED}"
)

LIST_MARK = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+")
QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "«": "»"}
SHOWN = 300
"""Characters of a wording in a report at most."""


@dataclass(frozen=True)
class Trial:
    """Wording that was tried.

    Attributes:
        prompt: the wording.
        scores: of its seeds, in their order.
        rows: one of ``ROWS``.
        pictures: of its seeds, ``[rows, H, W, 3]`` float 0 to 1, or None.
    """

    prompt: str
    scores: tuple[float, ...]
    rows: str = MEAN
    pictures: Any = field(default=None, compare=False, repr=False)

    @property
    def score(self) -> float:
        """Score of the wording."""
        return max(self.scores) if self.rows == BEST else math.fsum(self.scores) / len(self.scores)

    def best_seeds(self, seeds: Sequence[int]) -> list[int]:
        """Return the seeds in the order of their scores, best first."""
        return [seeds[row] for row in best_first(self.scores)]


@dataclass(frozen=True)
class Trials:
    """All wordings of one prompt that were tried, in their order.

    Attributes:
        probe: that scores them all, by the first wording.
        tried: the trials.
    """

    probe: Any
    tried: tuple[Trial, ...] = ()

    def and_then(self, trial: Trial) -> "Trials":
        """Return these trials and one more."""
        return replace(self, tried=(*self.tried, trial))

    @property
    def best(self) -> Trial:
        """Best wording; the first one of equals."""
        return max(self.tried, key=lambda trial: trial.score)

    def next_wording(self, text: str) -> str:
        """Return the first line of a text that was not tried, without a list's number and quotation marks.

        Returns:
            Empty if there is none.
        """
        known = {_words(trial.prompt) for trial in self.tried}
        return next((line for line in wordings(text) if _words(line) not in known), "")

    def request(self, text: str) -> str:
        """Return a request for a rewrite with its words ``{prompt}``, ``{tried}`` and ``{round}`` filled in."""
        values = {PROMPT: self.best.prompt, TRIED: self.listed(), ROUND: str(len(self.tried))}
        pattern = re.compile("|".join(map(re.escape, values)))
        return pattern.sub(lambda match: values[match[0]], text)

    def listed(self) -> str:
        """Return a line with score and wording for each trial."""
        return "\n".join(f"{trial.score:.4g}: {' '.join(trial.prompt.split())}" for trial in self.tried)

    def report(self, threshold: float, ended: str) -> str:
        """Return for people what was tried, what was chosen, and why it ended.

        Args:
            threshold: that a wording had to reach.
            ended: a sentence.
        """
        label, best = self.probe.label, self.best
        lines = [
            f"{'→' if trial is best else ' '} {number}. {trial.score:.4g} "
            f"({', '.join(f'{score:.3g}' for score in trial.scores)}): {_short(trial.prompt)}"
            for number, trial in enumerate(self.tried, start=1)
        ]
        head = f"{label}, {best.rows}; threshold {threshold:g}. {ended}"
        return writable("\n".join([head, *lines]))


def wordings(text: str) -> list[str]:
    """Return the different lines of a text that say something, without a list's numbers and quotation marks."""
    lines = [_plain(line) for line in text.splitlines()]
    return list(dict.fromkeys(line for line in lines if line))


def _plain(line: str) -> str:
    line = LIST_MARK.sub("", line).strip()
    if len(line) > 1 and QUOTES.get(line[0]) == line[-1]:
        line = line[1:-1].strip()
    return line


def _words(text: str) -> str:
    return " ".join(text.split())


def _short(text: str) -> str:
    text = _words(text)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
