"""A moment is the last model evaluation above its noise level, for every sampler and scheduler."""

import comfy.patcher_extension
import comfy.samplers
import pytest
import torch
from diffusion_probe.dev.random_models import random_flux
from diffusion_probe.engine.capture import moments
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.engine.core.samplers import traits_of

from support.marks import each_sampler


@pytest.fixture
def small():
    """As small as FLUX gets: every sampler runs in a moment."""
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1, scale=0.5)


def with_sigmas_seen(model):
    """A clone that lists the sigma of every model evaluation."""
    model, seen = model.clone(), []

    def watch(executor, x, timestep, *args, **kwargs):
        seen.append(float(timestep[0]))
        return executor(x, timestep, *args, **kwargs)

    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREDICT_NOISE, "test", watch)
    return model, seen


@pytest.mark.parametrize("sampler", each_sampler())
def test_the_last_evaluation_above_the_noise_level_is_captured(small, ksampler, probe, sampler):
    watched, seen = with_sigmas_seen(small)
    model = attach_probe(watched, probe, "20%, 40%")
    latent = {"samples": ksampler(model, rows=1, cfg=1.0, sampler=sampler)}
    for percent in (0.2, 0.4):
        above = model.model.model_sampling.percent_to_sigma(percent) * (1 + moments.SIGMA_TOLERANCE)
        expected = max(step for step, sigma in enumerate(seen, start=1) if sigma > above)
        assert captured(model, latent, f"{100 * percent:g}%")[0].step == expected


@pytest.mark.parametrize("scheduler", comfy.samplers.SCHEDULER_NAMES)
def test_the_moment_follows_the_noise_level_of_every_scheduler(small, ksampler, probe, scheduler):
    watched, seen = with_sigmas_seen(small)
    model = attach_probe(watched, probe, "40%")
    latent = {"samples": ksampler(model, rows=1, cfg=1.0, scheduler=scheduler, steps=20)}
    above = model.model.model_sampling.percent_to_sigma(0.4) * (1 + moments.SIGMA_TOLERANCE)
    features = captured(model, latent)[0]
    assert features.step == max(step for step, sigma in enumerate(seen, start=1) if sigma > above)
    assert features.sigma == seen[features.step - 1]


@pytest.mark.parametrize("sampler", each_sampler())
def test_only_the_samplers_said_to_be_exact_survive_a_cut(ksampler, sampler):
    """Steps 0 to 4 and 4 to 12 in two nodes, against one run, as comfyui.md measured it on SDXL."""
    model = random_flux(hidden_size=128, depth=1, depth_single_blocks=1, scale=0.5)
    options = {"rows": 1, "sampler": sampler, "scheduler": "normal"}
    whole = ksampler(model, **options)
    first = ksampler(model, last_step=4, **options)
    rest = ksampler(
        model, latent=first, noise=torch.zeros_like(first), start_step=4, disable_noise=True,
        force_full_denoise=True, **options,
    )  # fmt: skip
    error = float((rest - whole).norm() / whole.norm())
    function = comfy.samplers.sampler_object(sampler).sampler_function.__name__
    assert (error < 1e-5) == (traits_of(function).exact_when_cut), error


def test_step_k_is_the_kth_evaluation_also_of_samplers_with_two_per_step(small, ksampler, probe):
    watched, seen = with_sigmas_seen(small)
    model = attach_probe(watched, probe, "step 4")
    features = captured(model, {"samples": ksampler(model, rows=1, sampler="heun")})[0]
    assert (features.step, features.sigma) == (4, seen[3]) and features.moment == "step 4"


@pytest.mark.parametrize("scheduler", ["simple", "normal"])
def test_five_of_25_steps_contain_the_moment_20_percent(small, ksampler, probe, scheduler):
    for asked in ("20%", "auto"):
        model = attach_probe(small, probe, asked)
        latent = {"samples": ksampler(model, rows=1, steps=25, last_step=5, scheduler=scheduler)}
        features = captured(model, latent)[0]
        assert (features.moment, features.step) == ("20%", 5)


def test_a_run_that_ends_before_the_moment_says_so(small, ksampler, probe):
    model = attach_probe(small, probe, "20%")
    with pytest.raises(ValueError, match=r"covers 0% to 12%.*20% lies after its end.*end at a later step"):
        captured(model, {"samples": ksampler(model, rows=1, steps=25, last_step=3)})


def test_a_run_that_starts_after_the_moment_says_so(small, ksampler, probe):
    model = attach_probe(small, probe, "20%")
    with pytest.raises(ValueError, match="20% lies before its start"):
        captured(model, {"samples": ksampler(model, rows=1, steps=10, denoise=0.5)})


def test_a_step_that_the_run_does_not_have_is_named(small, ksampler, probe):
    model = attach_probe(small, probe, "step 9")
    with pytest.raises(ValueError, match="the run had 4 model evaluations.*step 1 to 4"):
        captured(model, {"samples": ksampler(model, rows=1, steps=4)})


@pytest.mark.parametrize(("steps", "step"), [(1, 1), (2, 2), (4, 2), (8, 2), (10, 2), (25, 5), (50, 10)])
def test_the_default_is_20_percent_or_the_second_evaluation_of_few(small, ksampler, probe, steps, step):
    model = attach_probe(small, probe)
    assert captured(model, {"samples": ksampler(model, rows=1, steps=steps, cfg=1.0)})[0].step == step


def test_a_family_may_have_a_default_of_its_own(small):
    sampling = small.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", 25)
    plan = moments.MomentPlan(None, sigmas, sampling, "sample_euler", default=0.4)
    assert [str(moment) for moment in plan.moments] == ["40%"] and plan.wanted(10, float(sigmas[9]))


def test_two_of_four_steps_are_known_to_belong_to_few(small, ksampler, probe):
    model = attach_probe(small, probe)
    features = captured(model, {"samples": ksampler(model, rows=1, steps=4, last_step=2)})[0]
    assert features.moment == "step 2"


@pytest.mark.parametrize("text", ["", " , ", "20", "0%", "100%", "120%", "step 0", "step", "soon", "auto, 20%", "-5%"])
def test_what_is_no_moment_is_refused_with_what_is(text):
    with pytest.raises(ValueError, match="auto"):
        moments.parse_moments(text)


def test_moments_are_read_as_typed_and_once_each():
    read = moments.parse_moments(" 20% , STEP 5,20.0 %")
    assert [str(moment) for moment in read] == ["20%", "step 5"]
