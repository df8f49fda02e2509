"""Candidates that are finished after their search equal the stock KSampler's images, with a kept prefix or not."""

import gc
import weakref
from dataclasses import replace

import comfy.samplers
import comfy_extras.nodes_easycache as core_caches
import comfy_extras.nodes_hypertile as hypertile
import pytest
import torch
from comfy.model_management import InterruptProcessingException
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.core.marks import GO, NO_MARKS
from diffusion_probe.engine.seed_search.outcome import outcome_text
from diffusion_probe.engine.seed_search.policies.chosen import Chosen
from diffusion_probe.engine.seed_search.prefixes import PrefixStore
from diffusion_probe.engine.seed_search.search import SearchOptions, finish_candidates, seed_search
from diffusion_probe.engine.seed_search.watcher import Unwatched
from diffusion_probe.engine.step_cache.config import StepCacheConfig
from diffusion_probe.engine.step_cache.hook import apply_step_cache

import nodes as comfy_nodes
from support.compare import relative_error
from support.ksampler import Workflow, lora_hook, small_control_net

SEEDS = [5, 6, 7]


class Choosing(Unwatched):
    """A user who lets the hold end, with these pins."""

    def __init__(self, *pins):
        self.marks = NO_MARKS
        for row in pins:
            self.marks = self.marks.pin(row)

    def on_last_cut(self, state, goals):
        return GO


@pytest.fixture
def workflow():
    model = random_flux(hidden_size=128, depth=1, depth_single_blocks=1)
    return Workflow(model, {"samples": torch.zeros(1, 16, 8, 12)}, steps=6)


@pytest.fixture
def store():
    return PrefixStore()


@torch.inference_mode()
def search(workflow, store, max_rows=1, pins=(), watcher=None):
    """Search without a probe, with KSampler's own rounding: one candidate, of two conditionings, in a call."""
    options = SearchOptions(max_rows, None, watcher or Choosing(*pins), store)
    found = [workflow.candidate(seed) for seed in SEEDS]
    return seed_search(workflow.model, found, None, lambda steps: Chosen(0.5), 1, options)


@torch.inference_mode()
def finish(workflow, store, seeds=(7, 5), max_rows=1):
    return finish_candidates(
        workflow.model, [workflow.candidate(seed) for seed in seeds], SearchOptions(max_rows, prefixes=store)
    )


def check(workflow, store, row_counts, saved):
    """Two candidates equal KSampler's bit for bit, and this many evaluations of both together were not computed."""
    expected = [workflow.alone(seed) for seed in (7, 5)]
    search(workflow, store)
    row_counts.clear()
    without = finish(workflow, None)
    rows = sum(row_counts)
    row_counts.clear()
    result = finish(workflow, store)
    assert result.survivors == [0, 1] and [each.name.seed for each in result.outcome.candidates] == [7, 5]
    for latents in (without.latents, result.latents):
        assert all(torch.equal(latent[None], alone) for latent, alone in zip(latents, expected, strict=True))
    assert (rows - sum(row_counts)) / 2 == saved and result.outcome.model_rows == sum(row_counts)


SAMPLERS = {
    "euler": 6, "euler_ancestral": 6, "heun": 10, "dpmpp_2m": 6, "dpmpp_sde": 12, "dpmpp_2m_sde": 6, "lcm": 6,
    "uni_pc": 6, "sa_solver": 6,
}  # fmt: skip
"""Samplers, and how many evaluations of two candidates come before the cut after three of six steps."""


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_sampler_goes_on_where_the_search_paused(workflow, store, row_counts, sampler):
    workflow.sampler = sampler
    check(workflow, store, row_counts, SAMPLERS[sampler])


@pytest.mark.parametrize("sampler", ["dpm_adaptive", "dpm_fast"])
def test_samplers_that_choose_their_own_steps(store, sampler):
    model = random_flux(hidden_size=128, depth=1, depth_single_blocks=1, scale=0.2)  # smooth: dpm_adaptive is fast
    workflow = Workflow(model, {"samples": torch.zeros(1, 16, 8, 8)}, sampler=sampler, denoise=0.5, cfg=1.0)
    expected = [workflow.alone(seed) for seed in (7, 5)]
    search(workflow, store)
    assert len(store) == 3
    result = finish(workflow, store)
    assert all(torch.equal(latent[None], alone) for latent, alone in zip(result.latents, expected, strict=True))


