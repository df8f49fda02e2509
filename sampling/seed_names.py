"""What the rows of a run are called: by which seed, and which draw of it, each one's noise is had again.

A row that a single run of some seed starts from has that seed's name. Any other that ComfyUI draws for
the run's seed has the number of its draw: ``5 row 3`` is row 3 of a batch of seed 5, also where it was
taken out of its batch before (Latent From Batch), because ComfyUI draws it by its ``batch_index`` then.
"""

import hashlib
from collections.abc import Iterator, Sequence

import comfy.sample
import torch
from torch import Tensor

from ..search.scores import SeedName
from ..search.seeds import LARGEST_SEED
from .seeds import seed_noise

MOST_NUMBERS = 2**25
"""So many random numbers are drawn at most to find out which draw of its seed a row is; 0.3 s on a CPU."""

LEAST_DRAWS, MOST_DRAWS = 64, 1024
"""And so many draws at least (Latent From Batch counts to 63), and at most."""


def name_seeds(noise: Tensor, seed: int | None) -> list[SeedName]:
    """The name of each row's noise ``[rows, channels, ...]`` in a run of ``seed``.

    A row whose noise no draw gives (another node made it) is called by its place in the run's batch.
    """
    first = int(seed or 0)
    wanted = [_digest(row) for row in noise]
    names: dict[bytes, SeedName] = {}
    unknown = set(wanted)
    for name, drawn in _draws(noise, first, getattr(seed, "seeds", ())):
        digest = _digest(drawn)
        if digest in unknown:
            unknown.remove(digest)
            names[digest] = name
        if not unknown:
            break
    return [names.get(digest, SeedName(first, row)) for row, digest in enumerate(wanted)]


def _draws(noise: Tensor, first: int, known: Sequence[int]) -> Iterator[tuple[SeedName, Tensor]]:
    """What ComfyUI and this pack draw for a run, with its name, the likeliest first; linear in the number of rows."""
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
    most = min(MOST_DRAWS, max(LEAST_DRAWS, MOST_NUMBERS // max(1, like.numel())))
    for draw in range(max(rows, most)):
        yield SeedName(first, draw), comfy.sample.prepare_noise_inner(like, generator)[0]


def _digest(row: Tensor) -> bytes:
    return hashlib.blake2b(row.contiguous().view(torch.uint8).numpy().tobytes(), digest_size=16).digest()
