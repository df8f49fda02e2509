"""Sample a testbed model headless, through ComfyUI's own KSampler code, many seeds in one batch."""

from collections.abc import Callable, Sequence

import comfy.model_patcher
import comfy.sample
import comfy.sd
import torch

from ..engine.capture.hooks.families import family_of
from ..engine.runs.seeds import batch_noise

STEPS = 25
CFG = {"FLUX": 2.0, "SDXL": 3.0}
SAMPLER = "euler"
SCHEDULER = "simple"
SIZE_PX = 128


def default_cfg(model: comfy.model_patcher.ModelPatcher) -> float:
    """The guidance that a testbed model is sampled with."""
    return CFG[family_of(model).name]


def encode_prompts(clip: comfy.sd.CLIP, prompts: Sequence[str]) -> list:
    """CONDITIONING with one row per prompt, as CLIP Text Encode makes it: context [B, T, C], pooled [B, C]."""
    unique = {text: clip.encode_from_tokens(clip.tokenize(text), return_pooled=True) for text in dict.fromkeys(prompts)}
    context, pooled = (torch.cat([unique[prompt][part] for prompt in prompts]) for part in (0, 1))
    return [[context, {"pooled_output": pooled}]]


@torch.inference_mode()  # as ComfyUI runs every prompt
def sample_latents(
    model: comfy.model_patcher.ModelPatcher,
    clip: comfy.sd.CLIP,
    prompts: str | Sequence[str],
    seeds: Sequence[int],
    steps: int = STEPS,
    cfg: float | None = None,
    negative: str = "",
    callback: Callable | None = None,
) -> torch.Tensor:
    """Latents [N, C, 16, 16] as KSampler returns them, one row per seed.

    Args:
        prompts: one prompt for all seeds, or one per seed.
        cfg: guidance; the family's own by default.
        callback: KSampler's (step, denoised, x, total steps).
    """
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    if len(prompts) not in (1, len(seeds)):
        raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds; give one prompt, or one per seed.")
    return sample_conditioned(model, encode_prompts(clip, prompts), clip, seeds, steps, cfg, negative, callback)


@torch.inference_mode()
def sample_conditioned(
    model: comfy.model_patcher.ModelPatcher,
    positive: list,
    clip: comfy.sd.CLIP,
    seeds: Sequence[int],
    steps: int = STEPS,
    cfg: float | None = None,
    negative: str = "",
    callback: Callable | None = None,
    size: tuple[int, int] = (SIZE_PX, SIZE_PX),
    last_step: int | None = None,
) -> torch.Tensor:
    """As :func:`sample_latents`, from CONDITIONING.

    Args:
        size: height and width in pixels.
        last_step: end there, with the noise that is left, as KSampler Advanced does.
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
    **options: object,
) -> torch.Tensor:
    """Images [N, 128, 128, 3] float in 0…1, one per seed; options as in ``sample_latents``."""
    return vae.decode(sample_latents(model, clip, prompts, seeds, **options))
