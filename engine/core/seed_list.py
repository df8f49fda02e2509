"""Lists of seeds as users write them."""

from collections import Counter

from .scores import SeedName
from .texts import quoted

LARGEST_SEED = 2**64 - 1
MOST_SEEDS = 4096
MOST_TEXT = 256 * 1024
"""Longest list of seeds in characters; the largest number of seeds, each with its row, takes less."""

DIGITS = 20
"""Number of digits of the largest seed."""

SEPARATORS = str.maketrans(",;", "  ")
SHOWN = 8
"""Number of seeds that an error names."""


def seed_list(first_seed: int, count: int, text: str = "") -> list[int]:
    """Return the seeds of a batch: those in ``text``, or ``count`` consecutive ones.

    Args:
        first_seed: first of the consecutive seeds, 0 … 2⁶⁴ − 1.
        count: how many.
        text: seeds separated by commas, spaces or new lines. Anything but blanks replaces
            ``first_seed`` and ``count``.

    Raises:
        ValueError: no seed, one that isn't a number or has more than 64 bits, or one that is there twice.
    """
    written = _single_seeds(seed_names(text)) if text.strip() else None
    many = count if written is None else len(written)
    if many < 1:
        raise ValueError("There is no seed. Set count to 1 or more, or write seeds into the list: 7, 8, 42.")
    if many > MOST_SEEDS:
        raise ValueError(f"{many} seeds are more than one batch takes. Give at most {MOST_SEEDS}.")
    seeds = list(range(first_seed, first_seed + count)) if written is None else written
    for seed in seeds:
        if not 0 <= seed <= LARGEST_SEED:
            raise ValueError(_out_of_range(seed))
    twice = [str(seed) for seed, times in Counter(seeds).items() if times > 1]
    if twice:
        more = f" and {len(twice) - SHOWN} more are" if len(twice) > SHOWN else " is"
        raise ValueError(f"Seed {', '.join(twice[:SHOWN])}{more} in the list more than once. Give each seed once.")
    return seeds


def seed_names(text: str) -> list[SeedName]:
    """Parse the seeds that a text names, each alone or as a row of a batch ("7 row 2"), in one pass.

    Raises:
        ValueError: a word that is no seed, or a text that is too long to be a list of seeds.
    """
    if len(text) > MOST_TEXT:
        raise ValueError(
            f"the list of seeds has {len(text)} characters. Give at most {MOST_SEEDS} seeds, which take fewer than "
            f"{MOST_TEXT}."
        )
    words = text.translate(SEPARATORS).split()
    names, at = [], 0
    while at < len(words):
        is_row = words[at + 1 : at + 2] == ["row"] and at + 2 < len(words)
        names.append(SeedName(_number(words[at]), _number(words[at + 2]) if is_row else None))
        at += 3 if is_row else 1
    return names


def _single_seeds(names: list[SeedName]) -> list[int]:
    row = next((name for name in names if name.batch_index is not None), None)
    if row is not None:
        raise ValueError(
            f'"{row}" is a row of a batch that was drawn from one seed, so it can\'t be drawn alone. '
            "Sample a batch of seeds from the start: then every row has a seed of its own."
        )
    return [name.seed for name in names]


def _number(word: str) -> int:
    if not (word.isascii() and word.isdecimal()):
        raise ValueError(
            f"{quoted(word)} in the list of seeds is not a whole number. "
            "Write seeds as digits, separated by commas, spaces or new lines: 7, 8, 42."
        )
    digits = word.lstrip("0")
    if len(digits) > DIGITS:
        raise ValueError(_out_of_range(quoted(word, DIGITS)))
    return int(digits or "0")


def _out_of_range(seed: object) -> str:
    return f"The seed {seed} is out of range. Seeds go from 0 to {LARGEST_SEED} (64 bits)."
