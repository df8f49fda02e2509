"""Stock runs of ComfyUI's KSampler on small models, in process."""

import comfy.sample
import torch
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_model


@torch.inference_mode()
def sample(
    model, positive=None, negative=None, rows=2, seed=5, steps=12, cfg=2.0, latent=None, noise=None,
    sampler="euler", scheduler="simple", **options,
):  # fmt: skip
    """Return what the stock KSampler gives: a latent of so many rows, 8 x 12 (4 x 6 image tokens) by default."""
    if latent is None:
        latent = torch.zeros(rows, model.get_model_object("latent_format").latent_channels, 8, 12)
    noise = comfy.sample.prepare_noise(latent, seed) if noise is None else noise
    positive = random_conditioning(1) if positive is None else positive
    negative = random_conditioning(2) if negative is None else negative
    return comfy.sample.sample(
        model, noise, steps, cfg, sampler, scheduler, positive, negative, latent,
        seed=seed, disable_pbar=True, **options,
    )  # fmt: skip


class SmallModel:
    """A small model with random weights, of a family by name, and what a KSampler needs to run it.

    Attributes:
        model: the MODEL; its attention is far from flat.
        latent: an empty latent of one row, 8 x 12.
    """

    def __init__(self, name):
        self.name = name
        self.model = random_flux(scale=1.5) if name == "FLUX" else random_model(name, scale=1.5)
        latent_format = self.model.get_model_object("latent_format")
        frames = [1] if latent_format.latent_dimensions == 3 else []
        self.latent = torch.zeros(1, latent_format.latent_channels, *frames, 8, 12)

    def prompt(self, seed, tokens=12, **changes):
        """Return a CONDITIONING for it."""
        [[context, entry]] = random_conditioning(seed, tokens=tokens)
        if self.name == "HiDream":
            llama = torch.randn((1, 4, 7, 32), generator=torch.Generator().manual_seed(seed))
            entry["conditioning_llama3"] = llama
        return [[context, {**entry, **changes}]]

    def empty(self, rows=2):
        """Return an empty latent of so many rows."""
        return self.latent.repeat(rows, *[1] * (self.latent.ndim - 1))

    def sample(self, model=None, rows=2, steps=3, positive=None, negative=None, latent=None, **options):
        """Return what the stock KSampler gives: a latent of so many rows."""
        return sample(
            model or self.model,
            self.prompt(1) if positive is None else positive,
            self.prompt(2) if negative is None else negative,
            steps=steps,
            latent=self.empty(rows) if latent is None else latent,
            **options,
        )