@pytest.mark.parametrize("sampler", ["euler_cfg_pp", "dpmpp_2m_cfg_pp"])
def test_samplers_that_read_inside_of_evaluations_start_anew(workflow, store, row_counts, sampler):
    workflow.sampler = sampler
    check(workflow, store, row_counts, 0)
    assert len(store) == 0


def test_image_to_image_with_a_mask_and_a_batch_index(workflow, store, row_counts):
    shape = workflow.latent["samples"].shape
    mask = torch.zeros(1, 64, 96)
    mask[:, 16:48, 20:70] = 1
    workflow.latent = {
        "samples": torch.randn(shape, generator=torch.manual_seed(0)), "noise_mask": mask, "batch_index": [3]
    }  # fmt: skip
    workflow.denoise = 0.6
    check(workflow, store, row_counts, 6)


def test_a_lora_on_the_model(workflow, store, row_counts):
    key, weight = next((k, w) for k, w in workflow.model.model_state_dict().items() if w.ndim == 2)
    workflow.model = workflow.model.clone()
    workflow.model.add_patches({key: ("diff", (torch.randn_like(weight) * 0.1,))}, 0.7)
    check(workflow, store, row_counts, 6)


def test_a_control_net(store, row_counts):
    workflow = Workflow(random_sdxl(), {"samples": torch.zeros(1, 4, 8, 8)}, sampler="euler")
    hint = torch.rand(1, 64, 64, 3, generator=torch.manual_seed(2))
    pair = comfy_nodes.ControlNetApplyAdvanced().apply_controlnet(
        workflow.positive, workflow.negative, small_control_net(), hint, 0.6, 0.0, 0.8
    )
    workflow.positive, workflow.negative = pair
    check(workflow, store, row_counts, 6)


def test_regions_and_parts_of_the_schedule(workflow, store, row_counts):
    left = comfy_nodes.ConditioningSetAreaPercentage().append(workflow.positive, 0.5, 1.0, 0.0, 0.0, 1.0)[0]
    early = comfy_nodes.ConditioningSetTimestepRange().set_range(random_conditioning(4), 0.0, 0.4)[0]
    workflow.positive = workflow.positive + left + early
    expected = [workflow.alone(seed) for seed in (7, 5)]
    search(workflow, store, 0)
    assert len(store) == 3
    for latents in (finish(workflow, store).latents, finish(workflow, None).latents):
        assert all(relative_error(latent[None], alone) < 1e-5 for latent, alone in zip(latents, expected, strict=True))


def test_keyframes_of_hooks_count_evaluations_so_the_run_starts_anew(workflow, store, row_counts):
    hooks = lora_hook(workflow.model, 1.0, (0.0, 0.2), (0.4, 1.0))
    workflow.positive = comfy.hooks.set_hooks_for_conditioning(workflow.positive, hooks)
    search(workflow, store)
    assert len(store) == 0
    (latent,) = finish(workflow, store, [7]).latents
    assert relative_error(latent[None], workflow.alone(7)) < 1e-5


def scaled(args):
    return args["denoised"] * 0.99


class Momentum:
    """Guidance that adds the change since the evaluation before."""

    def __init__(self):
        self.last = None

    def __call__(self, args):
        x0, sigma = args["denoised"], float(args["sigma"].flatten()[0])
        if self.last is None or self.last[0] <= sigma:  # another run
            self.last = sigma, x0
        mixed = x0 + 0.3 * (x0 - self.last[1])
        self.last = sigma, x0
        return mixed


def test_guidance_of_other_nodes_that_keeps_nothing(workflow, store, row_counts):
    workflow.model = workflow.model.clone()
    workflow.model.set_model_sampler_post_cfg_function(scaled)
    expected = workflow.alone(7)
    search(workflow, store)
    assert len(store) == 3
    row_counts.clear()
    (latent,) = finish(workflow, store, [7]).latents
    assert sum(row_counts) == 2 * 3 and torch.equal(latent[None], expected)


def test_guidance_that_keeps_values_is_computed_from_the_start(workflow, store, row_counts):
    workflow.model = workflow.model.clone()
    workflow.model.set_model_sampler_post_cfg_function(Momentum())
    expected = workflow.alone(7)
    search(workflow, store)
    assert len(store) == 0
    row_counts.clear()
    (latent,) = finish(workflow, store, [7]).latents
    assert sum(row_counts) == 2 * 6 and torch.equal(latent[None], expected)


