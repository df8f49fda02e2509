"""Joining of runs' model calls: which share one, failures of a shared call, and the state after a hub is closed."""

import gc
import weakref
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace

import comfy.model_management
import numpy as np
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from diffusion_probe.dev.random_models import random_conditioning, random_flux
from diffusion_probe.engine.capture import recording
from diffusion_probe.engine.runs.model_wrappers import ModelCall
from diffusion_probe.engine.seed_search.hub.batching import joinable
from diffusion_probe.engine.seed_search.hub.coroutine import PAUSED, Run, pause
from diffusion_probe.engine.seed_search.hub.hub import Hub
from diffusion_probe.engine.seed_search.looking import Looker

from support.probes import ByRow

STEPS = 4


@pytest.fixture(scope="module")
def model():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


@pytest.fixture
def alone(ksampler):
    def run(model, seed, **options):
        return ksampler(
            model, rows=1, seed=seed, latent=torch.zeros(1, 16, 8, 8), **{"steps": STEPS, "sampler": "euler", **options}
        )

    return run


def wrapped(model, kind, wrapper):
    model = model.clone()
    model.add_wrapper_with_key(kind, "other", wrapper)
    return model


def sampled(model, alone, count=4, **options):
    """All runs to their end; the hub and its runs."""
    hub = Hub(model)
    runs = [hub.add(lambda seed=seed: alone(hub.model, seed, **options)) for seed in range(count)]
    try:
        hub.advance(dict.fromkeys(runs, STEPS))
        hub.close(keep=[run for run in runs if run.sampled])
    finally:
        hub.close()
    return hub, runs


def forward_seeing(calls, check=lambda rows, context: None):
    """A DIFFUSION_MODEL wrapper of another pack that notes the rows of each call, and may refuse it."""

    def forward(executor, x, timestep, context, *args, **kwargs):
        calls.append(len(x))
        check(len(x), context)
        return executor(x, timestep, context, *args, **kwargs)

    return forward


def same(run, expected):
    return float((run.result - expected).norm() / expected.norm()) < 1e-5


def test_calls_that_another_pack_refuses_for_their_size_are_not_tried_again(model, alone, caplog):
    calls = []

    def only_two(rows, context):
        if rows != 2:
            raise RuntimeError("takes cond and uncond")

    hub, runs = sampled(wrapped(model, WrappersMP.DIFFUSION_MODEL, forward_seeing(calls, only_two)), alone)
    assert calls == [8, 4, 2, 2, 2, 2] + [2] * 4 * (STEPS - 1)
    assert same(runs[3], alone(model, 3))
    (warning,) = hub.warnings
    assert "takes cond and uncond" in warning and "at most 2" in warning
    assert sum("takes cond and uncond" in record.getMessage() for record in caplog.records) == 1


def test_half_of_a_refused_call_is_kept_where_it_works(model, alone):
    calls = []

    def at_most_four(rows, context):
        assert rows <= 4

    sampled(wrapped(model, WrappersMP.DIFFUSION_MODEL, forward_seeing(calls, at_most_four)), alone)
    assert calls == [8] + [4, 4] * STEPS


def test_one_run_whose_rows_are_refused_makes_no_call_of_the_others_smaller(model, alone):
    calls, zero = [], random_conditioning(1)
    zero[0][0] = torch.zeros_like(zero[0][0])

    def no_zeros(rows, context):
        if (context == 0).all((1, 2)).any():
            raise RuntimeError("zeros")

    other = wrapped(model, WrappersMP.DIFFUSION_MODEL, forward_seeing(calls, no_zeros))
    hub = Hub(other)
    prompts = [random_conditioning(1), zero, random_conditioning(1), random_conditioning(1)]
    runs = [hub.add(lambda p=p: alone(hub.model, 3, positive=p)) for p in prompts]
    hub.advance(dict.fromkeys(runs, STEPS))
    hub.close(keep=[run for run in runs if run.sampled])
    assert [str(run.error) for run in runs if run.error] == ["zeros"] and runs[1].error
    assert calls == [8, 4, 2, 2, 4] + [6] * (STEPS - 1) and not hub.warnings


def test_out_of_memory_warns_once_however_small_calls_get(model, alone, caplog):
    def at_most_two(rows, context):
        if rows > 2:
            raise comfy.model_management.OOM_EXCEPTION("out of memory")

    hub, _ = sampled(wrapped(model, WrappersMP.DIFFUSION_MODEL, forward_seeing([], at_most_two)), alone)
    assert [warning.split(". Set")[0] for warning in hub.warnings] == [
        "Out of memory at 8 rows in one model call; went on with at most 2"
    ]
    assert sum("Out of memory" in record.getMessage() for record in caplog.records) == 1


def test_out_of_memory_of_every_run_alone_is_what_comfyui_knows_how_to_handle(model, alone):
    def never(rows, context):
        raise comfy.model_management.OOM_EXCEPTION("out of memory")

    with pytest.raises(comfy.model_management.OOM_EXCEPTION):
        sampled(wrapped(model, WrappersMP.DIFFUSION_MODEL, forward_seeing([], never)), alone)
    assert model.model.current_patcher is None


