"""Exactness of runs that share model calls, for every sampler."""

import comfy.model_management
import comfy.sample
import comfy.samplers
import pytest
import torch
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.engine.seed_search.hub.hub import Hub

from support.compare import relative_error
from support.marks import each_sampler, some_long

SEEDS = [3, 4, 5]
STEPS = 6
CUT = 3


@pytest.fixture(scope="module", params=some_long(["flux", "sdxl"], ["sdxl"]))
def model(request):
    """A small model, smooth enough that dpm_adaptive takes few steps."""
    if request.param == "sdxl":
        return random_sdxl()
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1, scale=0.5)


@pytest.fixture
def alone(ksampler):
    """What the stock KSampler gives for one seed."""

    def run(model, seed, **options):
        channels = model.get_model_object("latent_format").latent_channels
        options = {"steps": STEPS, **options}
        return ksampler(model, rows=1, seed=seed, latent=torch.zeros(1, channels, 8, 8), **options)

    return run


def search(model, alone, cut=CUT, max_rows=0, survivors=1, **options):
    """All seeds to the cut, the first ones to the end; the hub's runs."""
    hub = Hub(model, max_rows)
    runs = [hub.add(lambda seed=seed: alone(hub.model, seed, **options)) for seed in SEEDS]
    try:
        hub.advance(dict.fromkeys(runs, cut))
        hub.advance({run: run.steps for run in runs[:survivors]})
        hub.close(keep=runs[:survivors])
    finally:
        hub.close()
    return runs


@pytest.mark.parametrize("sampler", each_sampler())
def test_a_survivor_equals_the_stock_sampler_of_its_seed(model, alone, sampler):
    run, *_ = search(model, alone, sampler=sampler, scheduler="normal")
    assert relative_error(run.result, alone(model, SEEDS[0], sampler=sampler, scheduler="normal")) < 1e-5


@pytest.mark.parametrize("scheduler", comfy.samplers.SCHEDULER_NAMES)
def test_a_survivor_equals_the_stock_sampler_on_every_scheduler(model, alone, scheduler):
    run, *_ = search(model, alone, scheduler=scheduler)
    assert relative_error(run.result, alone(model, SEEDS[0], scheduler=scheduler)) < 1e-5


@pytest.mark.parametrize(("sampler", "max_rows"), [("dpm_adaptive", 0), ("euler", 1)])
def test_runs_that_share_no_call_give_the_stock_latent_bit_for_bit(model, alone, sampler, max_rows):
    run, *_ = search(model, alone, sampler=sampler, max_rows=max_rows)
    assert torch.equal(run.result, alone(model, SEEDS[0], sampler=sampler))


def test_runs_that_go_on_at_different_times_stay_exact(model, alone):
    hub = Hub(model)
    runs = [hub.add(lambda seed=seed: alone(hub.model, seed, sampler="dpmpp_2m_sde")) for seed in SEEDS]
    hub.advance({runs[0]: 4, runs[1]: 2})
    hub.advance({runs[0]: STEPS, runs[2]: 2})
    hub.advance({runs[1]: STEPS, runs[2]: STEPS})
    hub.close(keep=runs)
    for run, seed in zip(runs, SEEDS, strict=True):
        assert relative_error(run.result, alone(model, seed, sampler="dpmpp_2m_sde")) < 1e-5


def test_no_row_is_computed_twice_and_dropped_runs_cost_what_they_needed(model, alone, forwarded):
    runs = search(model, alone)
    assert [run.model_rows for run in runs] == [2 * STEPS, 2 * CUT, 2 * CUT]
    assert sum(forwarded) == sum(run.model_rows for run in runs)
    assert forwarded == [6] * CUT + [2] * (STEPS - CUT)


@pytest.fixture
def forwarded(model, monkeypatch):
    """How many rows each forward of the diffusion model had."""
    rows, original = [], type(model.model.diffusion_model).forward

    def forward(self, x, *args, **kwargs):
        rows.append(len(x))
        return original(self, x, *args, **kwargs)

    monkeypatch.setattr(type(model.model.diffusion_model), "forward", forward)
    return rows


def test_an_upper_bound_of_rows_per_call_is_kept(model, alone, forwarded):
    runs = search(model, alone, max_rows=4)
    assert max(forwarded) == 4 and runs[0].result is not None


def test_only_as_many_rows_share_a_call_as_fit_in_memory(model, alone, forwarded, monkeypatch):
    monkeypatch.setattr(type(model.model), "memory_required", lambda self, shape, cond_shapes=None: shape[0])
    monkeypatch.setattr(type(model), "get_free_memory", lambda self, device: 1.5 * 5)
    search(model, alone)
    assert forwarded == [4, 2] * CUT + [2] * (STEPS - CUT)


@pytest.mark.parametrize(("sampler", "evaluations"), [("euler", CUT), ("heun", 2 * CUT - 1), ("dpm_2", 2 * CUT)])
def test_a_position_is_reached_after_all_evaluations_above_its_noise_level(model, alone, sampler, evaluations):
    run, *_ = search(model, alone, survivors=0, sampler=sampler, scheduler="normal")
    assert run.evaluations == evaluations


def test_a_probe_on_the_model_sees_each_run_as_if_it_ran_alone(model, alone, probe):
    together = attach_probe(model, probe, "step 3")
    runs = search(together, alone, survivors=2)
    single = attach_probe(model, probe, "step 3")
    for run, seed in zip(runs[:2], SEEDS, strict=False):
        (a,), (b,) = captured(together, {"samples": run.result}), captured(single, {"samples": alone(single, seed)})
        assert (a.attention - b.attention).abs().max() < 1e-3 and relative_error(a.denoised, b.denoised) < 1e-5


def test_a_run_that_breaks_breaks_alone_and_leaves_the_model_clean(model, alone):
    hub = Hub(model)

    def breaks(step, x0, x, total_steps):
        raise RuntimeError("broken")

    runs = [hub.add(lambda: alone(hub.model, 3)), hub.add(lambda: alone(hub.model, 4, callback=breaks))]
    hub.advance(dict.fromkeys(runs, STEPS))
    hub.close(keep=runs)
    assert str(runs[1].error) == "broken" and relative_error(runs[0].result, alone(model, 3)) < 1e-5
    assert model.model.current_patcher is None


def test_prompts_of_other_lengths_run_in_calls_of_their_own(model, alone):
    hub = Hub(model)
    prompts = [random_conditioning(1), random_conditioning(7, tokens=5)]
    runs = [hub.add(lambda p=p: alone(hub.model, 3, positive=p, negative=p)) for p in prompts]
    hub.advance(dict.fromkeys(runs, STEPS))
    hub.close(keep=runs)
    for run, prompt in zip(runs, prompts, strict=True):
        assert relative_error(run.result, alone(model, 3, positive=prompt, negative=prompt)) < 1e-5
