"""A sampler that adds noise on its way is known by what it does, whatever it is called and draws from."""

import comfy.k_diffusion.sampling as k_diffusion
import comfy.sample
import comfy.samplers
import numpy as np
import pytest
import torch
from comfy_extras.nodes_advanced_samplers import SamplerLCMUpscale
from diffusion_probe.dev.random_models import random_conditioning, random_flux
from diffusion_probe.engine.step_cache import hook
from diffusion_probe.engine.step_cache.config import StepCacheConfig
from diffusion_probe.engine.step_cache.hook import apply_step_cache

STEPS, ROWS = 12, 2


@pytest.fixture(scope="module")
def small():
    return random_flux(seed=0, scale=1.5, hidden_size=128, depth=1, depth_single_blocks=1)


@torch.inference_mode()
def run(model, sampler, mask=None, source=None):
    latent = torch.zeros(ROWS, 16, 8, 12) if source is None else source
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)
    torch.manual_seed(3), np.random.seed(3)
    return comfy.sample.sample_custom(
        model, torch.randn(latent.shape, generator=torch.Generator().manual_seed(1)), 2.0, sampler, sigmas,
        random_conditioning(1), random_conditioning(2), latent, noise_mask=mask, disable_pbar=True, seed=5,
    )  # fmt: skip


def euler_with(draw):
    """A sampler of another pack that adds a part of new noise at each step but the last."""

    def solver(model, x, sigmas, extra_args=None, callback=None, disable=None, s_noise=0.3, eta=0.0):
        for at, after in zip(sigmas, sigmas[1:]):
            x0 = model(x, at * x.new_ones(len(x)), **extra_args)
            x = x0 + (x - x0) * (after / at)
            if after > 0:
                x = x + draw(x) * s_noise * after
        return x

    return solver


OWN = torch.Generator()


def by_own_generator(x):
    return torch.randn(x.shape, generator=OWN)


def by_numpy(x):
    return torch.from_numpy(np.random.randn(*x.shape).astype("float32"))


class OwnClass(comfy.samplers.Sampler):
    """A SAMPLER without a sampler function."""

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, *_):
        extra = {"model_options": extra_args["model_options"], "seed": extra_args["seed"]}
        return euler_with(torch.randn_like)(model_wrap, noise * sigmas[0], sigmas, extra)


def brownian_under_another_name(model, x, sigmas, extra_args=None, callback=None, disable=None):
    tree = k_diffusion.BrownianTreeNoiseSampler(x, sigmas[-2], sigmas[0], seed=7)
    return k_diffusion.sample_euler_ancestral(model, x, sigmas, extra_args, callback, disable, noise_sampler=tree)


ROUGH = {
    "the global generator": comfy.samplers.KSAMPLER(euler_with(torch.randn_like)),
    "a generator of its own": comfy.samplers.KSAMPLER(euler_with(by_own_generator)),
    "numpy": comfy.samplers.KSAMPLER(euler_with(by_numpy)),
    "little noise": comfy.samplers.KSAMPLER(euler_with(torch.randn_like), {"s_noise": 0.01}),
    "a Brownian tree": comfy.samplers.KSAMPLER(brownian_under_another_name),
    "a class of its own": OwnClass(),
    "churn": comfy.samplers.ksampler("euler", {"s_churn": 1.0}),
}


@pytest.fixture
def seen(monkeypatch):
    """What each cached run's watch of the sampler has seen."""
    made, original = [], hook.StepNoise

    def watch(*args):
        made.append(original(*args))
        return made[-1]

    monkeypatch.setattr(hook, "StepNoise", watch)
    return made


@pytest.mark.parametrize("sampler", ROUGH.values(), ids=ROUGH)
def test_outputs_are_reused_where_any_sampler_adds_noise(small, sampler, seen):
    OWN.manual_seed(2)
    cached = run(apply_step_cache(small, StepCacheConfig(interval=3)), sampler)
    OWN.manual_seed(2)
    reused = run(apply_step_cache(small, StepCacheConfig(interval=3, predictor="reuse")), sampler)
    assert torch.equal(cached, reused) and seen[0].found
    OWN.manual_seed(2)
    assert not torch.equal(cached, run(small, sampler)), "something was predicted"


def solver_called_sde(model, x, sigmas, extra_args=None, callback=None, disable=None):
    return k_diffusion.sample_dpmpp_2m(model, x, sigmas, extra_args, callback, disable)


SMOOTH = {
    "a name with sde": comfy.samplers.KSAMPLER(solver_called_sde),
    "an sde without noise": comfy.samplers.ksampler("dpmpp_2m_sde", {"eta": 0.0}),
    "ancestral without noise": comfy.samplers.ksampler("euler_ancestral", {"eta": 0.0}),
    "a long history": comfy.samplers.ksampler("lms", {"order": 6}),
}


@pytest.mark.parametrize("sampler", SMOOTH.values(), ids=SMOOTH)
def test_a_sampler_without_noise_is_extrapolated_whatever_its_name(small, sampler, seen):
    cached, reused = (
        run(apply_step_cache(small, StepCacheConfig(interval=3, predictor=name)), sampler)
        for name in ("pade11", "reuse")
    )
    assert not seen[0].found and not torch.equal(cached, reused)


@pytest.mark.parametrize(("name", "found"), [("euler", False), ("dpmpp_2m", False), ("euler_ancestral", True)])
@pytest.mark.parametrize("edge", ["hard", "soft"])
def test_a_noise_mask_is_not_taken_for_noise(small, seen, name, found, edge):
    source = torch.randn((ROWS, 16, 8, 12), generator=torch.Generator().manual_seed(4))
    mask = torch.zeros(ROWS, 1, 8, 12)
    mask[..., 6:] = 1
    if edge == "soft":
        mask[..., :6] = torch.linspace(0, 0.9, 6)
    run(apply_step_cache(small, StepCacheConfig()), comfy.samplers.sampler_object(name), mask, source)
    assert seen[0].found == found and not seen[0].blind


def test_a_mask_that_is_one_nowhere_lets_outputs_be_reused_and_says_so(small, seen, caplog):
    caplog.set_level("INFO")
    source, sampler = torch.ones(ROWS, 16, 8, 12), comfy.samplers.sampler_object("euler")
    mask = torch.full((ROWS, 1, 8, 12), 0.5)
    cached = run(apply_step_cache(small, StepCacheConfig()), sampler, mask, source)
    assert torch.equal(cached, run(apply_step_cache(small, StepCacheConfig(predictor="reuse")), sampler, mask, source))
    assert "the noise mask is 1 nowhere" in caplog.text


def test_a_sampler_that_changes_the_latents_size_is_no_obstacle(small, seen):
    sampler = SamplerLCMUpscale.execute(1.5, 3, "bilinear")[0]
    result = run(apply_step_cache(small, StepCacheConfig()), sampler)
    assert torch.isfinite(result).all() and result.shape[-1] == 18 and seen[0].found
