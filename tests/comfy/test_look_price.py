"""Price of a look, by model, decoder and the size of the image that the latent stands for."""

import pytest
import torch
from diffusion_probe.dev.random_models import random_flux, random_model
from diffusion_probe.engine.core.look_prices import FAST
from diffusion_probe.engine.core.reward import Reward
from diffusion_probe.engine.seed_search.look_price import price_of_look
from diffusion_probe.probe_models.preview import PreviewReward


class Free(Reward):
    label = "free"

    def score(self, images, prompts):
        return torch.zeros(len(images))


def preview(**given):
    return PreviewReward(lambda latents: latents, Free(), **given)


def empty(channels, side, **ratios):
    return {"samples": torch.zeros(1, channels, side, side), **ratios}


def test_a_look_costs_the_decoders_share_of_an_evaluation_of_the_image():
    flux = random_flux()
    assert price_of_look(preview(), flux, empty(16, 128)) == pytest.approx(0.39, abs=0.01)
    assert price_of_look(preview(decoder=FAST), flux, empty(16, 128)) == pytest.approx(0.021, abs=0.002)
    assert price_of_look(None, flux, empty(16, 128)) == 0.0


def test_an_empty_latent_of_another_scale_is_priced_by_its_image():
    """ComfyUI lets an empty latent say its scale, and makes of it the one that a model takes."""
    flux2 = random_model("FLUX.2 Klein")
    own = price_of_look(preview(), flux2, empty(128, 64, downscale_ratio_spacial=16))
    assert price_of_look(preview(), flux2, empty(4, 128, downscale_ratio_spacial=8)) == pytest.approx(own)
    assert price_of_look(preview(), flux2, empty(4, 64, downscale_ratio_spacial=8)) != pytest.approx(own)
