"""Seeds as the user writes them."""

import re

LARGEST_SEED = 2**64 - 1
MOST_SEEDS = 4096


def seed_list(first_seed: int, count: int, text: str = "") -> list[int]:
    """The seeds of a batch: those written in ``text``, or ``count`` consecutive ones.

    Args:
        first_seed: first of the consecutive seeds, 0 … 2⁶⁴ − 1.
        count: how many.
        text: seeds separated by commas, spaces or new lines. Anything but blanks wins over
            ``first_seed`` and ``count``.

    Raises:
        ValueError: no seed, one that isn't a number or has more than 64 bits, or one given twice
            (the same image would be paid for twice).
    """
    if text.strip():
        seeds = _parse(text)
    else:
        seeds = list(range(first_seed, first_seed + count))
    if not seeds:
        raise ValueError("There is no seed. Set count to 1 or more, or write seeds into the list: 7, 8, 42.")
    if len(seeds) > MOST_SEEDS:
        raise ValueError(f"{len(seeds)} seeds are more than one batch takes. Give at most {MOST_SEEDS}.")
    if max(seeds) > LARGEST_SEED or min(seeds) < 0:
        wrong = next(seed for seed in seeds if not 0 <= seed <= LARGEST_SEED)
        raise ValueError(f"The seed {wrong} is out of range. Seeds go from 0 to {LARGEST_SEED} (64 bits).")
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1}) if len(set(seeds)) < len(seeds) else []
    if twice:
        raise ValueError(f"Seed {', '.join(map(str, twice))} is in the list more than once. Give each seed once.")
    return seeds


def _parse(text: str) -> list[int]:
    if found := re.search(r"\d+ row \d+", text):
        raise ValueError(
            f"“{found.group()}” is a row of a batch that was drawn from one seed, so it can't be drawn alone. "
            "Sample with Seed Batch from the start: then every row has a seed of its own."
        )
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    wrong = [word for word in words if not re.fullmatch(r"[0-9]+", word)]
    if wrong:
        raise ValueError(
            f"“{wrong[0]}” in the list of seeds is not a whole number. "
            "Write seeds as digits, separated by commas, spaces or new lines: 7, 8, 42."
        )
    return [int(word) for word in words]
