"""Noise that a sampler adds on its way, drawn for each row as the stock run of the row's seed alone draws it.

ComfyUI's samplers draw one stream of noise for a whole batch, so that a row of theirs can't be had alone.
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
"""(sigma, next sigma) → noise of a latent, as ComfyUI's sampler functions take it."""

Draw = Callable[[Tensor, Tensor, int], NoiseSampler]
"""(latent row ``[1, channels, ...]``, schedule, seed) → what a stock run of that row and seed draws from."""


def _stream(row: Tensor, sigmas: Tensor, seed: int) -> NoiseSampler:
    return k_diffusion.default_noise_sampler(row, seed=seed)


def _brownian(cpu: bool) -> Draw:
    def draw(row: Tensor, sigmas: Tensor, seed: int) -> NoiseSampler:
        least, most = sigmas[sigmas > 0].min(), sigmas.max()
        return k_diffusion.BrownianTreeNoiseSampler(row, least, most, seed=seed, cpu=cpu)

    return draw


DRAWS: dict[str, Draw] = {STREAM: _stream, BROWNIAN_CPU: _brownian(cpu=True), BROWNIAN_GPU: _brownian(cpu=False)}
"""Functions that draw each kind of step noise in the table of samplers."""


class RowNoise:
    """A noise sampler of a batch: each row draws from its own seed, as a batch of one.

    Args:
        draw: what a row draws from.
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
    """Find what ComfyUI's own sampler function of a SAMPLER draws from; None for all others, and for one that has a
    noise sampler already."""
    function = getattr(sampler, "sampler_function", None)
    name = getattr(function, "__name__", None)
    kind = traits_of(name or "").step_noise
    if not kind or getattr(k_diffusion, name, None) is not function:
        return None
    return None if sampler.extra_options.get("noise_sampler") is not None else DRAWS[kind]


def with_row_noise(sampler: Any, seeds: Sequence[int]) -> Any:
    """Make a SAMPLER draw all its noise row by row from ``seeds``, where that is known to be what each row alone
    gets; else the SAMPLER itself."""
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
    """Check whether a SAMPLER is one of :func:`with_row_noise` that draws its noise row by row."""
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
