"""Lists of seeds, and names of their variations, as users write them."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from .scores import SeedName
from .texts import quoted

LARGEST_SEED = 2**64 - 1
MOST_SEEDS = 4096
MOST_TEXT = 256 * 1024
"""Longest list of seeds in characters; the largest number of seeds, each as a row of a batch, takes less."""

MOST_VARIATIONS = 8
"""Largest number of variations in one name, each of the one before it."""

LEAST_STRENGTH = 0.001
"""Smallest strength of a variation."""

DIGITS = 20
"""Number of digits of the largest seed."""

SEPARATORS = str.maketrans(",;", "  ")
SHOWN = 8
"""Number of seeds that an error names."""

AS_IN = "507 variation 512 at 0.15"
"""Example of a variation's name, for errors."""

_STRENGTH = re.compile(r"[0-9]{1,4}(\.[0-9]{1,25})?|\.[0-9]{1,25}")


def seed_list(first_seed: int, count: int, text: str = "") -> list[int]:
    """Return the seeds of a batch, each of which can be drawn alone: those in ``text``, or consecutive ones.

    Arguments and errors are those of :func:`listed_names`.

    Raises:
        ValueError: besides, a variation, or a row of a batch.
    """
    names = listed_names(first_seed, count, text)
    for name in names:
        if name.batch_index is not None:
            raise ValueError(no_single_row(name))
        if name.variations:
            raise ValueError(
                f'"{name}" is a variation of a seed, which only Seed Search samples. '
                f"Write seeds as whole numbers, 7, 8, 42, or give this name to the input seeds of Seed Search."
            )
    return [name.seed for name in names]


def listed_names(first_seed: int, count: int, text: str = "") -> list[SeedName]:
    """Return the names of a batch: those in ``text``, or ``count`` consecutive seeds.

    Args:
        first_seed: first of the consecutive seeds, 0 … 2⁶⁴ − 1.
        count: how many.
        text: names separated by commas, spaces or new lines. Anything but blanks replaces ``first_seed`` and
            ``count``.

    Raises:
        ValueError: no seed, one that isn't a number or has more than 64 bits, or one that is there twice.
    """
    written = seed_names(text) if text.strip() else None
    _check_count(count if written is None else len(written))
    if written is None:
        for seed in (first_seed, first_seed + count - 1):
            if not 0 <= seed <= LARGEST_SEED:
                raise ValueError(_out_of_range(seed))
        return [SeedName(seed) for seed in range(first_seed, first_seed + count)]
    _check_once(written, written)
    return written


def seed_names(text: str) -> list[SeedName]:
    """Parse the seeds that a text names: alone, as a row of a batch ("7 row 2"), or with variations.

    Raises:
        ValueError: a word that is no seed, or a text that is too long to be a list of seeds.
    """
    words, names = _Words(text), []
    while words.left:
        names.append(words.name())
    return names


def candidate_names(text: str) -> list[tuple[SeedName, int]]:
    """Parse the candidates that a text names: names of seeds, each with the index of its prompt, from 0.

    "512 prompt 2" is seed 512 with the second prompt; without a number it is the first.

    Raises:
        ValueError: as :func:`seed_names`; or no candidate, too many, one that is there twice, or prompt 0.
    """
    words, found = _Words(text), []
    while words.left:
        name = words.name()
        prompt = words.number() if words.skip("prompt") else 1
        if prompt < 1:
            raise ValueError(f'"{name} prompt 0" names no prompt. Prompts are counted from 1.')
        found.append((name, prompt - 1))
    _check_count(len(found))
    _check_once(found, [name if prompt == 0 else f"{name} prompt {prompt + 1}" for name, prompt in found])
    return found


def names_around(around: str, strength: float, names: Sequence[SeedName]) -> list[SeedName]:
    """Return names varied around one: the noise of ``around`` turned towards the noise of each of ``names``.

    Args:
        around: the name that is varied, as text; blank: ``names`` are returned as they are.
        strength: how far, from :data:`LEAST_STRENGTH` to 1, which gives the names themselves.

    Raises:
        ValueError: a text that names no seed or several, a strength out of its range, names that are variations
            themselves, or more than :data:`MOST_VARIATIONS` variations of one seed.
    """
    if not around.strip():
        return list(names)
    start = _one_name(around)
    if not LEAST_STRENGTH <= strength <= 1:  # also NaN
        why = "so every candidate would be the same image" if strength == 0 else "which is out of range"
        raise ValueError(
            f'"around" is set and the strength is {strength}, {why}. Set the strength between {LEAST_STRENGTH} and 1: '
            '0.15 for small variations. Or clear "around".'
        )
    wrong = next((name for name in names if not name.is_seed), None)
    if wrong is not None:
        raise ValueError(
            f'"{wrong}" in the list of seeds can\'t be varied towards, because it is no single seed. '
            'Clear "around", or write plain seeds into the list: 7, 8, 42.'
        )
    return [_varied(start, name.seed, float(strength)) for name in names]