def test_random_numbers_inside_of_the_model_are_drawn_from_the_start(store, row_counts):
    model = hypertile.HyperTile.execute(random_sdxl(), 32, 2, 0, False)[0]
    workflow = Workflow(model, {"samples": torch.zeros(1, 4, 16, 16)}, sampler="euler", steps=2)
    expected = workflow.alone(7)
    search(workflow, store)
    assert len(store) == 0
    (latent,) = finish(workflow, store, [7]).latents
    assert torch.equal(latent[None], expected)


def cached(model):
    return apply_step_cache(model, StepCacheConfig(interval=2))


def easily_cached(model):
    return core_caches.EasyCacheNode.execute(model, 0.2, 0.15, 0.95, False)[0]


@pytest.mark.parametrize("cache", [cached, easily_cached])
def test_with_a_cache_on_the_model_no_prefix_is_kept(workflow, store, cache):
    workflow.model, workflow.steps = cache(workflow.model), 8
    search(workflow, store)
    assert len(store) == 0
    (latent,) = finish(workflow, store, [7]).latents
    assert torch.equal(latent[None], workflow.alone(7))


def changed(conditioning):
    ((context, more),) = conditioning
    return [[context * 1.01, more]]


CHANGES = {
    "the model": lambda flow: replace(flow, model=flow.model.clone()),
    "the prompt": lambda flow: replace(flow, positive=changed(flow.positive)),
    "the negative prompt": lambda flow: replace(flow, negative=changed(flow.negative)),
    "the latent": lambda flow: replace(flow, latent={"samples": flow.latent["samples"] + 0.1}),
    "the batch index": lambda flow: replace(flow, latent={**flow.latent, "batch_index": [1]}),
    "steps": lambda flow: replace(flow, steps=7),
    "cfg": lambda flow: replace(flow, cfg=3.5),
    "the sampler": lambda flow: replace(flow, sampler="euler"),
    "the scheduler": lambda flow: replace(flow, scheduler="simple"),
    "denoise": lambda flow: replace(flow, denoise=0.8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_kept_is_not_used_after_a_change(workflow, store, row_counts, change):
    search(workflow, store)
    other = CHANGES[change](workflow)
    row_counts.clear()
    (latent,) = finish(other, store, [7]).latents
    assert sum(row_counts) == 2 * other.steps and torch.equal(latent[None], other.alone(7))


def test_a_patch_that_was_added_to_the_same_model_later(workflow, store, row_counts):
    search(workflow, store)
    key, weight = next((k, w) for k, w in workflow.model.model_state_dict().items() if w.ndim == 2)
    workflow.model.add_patches({key: ("diff", (torch.randn_like(weight) * 0.1,))}, 0.7)
    (latent,) = finish(workflow, store, [7]).latents
    assert torch.equal(latent[None], workflow.alone(7))


def test_an_equal_prompt_that_was_encoded_again_is_the_same_run(workflow, store, row_counts):
    search(workflow, store)
    row_counts.clear()
    finish(replace(workflow, positive=random_conditioning(1)), store, [7])
    assert sum(row_counts) == 2 * 3


def test_a_prefix_of_another_run_is_noticed_and_not_used(workflow, store, row_counts, caplog):
    """Whatever the key says, the latent at the first computed evaluation has to be the one that was kept."""
    expected = [workflow.alone(seed) for seed in (7, 5)]
    search(workflow, store)
    kept = list(store._kept)
    prefixes = [store.find(key) for key in kept]
    store.add(dict(zip(kept, prefixes[1:] + prefixes[:1], strict=True)))
    result = finish(workflow, store)
    assert "what was kept of seed 7 is of another run" in caplog.text
    assert all(torch.equal(latent[None], alone) for latent, alone in zip(result.latents, expected, strict=True))


def test_joined_calls_round_as_in_the_search_and_the_images_agree(workflow, store):
    search(workflow, store, 0)
    for latents in (finish(workflow, store, max_rows=0).latents, finish(workflow, None, max_rows=0).latents):
        for latent, seed in zip(latents, (7, 5), strict=True):
            assert relative_error(latent[None], workflow.alone(seed)) < 1e-5


def test_wordings_of_one_seed_are_told_apart(workflow, store, row_counts):
    other = replace(workflow, positive=random_conditioning(9))
    with torch.inference_mode():
        found = [workflow.candidate(7), other.candidate(7, 1)]
        options = SearchOptions(1, None, Choosing(), store)
        seed_search(workflow.model, found, None, lambda steps: Chosen(0.5), 1, options)
        row_counts.clear()
        result = finish_candidates(workflow.model, found, SearchOptions(1, prefixes=store))
    assert sum(row_counts) == 2 * 2 * 3 and [each.prompt for each in result.outcome.candidates] == [0, 1]
    for latent, flow in zip(result.latents, (workflow, other), strict=True):
        assert torch.equal(latent[None], flow.alone(7))


def test_an_interrupted_search_keeps_what_it_sampled(workflow, store, row_counts):
    class Stopping(Choosing):
        def on_goals(self, state, goals):
            if all(goal == state.steps for goal in goals.values()):
                raise InterruptProcessingException

    with pytest.raises(InterruptProcessingException):
        search(workflow, store, watcher=Stopping(0))
    row_counts.clear()
    (latent,) = finish(workflow, store, [5]).latents
    assert sum(row_counts) == 2 * 3 and torch.equal(latent[None], workflow.alone(5))


def test_a_search_that_is_stopped_in_the_middle_of_a_step(workflow, store, row_counts, monkeypatch):
    def stop_at_the_fourth(*args):
        if len(row_counts) >= 4:
            raise InterruptProcessingException

    checked = "comfy.model_management.throw_exception_if_processing_interrupted"
    with monkeypatch.context() as patched, pytest.raises(InterruptProcessingException):
        patched.setattr(checked, stop_at_the_fourth)
        search(workflow, store)
    assert len(store) == 3, "all were sampled for one step at least"
    row_counts.clear()
    result = finish(workflow, store, SEEDS)
    assert sum(row_counts) <= 2 * 3 * 5, "the first step of each is not computed again"
    assert all(torch.equal(latent[None], workflow.alone(seed)) for latent, seed in zip(result.latents, SEEDS))


def test_pinned_candidates_leave_no_prefix_and_the_others_do(workflow, store):
    search(workflow, store, pins=[1])
    assert len(store) == 2


def test_the_report_says_what_was_finished(workflow, store):
    search(workflow, store)
    text = outcome_text(finish(workflow, store).outcome)
    assert text.startswith("Finished 2 of 2 candidates: 12 model rows.") and "chosen from an earlier search" in text
    assert "nan" not in text and "Scores" not in text


def test_one_that_fails_is_reported_and_the_others_are_finished(workflow, store):
    ((context, more),) = workflow.positive
    broken = replace(workflow, positive=[[context * torch.nan, more]])
    with torch.inference_mode():
        found = [broken.candidate(5), workflow.candidate(6)]
        result = finish_candidates(workflow.model, found, SearchOptions(1, prefixes=store))
    assert result.survivors == [1] and "NaN" in result.outcome.candidates[0].failure
    assert torch.equal(result.latents, workflow.alone(6))


def test_what_is_kept_lies_on_the_cpu_and_keeps_no_model_alive(workflow, store):
    search(workflow, store)
    assert len(store) == 3
    tensors = [tensor for key in list(store._kept) for tensor in (*store.find(key).outputs, store.find(key).x)]
    assert len(tensors) == 3 * 4 and all(tensor.device.type == "cpu" for tensor in tensors)
    assert store.size() == sum(tensor.untyped_storage().nbytes() for tensor in tensors)
    model = weakref.ref(workflow.model.model)
    workflow.model = None
    comfy.model_management.current_loaded_models.clear()
    gc.collect()
    assert model() is None
    store.find(None)
    assert len(store) == 0, "what nothing can use any more is removed"


def test_a_search_keeps_no_more_than_the_store_takes(workflow, row_counts):
    one = 16 * 8 * 12 * 4
    store = PrefixStore(limit_bytes=9 * one)  # two candidates with three results and a latent each
    search(workflow, store)
    assert len(store) == 2 and store.size() <= 9 * one
    none = PrefixStore(limit_bytes=one)
    search(workflow, none)
    assert len(none) == 0
    result = finish(workflow, store, SEEDS)
    assert all(torch.equal(latent[None], workflow.alone(seed)) for latent, seed in zip(result.latents, SEEDS))
