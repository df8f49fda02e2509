"""Names of the rows of a run: the seed, and the draw of it, from which each row's noise can be drawn again.

A row that a single run of some seed starts from has that seed's name. Any other that ComfyUI draws for
the run's seed has the number of its draw: ``5 row 3`` is row 3 of a batch of seed 5, also where it was
taken out of its batch before, because ComfyUI then draws it by its ``batch_index``.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import comfy.sample
import torch
from torch import Tensor

from ..core.scores import SeedName
from ..core.seed_list import LARGEST_SEED, MOST_SEEDS
from .seeds import seed_noise

MOST_NUMBERS = 2**26
"""Largest count of random numbers that are drawn to find the draw of a row, half a second on a CPU: 256 rows of FLUX at
1024 px, 1024 of SDXL."""

FIRST_NUMBERS = 16
"""Count of numbers by which draws are distinguished; those with equal ones are compared as a whole."""


def seed_number(seed: Any) -> int:
    """Return the seed of a run as a number; 0 if it is none."""
    return int(seed) if isinstance(seed, int) else 0


def name_seeds(noise: Tensor, seed: Any) -> list[SeedName]:
    """Return the name of each row's noise ``[rows, channels, ...]`` in a run of ``seed``.

    A row whose noise is no draw (another node made it) is named by its position in the run's batch.
    """
    first = seed_number(seed)
    unknown: dict[bytes, list[int]] = defaultdict(list)
    for row, values in enumerate(noise):
        unknown[_first_numbers(values)].append(row)
    names: dict[int, SeedName] = {}
    for name, drawn in _draws(noise, first, getattr(seed, "seeds", ())):
        rows = unknown.get(_first_numbers(drawn), [])
        equal = [row for row in rows if row not in names and torch.equal(noise[row], drawn)]
        names |= dict.fromkeys(equal, name)
        if len(names) == len(noise):
            break
    return [names.get(row, SeedName(first, row)) for row in range(len(noise))]


def _draws(noise: Tensor, first: int, known: Sequence[int]) -> Iterator[tuple[SeedName, Tensor]]:
    """Yield draws of ComfyUI and this pack for a run, with their names, the likeliest first; linear in the rows."""
    rows, like = len(noise), noise[:1]
    if not all(0 <= seed <= LARGEST_SEED for seed in (first, *known)):
        return
    for seed in dict.fromkeys([*known, first]):
        yield SeedName(seed), seed_noise(like, seed)[0]
    batch = comfy.sample.prepare_noise_inner(noise, torch.Generator().manual_seed(first))
    yield from ((SeedName(first, row), drawn) for row, drawn in enumerate(batch))
    for seed in range(first + 1, min(first + rows, LARGEST_SEED + 1)):
        yield SeedName(seed), seed_noise(like, seed)[0]
    generator = torch.Generator().manual_seed(first)
    for draw in range(max(rows, min(MOST_SEEDS, MOST_NUMBERS // max(1, like.numel())))):
        yield SeedName(first, draw), comfy.sample.prepare_noise_inner(like, generator)[0]


def _first_numbers(row: Tensor) -> bytes:
    return row.flatten()[:FIRST_NUMBERS].contiguous().view(torch.uint8).numpy().tobytes()
