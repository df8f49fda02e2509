"""Sampling of a testbed model without a server, by ComfyUI's own KSampler code, many seeds in one batch."""

from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_patcher
import comfy.sample
import comfy.sd
import torch

from ..engine.capture.hooks.families import family_of
from ..engine.runs.seeds import batch_noise

STEPS = 25
CFG = {"FLUX": 2.0, "SDXL": 3.0}
"""Guidance by family."""

SAMPLER = "euler"
SCHEDULER = "simple"
SIZE_PX = 128


def default_cfg(model: comfy.model_patcher.ModelPatcher) -> float:
    """Return the guidance that a testbed model is sampled with."""
    return CFG[family_of(model).name]


def encode_prompts(clip: comfy.sd.CLIP, prompts: Sequence[str]) -> list:
    """Encode prompts as CLIP Text Encode does, one row per prompt: context [B, T, C], pooled [B, C]."""
    unique = {text: clip.encode_from_tokens(clip.tokenize(text), return_pooled=True) for text in dict.fromkeys(prompts)}
    contexts, pooled = zip(*(unique[prompt] for prompt in prompts))
    return [[torch.cat(contexts), {"pooled_output": torch.cat(pooled)}]]


@torch.inference_mode()  # as ComfyUI runs every prompt
def sample_latents(
    model: comfy.model_patcher.ModelPatcher,
    clip: comfy.sd.CLIP,
    prompts: str | Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = STEPS,
    cfg: float | None = None,
    negative: str = "",
    callback: Callable | None = None,
) -> torch.Tensor:
    """Sample latents [N, C, 16, 16] as KSampler returns them, one row per seed.

    Args:
        prompts: one prompt for all seeds, or one per seed.
        cfg: guidance, that of the family by default.
        callback: KSampler's (step, denoised, x, total steps).

    Raises:
        ValueError: neither one prompt nor one per seed.
    """
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    if len(prompts) not in (1, len(seeds)):
        raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds; give one prompt, or one per seed.")
    positive = encode_prompts(clip, prompts)
    return sample_conditioned(model, positive, clip, seeds, steps=steps, cfg=cfg, negative=negative, callback=callback)


@torch.inference_mode()
def sample_conditioned(
    model: comfy.model_patcher.ModelPatcher,
    positive: list,
    clip: comfy.sd.CLIP,
    seeds: Sequence[int],
    *,
    steps: int = STEPS,
    cfg: float | None = None,
    negative: str = "",
    callback: Callable | None = None,
    size: tuple[int, int] = (SIZE_PX, SIZE_PX),
    last_step: int | None = None,
) -> torch.Tensor:
    """Sample latents from CONDITIONING, else as :func:`sample_latents`.

    Args:
        size: height and width in pixels.
        last_step: step after which sampling ends, with the noise that is left, as KSampler Advanced does.
    """
    latent = torch.zeros([len(seeds), 4, size[0] // 8, size[1] // 8])
    latent = comfy.sample.fix_empty_latent_channels(model, latent)
    return comfy.sample.sample(
        model,
        batch_noise(latent, seeds),
        steps,
        default_cfg(model) if cfg is None else cfg,
        SAMPLER,
        SCHEDULER,
        positive,
        encode_prompts(clip, [negative]),
        latent,
        callback=callback,
        disable_pbar=True,
        seed=seeds[0],
        last_step=last_step,
        force_full_denoise=False,
    )


@torch.inference_mode()
def sample_images(
    model: comfy.model_patcher.ModelPatcher,
    clip: comfy.sd.CLIP,
    vae: comfy.sd.VAE,
    prompts: str | Sequence[str],
    seeds: Sequence[int],
    **options: Any,
) -> torch.Tensor:
    """Sample images [N, 128, 128, 3] float in 0…1, one per seed; options as in :func:`sample_latents`."""
    return vae.decode(sample_latents(model, clip, prompts, seeds, **options))
