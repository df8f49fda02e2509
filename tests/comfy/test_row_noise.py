"""A row of a Seed Batch is its seed: what a stock sampler node makes of that seed alone, noise on the way included."""

import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_custom_sampler import CFGGuider, RandomNoise, SamplerCustomAdvanced, SamplerEulerAncestral
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.core.samplers import traits_of
from diffusion_probe.engine.runs import row_noise
from diffusion_probe.engine.runs.row_noise import with_row_noise
from diffusion_probe.nodes.seeds import SeedBatch

import nodes as comfy_nodes
from support.marks import each_sampler
from support.models import SMALL_UNET

SEEDS = [5, 2**40]
STEPS = 4
SIDES = random_conditioning(1), random_conditioning(2)


@pytest.fixture(scope="module")
def models():
    """Models by kind; the flow model is smooth, so that dpm_adaptive takes few steps."""
    return {
        "flow": (random_flux(hidden_size=128, depth=1, depth_single_blocks=1, scale=0.5), 16),
        "eps": (random_sdxl(**SMALL_UNET), 4),
    }


def batched(model, seeds=SEEDS):
    return SeedBatch.execute(0, 1, ", ".join(map(str, seeds)), model)


def latent_of(rows, channels, **more):
    return {"samples": torch.zeros(rows, channels, 8, 8), **more}


@torch.inference_mode()
def ksampler(model, seed, latent, sampler, scheduler="normal"):
    return comfy_nodes.KSampler().sample(model, seed, STEPS, 2.0, sampler, scheduler, *SIDES, latent)[0]["samples"]


def errors(batch, alone):
    return [float((row[None] - one).norm() / one.norm()) for row, one in zip(batch, alone, strict=True)]


@pytest.mark.parametrize("kind", ["flow", "eps"])
@pytest.mark.parametrize("sampler", each_sampler())
def test_a_row_is_what_ksampler_makes_of_its_seed_alone(models, kind, sampler):
    model, channels = models[kind]
    batch = ksampler(batched(model)[1], 9, latent_of(2, channels), sampler)
    alone = ksampler(model, SEEDS[1], latent_of(1, channels), sampler)  # the first row of a stock batch may be alike
    function = comfy.samplers.sampler_object(sampler).sampler_function.__name__
    assert (errors(batch[1:], alone)[0] < 1e-5) == (not traits_of(function).adaptive)


def test_the_table_names_the_samplers_that_draw_noise_and_no_other(models):
    """Drawing is seen by another seed after the same start."""
    model, channels = models["flow"]
    start = torch.randn((1, channels, 8, 8), generator=torch.Generator().manual_seed(0))
    for name in comfy.samplers.SAMPLER_NAMES:
        with torch.inference_mode():
            first, second = (
                comfy.sample.sample(
                    model, start, 4, 1.0, name, "normal", *SIDES, start * 0, seed=seed, disable_pbar=True
                )
                for seed in (1, 2)
            )
        known = row_noise.step_noise_of(comfy.samplers.sampler_object(name))
        assert torch.equal(first, second) == (known is None), name


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2m_sde_gpu"])
def test_ksampler_advanced_gives_the_same_also_when_it_stops_early(models, sampler):
    model, channels = models["flow"]

    @torch.inference_mode()
    def advanced(model, seed, rows):
        settings = (STEPS, 2.0, sampler, "simple", *SIDES, latent_of(rows, channels), 0, 3, "enable")
        return comfy_nodes.KSamplerAdvanced().sample(model, "enable", seed, *settings)[0]["samples"]

    alone = [advanced(model, seed, 1) for seed in SEEDS]
    assert max(errors(advanced(batched(model)[1], 9, 2), alone)) < 1e-5


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_sde", "ddpm", "sa_solver"])
@torch.inference_mode()
def test_sampler_custom_advanced_gives_the_same_with_the_model_of_seed_batch(models, sampler):
    model, channels = models["eps"]
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "karras", STEPS)

    def custom(model, noise, rows):
        guider = CFGGuider.execute(model, *SIDES, 2.0)[0]
        drawing = comfy.samplers.sampler_object(sampler)
        return SamplerCustomAdvanced.execute(noise, guider, drawing, sigmas, latent_of(rows, channels))[0]["samples"]

    noise, patched, *_ = batched(model).args
    alone = [custom(model, RandomNoise.execute(seed)[0], 1) for seed in SEEDS]
    assert max(errors(custom(patched, noise, 2), alone)) < 1e-5


@torch.inference_mode()
def test_the_settings_of_a_sampler_node_are_kept(models):
    model, channels = models["flow"]
    sampler = SamplerEulerAncestral.execute(0.4, 0.9)[0]
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)

    def custom(model, noise, rows):
        guider = CFGGuider.execute(model, *SIDES, 2.0)[0]
        return SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent_of(rows, channels))[0]["samples"]

    alone = [custom(model, RandomNoise.execute(seed)[0], 1) for seed in SEEDS]
    noise, patched, *_ = batched(model).args
    assert max(errors(custom(patched, noise, 2), alone)) < 1e-5
    assert max(errors(custom(model, noise, 2), alone)) > 1e-2, "a stock batch draws one stream"


@pytest.mark.parametrize("sampler", ["ddim", "euler", "euler_ancestral"])
def test_what_lies_outside_of_a_noise_mask_gets_the_noise_of_its_seed(models, sampler):
    """ddim draws other noise for it, from the seed after the run's."""
    model, channels = models["eps"]
    source = torch.randn((1, channels, 8, 8), generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48] = 1

    def latent(rows):
        return {"samples": source.repeat(rows, 1, 1, 1), "noise_mask": mask}

    alone = [ksampler(model, seed, latent(1), sampler) for seed in SEEDS]
    assert max(errors(ksampler(batched(model)[1], 9, latent(2), sampler), alone)) < 1e-5


def test_a_sampler_of_another_pack_is_left_as_it_is():
    def sample_euler_ancestral(model, x, sigmas, extra_args=None, callback=None, disable=None, noise_sampler=None):
        return x

    for sampler in (
        comfy.samplers.KSAMPLER(sample_euler_ancestral),
        comfy.samplers.ksampler("euler_ancestral", {"noise_sampler": print}),
        comfy.samplers.ksampler("euler"),
        comfy.samplers.Sampler(),
    ):
        assert with_row_noise(sampler, SEEDS) is sampler


def test_nothing_is_left_on_the_sampler_that_was_given(models):
    model, channels = models["flow"]
    sampler = comfy.samplers.sampler_object("euler_ancestral")
    function, options = sampler.sampler_function, dict(sampler.extra_options)
    changed = with_row_noise(sampler, SEEDS)
    assert changed is not sampler and changed.sampler_function.__name__ == "sample_euler_ancestral"
    assert sampler.sampler_function is function and sampler.extra_options == options
