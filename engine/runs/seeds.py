"""Noise per row, so that each row of a batch equals a single run of its own seed.

``comfy.sample.prepare_noise`` draws a whole batch from one generator, so row 3 of a batch can't be drawn
alone. Here every row has a generator of its own, also for noise that the sampler adds at its steps.
"""

from collections.abc import Sequence
from typing import Any

import comfy.sample
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..core.scores import SeedName
from .row_noise import with_row_noise

KEY = "diffusion_probe_seeds"


class BatchSeed(int):
    """First seed of a batch, for samplers that take one, with the seeds of all rows."""

    seeds: tuple[int, ...]

    def __new__(cls, seeds: Sequence[int]) -> "BatchSeed":
        first = super().__new__(cls, seeds[0])
        first.seeds = tuple(int(seed) for seed in seeds)
        return first


def seed_noise(row: Tensor, seed: int) -> Tensor:
    """Draw the noise of a stock run of ``seed`` for a latent ``row`` ``[1, channels, ...]``.

    ComfyUI draws from the global generator after seeding it; this draws the same numbers from a
    generator of its own, so that no sampler's random stream is disturbed.
    """
    return comfy.sample.prepare_noise_inner(row, torch.Generator().manual_seed(int(seed)))


def batch_noise(latent_image: Tensor, seeds: Sequence[int]) -> Tensor:
    """Draw the noise of a batch, each row from its seed: ``[len(seeds), channels, ...]`` on the CPU.

    Raises:
        ValueError: the latent has another number of rows than there are seeds.
    """
    if latent_image.shape[0] != len(seeds):
        raise ValueError(
            f"there are {len(seeds)} seeds but the latent has {latent_image.shape[0]} rows. "
            f"Set batch_size of the empty latent to {len(seeds)}, or give as many seeds as there are rows."
        )
    like = latent_image[:1].cpu()
    return torch.cat([seed_noise(like, seed) for seed in seeds])


def mixed_noise(latent_image: Tensor, name: SeedName, batch_index: Sequence[int] | None = None) -> Tensor:
    """Draw the noise of a name for a single latent ``[1, channels, ...]``, as a stock run draws that of a seed.

    The noises of its variations are mixed into it; see :meth:`SeedName.weights`. Its own seed is drawn last, so that
    ComfyUI's global generator goes on as in a run of that seed alone.

    Args:
        batch_index: of the LATENT, as ``comfy.sample.prepare_noise`` takes it.
    """
    weights = name.weights()
    noises = {seed: comfy.sample.prepare_noise(latent_image, seed, batch_index) for seed in reversed(weights)}
    if len(noises) == 1:
        return noises[name.seed]
    first, *others = (weight * noises[seed].float() for seed, weight in weights.items())
    return sum(others, first).to(noises[name.seed])


class SeedBatchNoise:
    """NOISE for a custom sampler, with one seed per row."""

    def __init__(self, seeds: Sequence[int]):
        self.seed = BatchSeed(seeds)

    def generate_noise(self, input_latent: dict[str, Any]) -> Tensor:
        """Draw noise for a LATENT, ``[rows, channels, ...]``; errors as :func:`batch_noise`."""
        return batch_noise(input_latent["samples"], self.seed.seeds)


class _SwapNoise:
    """OUTER_SAMPLE wrapper that replaces the noise of a run, and that of its sampler, by the noise of the seeds."""

    def __init__(self, seeds: Sequence[int]):
        self.seed = BatchSeed(seeds)

    def __call__(self, executor, noise, latent_image, sampler, sigmas, mask, callback, disable_pbar, seed, **kw):
        adds_noise = bool(noise.any())
        if adds_noise:
            try:
                noise = batch_noise(noise, self.seed.seeds).to(noise)
            except ValueError as error:
                raise ValueError(f"Seed Batch: {error}") from error
            seed, sampler = self.seed, with_row_noise(sampler, self.seed.seeds)
        return executor(noise, latent_image, sampler, sigmas, mask, callback, disable_pbar, seed, **kw)


def use_seeds(model: Any, seeds: Sequence[int]) -> Any:
    """Return a clone of a MODEL whose samplers sample row i as a run of ``seeds[i]`` alone.

    The initial noise is that of the seed, and so is the noise of ComfyUI's ancestral and SDE samplers (see
    ``row_noise``). A run without noise (the second half of a cut) is not changed. A later call replaces an earlier
    one.
    """
    model = model.clone()
    model.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, KEY)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _SwapNoise(seeds))
    return model
