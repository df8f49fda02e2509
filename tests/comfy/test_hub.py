"""Runs that share model calls give what each gives alone, for every sampler."""

import comfy.model_management
import comfy.sample
import comfy.samplers
import pytest
import torch
from diffusion_probe.sampling.capture import attach_probe, captured
from diffusion_probe.sampling.hub import Hub
from diffusion_probe.testbed.random_models import random_conditioning, random_flux, random_sdxl

SEEDS = [3, 4, 5, 6]
SURVIVORS = 2
CUT = 5


@pytest.fixture(params=["flux", "sdxl"])
def model(request):
    if request.param == "sdxl":
        return random_sdxl()
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


@pytest.fixture
def alone(ksampler):
    """What the stock KSampler gives for one seed."""

    def run(model, seed, **options):
        channels = model.get_model_object("latent_format").latent_channels
        return ksampler(model, rows=1, seed=seed, latent=torch.zeros(1, channels, 8, 12), **options)

    return run


def search(model, alone, cut=CUT, max_rows=0, survivors=SURVIVORS, **options):
    """All seeds to the cut, the first two to the end; the runs."""
    hub = Hub(model, max_rows)
    runs = hub.start([lambda seed=seed: alone(hub.model, seed, **options) for seed in SEEDS])
    try:
        hub.advance(dict.fromkeys(runs, cut))
        hub.advance(dict.fromkeys(runs[:survivors], runs[0].steps))
    finally:
        hub.close(keep=runs[:survivors])
    return runs


def relative_error(result, expected):
    return float((result - expected).norm() / expected.norm())


@pytest.mark.parametrize("sampler", [name for name in comfy.samplers.SAMPLER_NAMES if name != "dpm_adaptive"])
def test_survivors_equal_the_stock_sampler_of_their_seed(model, alone, sampler):
    runs = search(model, alone, sampler=sampler, scheduler="normal")
    for run, seed in zip(runs[:SURVIVORS], SEEDS, strict=False):
        assert relative_error(run.result, alone(model, seed, sampler=sampler, scheduler="normal")) < 1e-5


@pytest.mark.parametrize("scheduler", comfy.samplers.SCHEDULER_NAMES)
def test_survivors_equal_the_stock_sampler_on_every_scheduler(model, alone, scheduler):
    runs = search(model, alone, scheduler=scheduler)
    assert relative_error(runs[0].result, alone(model, SEEDS[0], scheduler=scheduler)) < 1e-5


def test_no_row_is_computed_twice_and_dropped_runs_cost_what_they_needed(model, alone):
    runs = search(model, alone)
    assert [run.model_rows for run in runs] == [24, 24, 10, 10]


def test_an_upper_bound_of_rows_per_call_is_kept(model, alone, monkeypatch):
    batches = []
    original = type(model.model.diffusion_model).forward

    def forward(self, x, *args, **kwargs):
        batches.append(len(x))
        return original(self, x, *args, **kwargs)

    monkeypatch.setattr(type(model.model.diffusion_model), "forward", forward)
    runs = search(model, alone, max_rows=4)
    assert max(batches) == 4 and runs[0].result is not None


def test_a_probe_on_the_model_sees_each_run_as_if_it_ran_alone(model, alone, probe):
    together = attach_probe(model, probe, "step 3")
    runs = search(together, alone)
    single = attach_probe(model, probe, "step 3")
    for run, seed in zip(runs[:SURVIVORS], SEEDS, strict=False):
        (a,), (b,) = captured(together, {"samples": run.result}), captured(single, {"samples": alone(single, seed)})
        assert (a.attention - b.attention).abs().max() < 1e-3 and relative_error(a.denoised, b.denoised) < 1e-5


def test_the_model_is_clean_after_runs_were_stopped_and_after_an_error(model, alone):
    search(model, alone)
    assert model.model.current_patcher is None
    hub = Hub(model)

    def breaks(step, x0, x, total_steps):
        raise RuntimeError("broken")

    runs = hub.start([lambda: alone(hub.model, 3), lambda: alone(hub.model, 4, callback=breaks)])
    hub.serve(runs)
    assert runs[0].waiting is not None and str(runs[1].error) == "broken"
    hub.stop(runs)
    assert model.model.current_patcher is None
    assert torch.equal(alone(model, 3), alone(model, 3))


def test_prompts_of_other_lengths_run_in_calls_of_their_own(model, alone):
    hub = Hub(model)
    prompts = [random_conditioning(1), random_conditioning(7, tokens=5)]
    runs = hub.start([lambda p=p: alone(hub.model, 3, positive=p, negative=p) for p in prompts])
    while any(run.waiting for run in runs):
        hub.serve(runs)
    for run, prompt in zip(runs, prompts, strict=True):
        assert relative_error(run.result, alone(model, 3, positive=prompt, negative=prompt)) < 1e-5
