"""Noise that a sampler adds at its steps, drawn for each row as a stock run of the row's seed alone draws it.

ComfyUI's samplers draw one stream of noise for a whole batch, so a row of a batch can't be sampled again alone.
"""

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import comfy.k_diffusion.sampling as k_diffusion
import comfy.sample
import torch
from torch import Tensor

from ..core.samplers import BROWNIAN_CPU, BROWNIAN_GPU, STREAM, traits_of

NoiseSampler = Callable[[Tensor, Tensor], Tensor]
"""Function (sigma, next sigma) → noise of a latent, as ComfyUI's sampler functions take it."""

Draw = Callable[[Tensor, Tensor, int], NoiseSampler]
"""Function (latent row ``[1, channels, ...]``, schedule, seed) → the noise sampler of a stock run of that row."""


def _stream(row: Tensor, sigmas: Tensor, seed: int) -> NoiseSampler:
    return k_diffusion.default_noise_sampler(row, seed=seed)


def _brownian(cpu: bool) -> Draw:
    def draw(row: Tensor, sigmas: Tensor, seed: int) -> NoiseSampler:
        least, most = sigmas[sigmas > 0].min(), sigmas.max()
        return k_diffusion.BrownianTreeNoiseSampler(row, least, most, seed=seed, cpu=cpu)

    return draw


DRAWS: dict[str, Draw] = {STREAM: _stream, BROWNIAN_CPU: _brownian(cpu=True), BROWNIAN_GPU: _brownian(cpu=False)}
"""Draws by the kind of step noise in the table of samplers."""


class RowNoise:
    """Noise sampler of a batch in which each row draws from its own seed, as a batch of one.

    Args:
        draw: makes the noise sampler of a row.
        x: the latent that the sampler starts from, ``[rows, channels, ...]``.
        sigmas: its schedule.
        seeds: one per row.
    """

    def __init__(self, draw: Draw, x: Tensor, sigmas: Tensor, seeds: Sequence[int]):
        self.rows = [draw(x[row : row + 1], sigmas, seed) for row, seed in enumerate(seeds)]

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """Draw noise ``[rows, channels, ...]``."""
        return torch.cat([row(sigma, sigma_next) for row in self.rows])


def step_noise_of(sampler: Any) -> Draw | None:
    """Return the draw of a SAMPLER with a function of ComfyUI's; None for others, and for one with a noise sampler."""
    function = getattr(sampler, "sampler_function", None)
    name = getattr(function, "__name__", None)
    kind = traits_of(name or "").step_noise
    if not kind or getattr(k_diffusion, name, None) is not function:
        return None
    return None if sampler.extra_options.get("noise_sampler") is not None else DRAWS[kind]


def with_row_noise(sampler: Any, seeds: Sequence[int]) -> Any:
    """Return a SAMPLER that draws all its noise row by row from ``seeds``.

    It is the SAMPLER itself where it isn't known how to draw the noise that each row gets alone.
    """
    draw = step_noise_of(sampler)
    options = getattr(sampler, "inpaint_options", {})
    if draw is None and not options.get("random"):
        return sampler
    mine, function = copy.copy(sampler), sampler.sampler_function

    @functools.wraps(function)
    def by_row(model, x, sigmas, *args, **extra):
        if options.get("random"):
            model.noise = inpaint_noise(model.noise, seeds)
        if draw is not None and len(sigmas) > 1:
            extra["noise_sampler"] = RowNoise(draw, x, sigmas, seeds)
        return function(model, x, sigmas, *args, **extra)

    mine.sampler_function, mine.diffusion_probe_draws_by_row = by_row, draw is not None
    return mine


def draws_by_row(sampler: Any) -> bool:
    """Return whether a SAMPLER draws its noise row by row, by :func:`with_row_noise`."""
    return getattr(sampler, "diffusion_probe_draws_by_row", False)


def inpaint_noise(noise: Tensor, seeds: Sequence[int]) -> Tensor:
    """Draw the noise that ddim puts outside of a noise mask, for each row that of a run of its seed alone.

    Args:
        noise: of the batch, ``[rows, channels, ...]``.
        seeds: one per row.
    """
    like = noise[:1].cpu()
    rows = [comfy.sample.prepare_noise_inner(like, torch.Generator().manual_seed(seed + 1)) for seed in seeds]
    return torch.cat(rows).to(noise)
