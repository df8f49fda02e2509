"""One candidate of a search, as the stock sampler run that it stands for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.sample
from torch import Tensor

from ..core.scores import SeedName
from ..runs.comfy_versions import empty_latent_for

Callback = Callable[[int, Tensor, Tensor, int], None]
Sample = Callable[[Any, Callback], Tensor]
"""The whole run on a MODEL, with a sampler's callback (step, x0, x, total steps) → its latent ``[1, …]``."""


@dataclass(frozen=True)
class Candidate:
    """Attributes:
    seed: of its noise.
    sample: its run, of one row.
    prompt: which of several prompts it is of, from 0.
    batch_index: which draw of its seed the noise is, where its latent was taken out of a batch.
    shared: what its run shares with those of other candidates, besides the model.
    """

    seed: int
    sample: Sample
    prompt: int = 0
    batch_index: int = 0
    shared: tuple[Any, ...] = ()

    @property
    def name(self) -> SeedName:
        """Of its noise."""
        return SeedName(self.seed, self.batch_index or None)


def single_latent(latent: dict[str, Any]) -> Tensor:
    """The samples of a LATENT that every candidate can start from, ``[1, channels, …]``.

    Raises:
        ValueError: several rows, which one seed stands for only together, or video and audio in one.
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
            "set batch_size of the empty latent to 1, or take one row with Latent From Batch."
        )
    return samples


def batch_index_of(latent: dict[str, Any]) -> int:
    """Which draw of its seed the noise of a single latent is, as Latent From Batch notes it; 0 is the seed's own."""
    return (latent.get("batch_index") or [0])[0]


def ksampler_candidate(
    seed: int,
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
    """What the KSampler node does with these inputs.

    Raises:
        ValueError: errors as :func:`single_latent`, or a denoise of 0.
    """
    samples = single_latent(latent)
    if denoise <= 0:
        raise ValueError(
            "denoise is 0, so nothing is sampled and every seed would give the latent image as it is. "
            "Set denoise above 0: 1 for an empty latent, less to keep more of an image."
        )

    def sample(model: Any, callback: Callback) -> Tensor:
        start = empty_latent_for(model, samples, latent)
        noise = comfy.sample.prepare_noise(start, seed, latent.get("batch_index"))
        return comfy.sample.sample(
            model, noise, steps, cfg, sampler_name, scheduler, positive, negative, start, denoise=denoise,
            noise_mask=latent.get("noise_mask"), callback=callback, disable_pbar=True, seed=seed,
        )  # fmt: skip

    return Candidate(seed, sample, prompt, batch_index_of(latent))


def guider_candidate(
    seed: int, guider: Any, sampler: Any, sigmas: Tensor, latent: dict[str, Any], prompt: int = 0
) -> Candidate:
    """What SamplerCustomAdvanced does with these inputs and RandomNoise of that seed; the guider may be any.

    Raises:
        ValueError: as :func:`single_latent`.
    """
    samples = single_latent(latent)

    def sample(model: Any, callback: Callback) -> Tensor:
        mine = copy.copy(guider)  # a guider holds the state of its one run
        mine.model_patcher, mine.model_options = model, model.model_options
        mine.original_conds = dict(guider.original_conds)
        start = empty_latent_for(model, samples, latent)
        noise = comfy.sample.prepare_noise(start, seed, latent.get("batch_index"))
        return mine.sample(
            noise, start, sampler, sigmas,
            denoise_mask=latent.get("noise_mask"), callback=callback, disable_pbar=True, seed=seed,
        )  # fmt: skip

    return Candidate(seed, sample, prompt, batch_index_of(latent), (guider, sampler))