@dataclass
class Holding:
    """What another pack may keep for a run; `==` of two has no truth value."""

    tensor: torch.Tensor


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (lambda seed: np.zeros(3), 2),
        (lambda seed: np.full(3, seed), 1),
        (lambda seed: torch.ones(1, 3), 2),
        (lambda seed: torch.full((1, 3), float(seed)), 1),
        (lambda seed: {"inside": [torch.full((1,), float(seed))]}, 1),
        (lambda seed: Holding(torch.zeros(3)), 1),
    ],
    ids=["equal array", "other array", "equal tensor", "other tensor", "other tensors inside", "dataclass"],
)
def test_options_of_another_pack_are_compared_by_value_and_never_joined(model, alone, value, rows):
    """At CFG 1 a call has one row, so that every tensor ``[1, …]`` looks as if it were of rows."""
    calls, seen = [], []

    def outer(executor, noise, latent, sampler, sigmas, mask, callback, bar, seed, *args, **kwargs):
        executor.class_obj.model_options["transformer_options"]["other"] = value(seed)
        return executor(noise, latent, sampler, sigmas, mask, callback, bar, seed, *args, **kwargs)

    def forward(executor, x, *args, **kwargs):
        calls.append(len(x))
        options = next(given for given in (*args, *kwargs.values()) if isinstance(given, dict) and "other" in given)
        seen.append(options)
        return executor(x, *args, **kwargs)

    other = wrapped(model, WrappersMP.OUTER_SAMPLE, outer)
    other.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "other", forward)
    _, runs = sampled(other, alone, count=2, cfg=1.0)
    assert calls == [rows] * (STEPS * 2 // rows)
    assert all(np.shape(options["other"]) == np.shape(value(0)) for options in seen)
    assert all(same(run, alone(model, seed, cfg=1.0)) for seed, run in enumerate(runs))


def call(sigma=1.0, schedule=(1.0,), **given):
    options = {"cond_or_uncond": [0], "uuids": ["a"], "sigmas": torch.ones(1), "sample_sigmas": torch.tensor(schedule)}
    arguments = {"control": None, "transformer_options": options, **given}
    return ModelCall(None, torch.zeros(1, 4, 2, 2), torch.full((1,), sigma), arguments)


def test_conds_and_controls_are_joined_whatever_their_values_constants_if_equal():
    zero, one = torch.zeros(1, 3), torch.ones(1, 3)
    assert joinable(call(y=zero), call(y=one))
    assert joinable(call(latents=[zero]), call(latents=[one]))
    assert joinable(call(control={"middle": [zero, None]}), call(control={"middle": [one, None]}))
    assert not joinable(call(control={"middle": [zero]}), call(control={"input": [zero]}))
    assert not joinable(call(audio={"tokens": zero}), call(audio={"tokens": one}))
    assert not joinable(call(frame_rate=24), call(frame_rate=25))
    assert not joinable(call(y=zero), call(y=zero.double())) and not joinable(call(), call(0.5))
    assert joinable(call(), call(schedule=(1.0,))) and not joinable(call(), call(schedule=(2.0,)))  # as many as rows
    assert not joinable(call(transformer_options=None), call(transformer_options=None))


def test_a_model_call_reads_no_tensor_for_each_run_that_could_join(model, alone, monkeypatch):
    """On a GPU each such read waits for it: the noise level is read once per call, the schedule once per run."""
    compared, equal = [], torch.equal
    monkeypatch.setattr(torch, "equal", lambda a, b: compared.append(a.dtype) or equal(a, b))
    sampled(model, alone)
    assert set(compared) <= {torch.uint8}, "states of random generators, which lie on the CPU"


@pytest.mark.parametrize(("sampler", "captures"), [("euler", 1), ("dpm_adaptive", None)])
def test_attention_is_captured_on_the_way_to_a_moment_and_not_to_the_end(
    model, alone, probe, sampler, captures, monkeypatch
):
    looks, maps = [], recording.AttentionMaps
    monkeypatch.setattr(recording, "AttentionMaps", lambda *given: looks.append(1) or maps(*given))
    hub = Hub(model)
    Looker(hub, probe)
    run = hub.add(lambda: alone(hub.model, 3, sampler=sampler))
    hub.advance({run: 2})
    before = len(looks)
    assert before == (captures or run.evaluations)
    hub.advance({run: STEPS})
    hub.close(keep=[run])
    assert len(looks) == before and run.result is not None


def test_a_closed_hub_and_its_latents_go_without_the_garbage_collector(model, alone):
    gc.collect()
    gc.disable()
    try:
        hub = Hub(model)
        Looker(hub, ByRow())

        def breaks(step, x0, x, total_steps):
            raise RuntimeError("broken")

        runs = [hub.add(lambda: alone(hub.model, 3)), hub.add(lambda: alone(hub.model, 4))]
        runs += [hub.add(lambda: alone(hub.model, 5, callback=breaks)), hub.add(lambda: alone(hub.model, 6))]
        hub.advance({runs[0]: STEPS, runs[1]: 2, runs[2]: 2})
        hub.close(keep=runs[:1])
        hub.close()
        left = [weakref.ref(thing) for thing in (hub, hub.model, *runs, runs[0].samples, runs[0].result)]
        hub = runs = None
        assert [thing() for thing in left] == [None] * len(left)
    finally:
        gc.enable()


def test_a_run_has_the_random_numbers_of_its_gpu_for_itself(monkeypatch):
    """Without a GPU: its state is a number that draws count up."""
    state = [torch.tensor(0)]
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: state[0])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda value, device: state.__setitem__(0, value))

    def draws():
        drawn = []
        for _ in range(3):
            state[0] = state[0] + 1
            drawn.append(int(state[0]))
            pause(PAUSED)
        return drawn

    model_state = SimpleNamespace(patcher=SimpleNamespace(load_device=torch.device("cuda", 0)), installed=nullcontext)
    runs = [Run(draws, model_state), Run(draws, model_state)]
    for _ in range(4):
        for run in runs:
            run.resume()
    assert [run.result for run in runs] == [[1, 2, 3]] * 2 and int(state[0]) == 0
