"""Training of the autoencoder, ComfyUI's own TAESD class, image/8: 16 latent channels for FLUX, 4 for SDXL.

Its encoder gives the latent as the diffusion model reads it, of about zero mean and unit
variance. TAESD's own ``vae_scale`` and ``vae_shift`` undo the family's latent format around it, so
the stock VAE nodes and the stock sampler agree. Three of the dimensions are trained towards the
colours that ComfyUI's latent preview reads for the family, so the live preview shows colours too.
"""

from pathlib import Path

import comfy.latent_formats
import comfy.taesd.taesd
import numpy as np
import torch
import torch.nn.functional as F

from ...testbed.render import render
from ...testbed.scenes import sample_scenes
from ...training.fitting.precision import bfloat16_is_fast
from ...training.fitting.stage import Plan, Stage, generator_for
from .autograd import differentiable

LATENT_CHANNELS = 16
CROP_PX = 48
BATCH = 16
PEAK_RATE = 2e-3
OBJECT_WEIGHT = 8.0  # a pixel of an object against one of the background, which is nine tenths of an image
PREVIEW_CONTRAST = 0.45  # unit-variance latents can't reach the full contrast of the preview's colours
BACKGROUND = 0.88  # mean grey of the rendered backgrounds: what the preview shows as mid-grey


def new_autoencoder(latent_channels: int = LATENT_CHANNELS) -> comfy.taesd.taesd.TAESD:
    """Build a TAESD with random weights (ComfyUI's layers leave theirs uninitialised)."""
    model = comfy.taesd.taesd.TAESD(latent_channels=latent_channels)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.Conv2d.reset_parameters(layer)
    return model


def image_batch(seed: int, step: int, size: int, crop: int = CROP_PX) -> torch.Tensor:
    """Draw random crops of correct images of training scenes, [size, 3, crop, crop] in 0…1."""
    generator = generator_for(seed, step)
    corners = torch.randint(0, 128 - crop + 1, (size, 2), generator=generator).tolist()
    scenes = sample_scenes(size, seed * 1_000_003 + step, split="train")
    images = [
        render(scene, f"{seed}-{step}-{i}")[y : y + crop, x : x + crop]
        for i, (scene, (y, x)) in enumerate(zip(scenes, corners))
    ]
    return torch.from_numpy(np.stack(images)).movedim(-1, 1).contiguous()


def autoencoder_loss(
    model: comfy.taesd.taesd.TAESD,
    images: torch.Tensor,
    latent_format: comfy.latent_formats.LatentFormat,
    generator: torch.Generator,
) -> torch.Tensor:
    """Compute the loss: reconstruction from a slightly noised latent, unit statistics, and preview colours.

    Coloured pixels weigh more, or the colours of small objects would be learnt last.
    """
    coloured = (images.amax(1, keepdim=True) - images.amin(1, keepdim=True)) > 0.05
    weight = 1 + (OBJECT_WEIGHT - 1) * coloured
    half = torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16_is_fast(images.device))
    with half:
        latent = model.taesd_encoder(images).float()
    # Noise of any strength up to a third: neighbouring latents must mean neighbouring images.
    strength = torch.rand((len(images), 1, 1, 1), generator=generator) * 0.3
    noise = (torch.randn(latent.shape, generator=generator) * strength).to(latent)
    with half:
        decoded = model.taesd_decoder(latent + noise).float()
    error = (decoded - images).abs()
    reconstruction = (weight * (error + 4 * error.square())).mean()
    statistics = latent.mean((0, 2, 3)).square().mean() + (latent.std((0, 2, 3)) - 1).square().mean()
    factors = torch.tensor(latent_format.latent_rgb_factors).to(latent)
    preview = torch.einsum("bchw,cr->brhw", latent, factors)
    wanted = PREVIEW_CONTRAST * 2 * (F.avg_pool2d(images, 8) - BACKGROUND)
    colours = (F.avg_pool2d(weight, 8) * (preview - wanted).square()).mean()
    return reconstruction + 0.05 * statistics + colours


def fit_latent_format(
    model: comfy.taesd.taesd.TAESD, images: torch.Tensor, latent_format: comfy.latent_formats.LatentFormat
) -> None:
    """Set ``vae_scale`` and ``vae_shift`` so that the sampler's latents have mean 0 and variance 1 on ``images``."""
    with torch.no_grad():
        latent = model.taesd_encoder(images)
    mean, std = latent.mean().item(), latent.std().item()
    shift = getattr(latent_format, "shift_factor", 0.0)
    model.vae_scale.data.fill_(latent_format.scale_factor * std)
    model.vae_shift.data.fill_(shift - mean / (latent_format.scale_factor * std))


def train_autoencoder(
    out: Path, steps: int, seed: int, device: torch.device, latent_format: comfy.latent_formats.LatentFormat
) -> tuple[comfy.taesd.taesd.TAESD, list[float]]:
    """Train the autoencoder, or go on training it, and return it with the loss of each step."""
    torch.manual_seed(seed)
    channels = latent_format.latent_channels
    model = new_autoencoder(channels).to(device, memory_format=torch.channels_last)
    for parameter in (model.vae_scale, model.vae_shift):
        parameter.requires_grad_(False)

    def loss_of(step: int) -> torch.Tensor:
        images = image_batch(seed, step, BATCH).to(device, memory_format=torch.channels_last)
        with differentiable():
            return autoencoder_loss(model, images, latent_format, generator_for(seed + 1, step))

    trained = torch.nn.ModuleDict({"encoder": model.taesd_encoder, "decoder": model.taesd_decoder})
    settings = {"stage": "vae", "seed": seed, "batch": BATCH, "crop": CROP_PX, "channels": channels}
    plan = Plan(steps, PEAK_RATE, average=0.99)
    losses = Stage(out / "vae.safetensors", trained, loss_of, plan, settings).run()
    fit_latent_format(model, image_batch(seed, steps + 1, 64, crop=128).to(device), latent_format)
    return model, losses