def next_seed(names: Iterable[SeedName]) -> int:
    """Return the first seed of a next batch of equal size: the one after the largest of this batch.

    It is 0 where not that many seeds come after the largest. Of a variation it is the seed that varies which counts,
    the last one in its name.
    """
    numbers = {name.variations[-1][0] if name.variations else name.seed for name in names}
    largest = max(numbers)
    return largest + 1 if largest + len(numbers) <= LARGEST_SEED else 0


def no_single_row(name: SeedName) -> str:
    """Return why a row of a batch can't be sampled as a seed."""
    return (
        f'"{name}" is a row of a batch that was drawn from one seed, so it can\'t be drawn alone. '
        "Sample a batch of seeds from the start: then every row has a seed of its own."
    )


def _one_name(around: str) -> SeedName:
    wrong = (
        f'"around" is {quoted(around)}. Give one seed from 0 to {LARGEST_SEED}, or the name of one variation: {AS_IN}.'
    )
    try:
        names = seed_names(around)
    except ValueError as error:
        raise ValueError(wrong) from error
    if len(names) != 1:
        raise ValueError(wrong)
    return names[0]


def _varied(name: SeedName, seed: int, strength: float) -> SeedName:
    """Return the name of a variation, in its simplest form: at strength 1, or towards itself, it is a seed again."""
    if strength == 1:
        return SeedName(seed, name.batch_index)
    if not name.variations and name.seed == seed:
        return name
    if len(name.variations) >= MOST_VARIATIONS:
        raise ValueError(
            f"seed {name.seed} has more than {MOST_VARIATIONS} variations, each of the one before it. "
            f"Give at most {MOST_VARIATIONS}."
        )
    return replace(name, variations=(*name.variations, (seed, strength)))


class _Words:
    """Words of a list of names, read from left to right in one pass.

    Attributes:
        left: whether a word is left.
    """

    def __init__(self, text: str):
        if len(text) > MOST_TEXT:
            raise ValueError(
                f"the list of seeds has {len(text)} characters. "
                f"Give at most {MOST_SEEDS} seeds, in at most {MOST_TEXT} characters."
            )
        self.words, self.at = text.translate(SEPARATORS).split(), 0

    @property
    def left(self) -> bool:
        return self.at < len(self.words)

    def name(self) -> SeedName:
        """Read the name of a seed, with its variations."""
        seed = self.number()
        name = SeedName(seed, self.number() if self.skip("row") else None)
        while self.skip("variation"):
            name = _varied(name, self.number(), self._strength())
        return name

    def skip(self, word: str) -> bool:
        """Move behind the next word if it is this one; return whether it was."""
        found = self.left and self.words[self.at] == word
        self.at += found
        return found

    def number(self) -> int:
        """Read a number of at most 64 bits."""
        word = self._next("a whole number")
        if not (word.isascii() and word.isdecimal()):
            raise ValueError(
                f"{quoted(word)} in the list of seeds is not a whole number. "
                "Write seeds as digits, separated by commas, spaces or new lines: 7, 8, 42."
            )
        digits = word.lstrip("0")
        if len(digits) > DIGITS or int(digits or "0") > LARGEST_SEED:
            raise ValueError(_out_of_range(quoted(word, DIGITS)))
        return int(digits or "0")

    def _strength(self) -> float:
        """Read "at" and a strength."""
        if not self.skip("at"):
            raise ValueError(f'a variation in the list of seeds has no strength. Write it after "at": {AS_IN}.')
        word = self._next("a strength")
        if not _STRENGTH.fullmatch(word) or not LEAST_STRENGTH <= float(word) <= 1:
            raise ValueError(
                f"{quoted(word)} is not the strength of a variation. "
                f"Write a number from {LEAST_STRENGTH} to 1: {AS_IN}."
            )
        return float(word)

    def _next(self, wanted: str) -> str:
        if not self.left:
            raise ValueError(
                f'the list of seeds ends after "{self.words[-1]}" where {wanted} has to follow. '
                f"Write names as 7, 7 row 3 or {AS_IN}."
            )
        self.at += 1
        return self.words[self.at - 1]


def _check_count(many: int) -> None:
    if many < 1:
        raise ValueError("There is no seed. Set count to 1 or more, or write seeds into the list: 7, 8, 42.")
    if many > MOST_SEEDS:
        raise ValueError(f"{many} seeds are more than one batch takes. Give at most {MOST_SEEDS}.")


def _check_once(found: Sequence[Hashable], texts: Sequence[object]) -> None:
    times = Counter(found)
    twice = list(dict.fromkeys(str(text) for each, text in zip(found, texts, strict=True) if times[each] > 1))
    if twice:
        more = f" and {len(twice) - SHOWN} more are" if len(twice) > SHOWN else " is"
        raise ValueError(f"Seed {', '.join(twice[:SHOWN])}{more} in the list more than once. Give each seed once.")


def _out_of_range(seed: object) -> str:
    return f"The seed {seed} is out of range. Seeds go from 0 to {LARGEST_SEED} (64 bits)."
