"""Candidates of a search, each defined by the stock sampler call that it replaces."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import comfy.sample
from torch import Tensor

from ..core.scores import SeedName
from ..core.seed_list import no_single_row
from ..runs.comfy_versions import empty_latent_for
from ..runs.seeds import mixed_noise

Callback = Callable[[int, Tensor, Tensor, int], None]
Sample = Callable[[Any, Callback], Tensor]
"""Whole run on a MODEL with a sampler's callback (step, x0, x, total steps); returns its latent ``[1, …]``."""


@dataclass(frozen=True)
class Candidate:
    """One seed with its prompt, sampled as a stock run of batch 1.

    Attributes:
        name: of the noise that it starts from; its sampler gets the seed of the name.
        sample: its run, of one row.
        prompt: index of its prompt, from 0.
        shared: objects that its run shares with those of other candidates, besides the model.
        inputs: everything that its run depends on besides the model and :attr:`name`; None: not known.
    """

    name: SeedName
    sample: Sample
    prompt: int = 0
    shared: tuple[Any, ...] = ()
    inputs: tuple[Any, ...] | None = None


def single_latent(latent: dict[str, Any]) -> Tensor:
    """Return the samples of a LATENT that every candidate can start from, ``[1, channels, …]``.

    Raises:
        ValueError: several rows, or video and audio in one.
    """
    samples = latent["samples"]
    if samples.is_nested:
        raise ValueError(
            "the latent holds several latents in one, as those of video with audio do, which can't be searched. "
            "Give a latent of images or of video alone."
        )
    if samples.shape[0] != 1:
        raise ValueError(
            f"the latent has {samples.shape[0]} rows. Every candidate starts from the same single latent: "
            "set batch_size of the empty latent to 1, or take one row out of the batch."
        )
    return samples


def name_in(latent: dict[str, Any], seed: int | SeedName) -> SeedName:
    """Return the name of the noise that a single latent gets from a seed, or from a name without a row.

    Raises:
        ValueError: a name of a row of a batch, if the latent isn't that row as its ``batch_index`` notes.
    """
    name = seed if isinstance(seed, SeedName) else SeedName(seed)
    index = (latent.get("batch_index") or [0])[0] or None
    if name.batch_index not in (None, index):
        raise ValueError(no_single_row(name))
    return replace(name, batch_index=index)


def ksampler_candidate(
    seed: int | SeedName,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: list,
    negative: list,
    latent: dict[str, Any],
    denoise: float = 1.0,
    prompt: int = 0,
) -> Candidate:
    """Return a candidate that is sampled as KSampler samples these inputs, which are in KSampler's order.

    A name with variations may be given in the position of a seed: the run then starts from its mixed noise, and the
    sampler gets the seed that is varied.

    Raises:
        ValueError: see :func:`single_latent` and :func:`name_in`; or a denoise of 0.
    """
    samples, name = single_latent(latent), name_in(latent, seed)
    if denoise <= 0:
        raise ValueError(
            "denoise is 0, so nothing is sampled and every seed would give the latent image as it is. "
            "Set denoise above 0: 1 for an empty latent, less to keep more of an image."
        )

    def sample(model: Any, callback: Callback) -> Tensor:
        start = empty_latent_for(model, samples, latent)
        noise = mixed_noise(start, name, latent.get("batch_index"))
        return comfy.sample.sample(
            model, noise, steps, cfg, sampler_name, scheduler, positive, negative, start, denoise=denoise,
            noise_mask=latent.get("noise_mask"), callback=callback, disable_pbar=True, seed=name.seed,
        )  # fmt: skip

    inputs = (steps, cfg, sampler_name, scheduler, positive, negative, latent, denoise)
    return Candidate(name, sample, prompt, inputs=inputs)


def guider_candidate(
    seed: int | SeedName, guider: Any, sampler: Any, sigmas: Tensor, latent: dict[str, Any], prompt: int = 0
) -> Candidate:
    """Return a candidate that is sampled as SamplerCustomAdvanced samples these inputs with noise of that seed.

    Any guider may be given, and a name with variations as in :func:`ksampler_candidate`.

    Raises:
        ValueError: see :func:`single_latent` and :func:`name_in`.
    """
    samples, name = single_latent(latent), name_in(latent, seed)

    def sample(model: Any, callback: Callback) -> Tensor:
        mine = copy.copy(guider)  # a guider holds the state of its one run
        mine.model_patcher, mine.model_options = model, model.model_options
        mine.original_conds = dict(guider.original_conds)
        start = empty_latent_for(model, samples, latent)
        noise = mixed_noise(start, name, latent.get("batch_index"))
        return mine.sample(
            noise, start, sampler, sigmas,
            denoise_mask=latent.get("noise_mask"), callback=callback, disable_pbar=True, seed=name.seed,
        )  # fmt: skip

    return Candidate(name, sample, prompt, (guider, sampler))
