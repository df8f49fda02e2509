"""Searches on a MODEL with other nodes' code: exact as the stock KSampler, or an error that says why not."""

import gc
import types
import weakref
from unittest import mock

import comfy.model_management
import comfy.samplers
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_apg import APG
from comfy_extras.nodes_easycache import EasyCacheNode
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_nag import NAGuidance
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_sag import SelfAttentionGuidance
from comfy_extras.nodes_tomesd import TomePatchModel
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.seed_search.candidates import guider_candidate, ksampler_candidate
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.search import SearchOptions, seed_search
from diffusion_probe.engine.step_cache.config import StepCacheConfig
from diffusion_probe.engine.step_cache.hook import apply_step_cache

import nodes as comfy_nodes
from support.compare import relative_error
from support.marks import some_long
from support.probes import MeanOfX0

SEEDS = [5, 6, 7]
TOP = 0.98
"""Sigma of a small FLUX's first step: where a patch with memory begins anew."""


class Bench:
    """One small model, and what a KSampler and a search of three seeds give on it."""

    def __init__(self, model, channels, size=(8, 12), steps=6):
        self.model, self.latent = model, {"samples": torch.zeros(1, channels, *size)}
        self.settings = (steps, 3.0, "euler", "normal", random_conditioning(1), random_conditioning(2), self.latent)

    @torch.inference_mode()
    def alone(self, model, seed=SEEDS[0]):
        return comfy_nodes.KSampler().sample(model, seed, *self.settings, 1.0)[0]["samples"]

    @torch.inference_mode()
    def search(self, model, probe, survivors=2, **options):
        candidates = [ksampler_candidate(seed, *self.settings) for seed in SEEDS]

        def policy(steps):
            return policy_named(ONE_CUT, steps, len(candidates), survivors, share=0.5)

        return seed_search(model, candidates, probe, policy, survivors, SearchOptions(**options))

    def check(self, patched, probe, acts=True, **options):
        """Survivors are KSampler's, and the patch changes the image; the search's result."""
        assert not acts or relative_error(self.alone(patched()), self.alone(self.model)) > 1e-3, "the patch acts"
        result = self.search(patched(), probe, **options)
        for latent, row in zip(result.latents, result.survivors, strict=True):
            assert relative_error(latent[None], self.alone(patched(), SEEDS[row])) < 1e-5
        return result


@pytest.fixture
def probe(monkeypatch):
    """A probe that reads x0 alone: other packs' caches skip evaluations of attention."""
    monkeypatch.setattr(MeanOfX0, "needs", frozenset({"denoised"}))
    return MeanOfX0()


@pytest.fixture
def flux():
    return Bench(random_flux(hidden_size=128, depth=1, depth_single_blocks=1, scale=1.5), 16)


@pytest.fixture(scope="module")
def sdxl():
    return Bench(random_sdxl(scale=1.5), 4, size=(16, 16), steps=4)


@pytest.fixture(params=some_long([0, 1], [1]), ids=["joined", "max rows 1"])
def rows(request):
    return {"max_rows": request.param}


def patched(model, *, post_cfg=None, wrapper=None, forward=None):
    model = model.clone()
    if post_cfg:
        model.set_model_sampler_post_cfg_function(post_cfg)
    if wrapper:
        model.set_model_unet_function_wrapper(wrapper)
    if forward:
        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "other", forward)
    return model


# Guidance that keeps something from one step to the next, in every place where code can keep it.


def in_closure():
    average = None

    def post_cfg(given):
        nonlocal average
        average = given["denoised"] if is_first(given) else (average + given["denoised"]) / 2
        return average

    return post_cfg


def in_dict():
    kept = {}

    def post_cfg(given):
        kept["average"] = given["denoised"] if is_first(given) else (kept["average"] + given["denoised"]) / 2
        return kept["average"]

    return post_cfg


class InAttribute:
    average = None

    def __call__(self, given):
        self.average = given["denoised"] if is_first(given) else (self.average + given["denoised"]) / 2
        return self.average


class InClassAttribute:
    average = None

    def __call__(self, given):
        kind = type(self)
        kind.average = given["denoised"] if is_first(given) else (kind.average + given["denoised"]) / 2
        return kind.average


AVERAGE = None


def in_global():
    def post_cfg(given):
        global AVERAGE
        AVERAGE = given["denoised"] if is_first(given) else (AVERAGE + given["denoised"]) / 2
        return AVERAGE

    return post_cfg


def written_in_place():
    average = torch.zeros(1, 16, 8, 12)

    def post_cfg(given):
        average.copy_(given["denoised"] if is_first(given) else (average + given["denoised"]) / 2)
        return average.clone()

    return post_cfg


def in_a_list():
    seen = []

    def post_cfg(given):
        if is_first(given):
            seen.clear()
        seen.append(given["denoised"])
        return sum(seen) / len(seen)

    return post_cfg


def by_counting():
    steps = 0

    def post_cfg(given):
        nonlocal steps
        steps = 1 if is_first(given) else steps + 1
        return given["denoised"] * (0.8 if steps > 3 else 1.0)

    return post_cfg


def by_its_own_generator():
    generator = torch.Generator()

    def post_cfg(given):
        if is_first(given):
            generator.manual_seed(3)
        return given["denoised"] + 0.1 * torch.randn(given["denoised"].shape, generator=generator)

    return post_cfg


def is_first(given):
    return float(given["sigma"][0]) > TOP


MEMORIES = [
    in_closure, in_dict, InAttribute, InClassAttribute, in_global, written_in_place, in_a_list, by_counting,
    by_its_own_generator,
]  # fmt: skip


@pytest.mark.parametrize("memory", MEMORIES, ids=lambda memory: memory.__name__)
def test_guidance_with_memory_remembers_each_candidate_separately(flux, probe, memory):
    post_cfg = memory()
    result = flux.check(lambda: patched(flux.model, post_cfg=post_cfg), probe)
    assert not any("of its own" in warning for warning in result.outcome.warnings), "it is outside of the model call"


def test_memory_of_a_guider_that_candidates_share(flux, probe):
    class Averaging(comfy.samplers.CFGGuider):
        kept = None

        def predict_noise(self, x, timestep, model_options={}, seed=None):  # noqa: B006
            denoised = super().predict_noise(x, timestep, model_options, seed)
            self.kept["average"] = denoised if float(timestep[0]) > TOP else (self.kept["average"] + denoised) / 2
            return self.kept["average"]

    guider = Averaging(flux.model)
    guider.kept = {}
    guider.set_conds(random_conditioning(1), random_conditioning(2))
    guider.set_cfg(2.0)
    sigmas = comfy.samplers.calculate_sigmas(flux.model.get_model_object("model_sampling"), "simple", 6)
    sampler = comfy.samplers.sampler_object("euler")
    candidates = [guider_candidate(seed, guider, sampler, sigmas, flux.latent) for seed in SEEDS]
    with torch.inference_mode():
        result = seed_search(flux.model, candidates, probe, lambda steps: policy_named(ONE_CUT, steps, 3, 2), 2)
        for latent, row in zip(result.latents, result.survivors, strict=True):
            noise = comfy.sample.prepare_noise(flux.latent["samples"], SEEDS[row])
            alone = guider.sample(noise, flux.latent["samples"], sampler, sigmas, seed=SEEDS[row])
            assert relative_error(latent[None], alone) < 1e-5


def test_momentum_of_projected_guidance_is_each_candidates_own(sdxl, probe, rows):
    sdxl.check(lambda: APG.execute(sdxl.model, 1.0, 5.0, -0.5)[0], probe, **rows)


def test_state_that_cannot_be_found_refuses_the_search_and_names_the_node(flux, probe):
    """Kept in a module that the patch imports by itself, as compiled extensions keep theirs."""
    hidden = types.SimpleNamespace(average=None)
    modules = {"torch_hidden": hidden}

    def post_cfg(given):
        import sys

        kept = sys.modules["torch_hidden"]
        kept.average = given["denoised"] if is_first(given) else (kept.average + given["denoised"]) / 2
        return kept.average

    with mock.patch.dict("sys.modules", modules), pytest.raises(ValueError, match='disturb each other: with ".*test_'):
        flux.search(patched(flux.model, post_cfg=post_cfg), probe)
    assert flux.model.model.current_patcher is None


def test_memory_grows_by_the_state_of_candidates_alone(flux, probe):
    """Each candidate's average is kept by reference, and gone with it."""
    alive = weakref.WeakSet()
    most = [0]

    class Average(torch.nn.Module):
        """Never copied: a module."""

    module, average = Average(), None

    def post_cfg(given):
        nonlocal average
        assert type(module) is Average and module in modules
        average = given["denoised"].clone()
        alive.add(average)
        most[0] = max(most[0], len(alive))
        return average

    modules = {module}
    gc.disable()
    try:
        flux.search(patched(flux.model, post_cfg=post_cfg), probe, survivors=1)
        # one for each candidate and the rehearsal, one that its sampler still uses, one that was just made
        assert most[0] <= len(SEEDS) + 3
        average = None
        assert len(alive) == 0
    finally:
        gc.enable()


# Code inside of the model call.


def test_guidance_that_looks_for_the_rows_of_a_cond_finds_those_of_all(sdxl, probe):
    result = sdxl.check(lambda: NAGuidance.execute(sdxl.model, 5.0, 0.5, 1.5)[0], probe)
    assert not result.outcome.warnings, "a joined call looks like a stock batch"


def test_perturbed_guidance_of_core(sdxl, probe):
    assert not sdxl.check(lambda: PerturbedAttentionGuidance.execute(sdxl.model, 3.0)[0], probe).outcome.warnings


def test_attention_that_guidance_keeps_for_later_is_each_candidates_own(sdxl, probe, rows):
    result = sdxl.check(lambda: SelfAttentionGuidance.execute(sdxl.model, 0.5, 2.0)[0], probe, **rows)
    if not rows["max_rows"]:
        (warning,) = result.outcome.warnings
        assert "sag" in warning.lower() or "Self-Attention" in warning


@pytest.mark.parametrize("node", [HyperTile, TomePatchModel])
def test_random_numbers_drawn_inside_of_the_model_are_each_candidates_own(probe, rows, node):
    large = Bench(random_sdxl(scale=1.5), 4, size=(32, 32), steps=3)
    settings = {HyperTile: (32, 4, 1, False), TomePatchModel: (0.5,)}[node]
    result = large.check(lambda: node.execute(large.model, *settings)[0], probe, **rows)
    assert any("draws random numbers" in warning for warning in result.outcome.warnings) != rows["max_rows"]


def test_rows_that_change_each_other_are_computed_singly_and_the_node_is_named(flux, probe):
    def coupled(executor, x, *args, **kwargs):
        return executor(x, *args, **kwargs) + 0.05 * x.mean(0, keepdim=True)

    result = flux.check(lambda: patched(flux.model, forward=coupled), probe)
    assert any("computes rows of one call differently" in warning for warning in result.outcome.warnings)
    assert any("test_search_beside_patches" in warning for warning in result.outcome.warnings)


@pytest.mark.parametrize("number", [0, -1], ids=["first", "last"])
def test_a_patch_that_reaches_some_rows_only_is_found(flux, probe, number):
    def first_row(executor, x, *args, **kwargs):
        out = executor(x, *args, **kwargs)
        out[number] *= 1.1
        return out

    flux.check(lambda: patched(flux.model, forward=first_row), probe)


def test_a_patch_that_begins_later_is_compared_when_runs_go_on_after_a_look(flux, probe):
    def coupled(executor, x, timestep, *args, **kwargs):
        out = executor(x, timestep, *args, **kwargs)
        return out + (0.05 * x.mean(0, keepdim=True) if float(timestep[0]) < 0.5 else 0)

    result = flux.check(lambda: patched(flux.model, forward=coupled), probe)
    assert any("differently from single rows" in warning for warning in result.outcome.warnings)


def test_rows_spent_on_checks_are_reported_and_belong_to_no_candidate(flux, probe):
    calls = []

    def count(executor, x, *args, **kwargs):
        calls.append(len(x))
        return executor(x, *args, **kwargs)

    outcome = flux.search(patched(flux.model, forward=count), probe).outcome
    assert sum(calls) == outcome.model_rows and outcome.check_rows > 0
    plain = flux.search(flux.model, probe).outcome
    assert plain.check_rows == 0 and [each.model_rows for each in plain.candidates] == [
        each.model_rows for each in outcome.candidates
    ]
    assert max(calls) == 2 * len(SEEDS), "a log is no reason to compute candidates alone"


# Code that enters and leaves around the model call.


def block_cache(model, replace_for_good=False):
    """As caches of other packs do it: the blocks' method replaced around the call, a residual kept, calls skipped."""
    network, kept = model.model.diffusion_model, {}

    def wrapper(apply_model, given):
        sigma, original = float(given["timestep"][0]), type(network).forward_orig
        if sigma > kept.get("sigma", 2.0) or sigma > TOP:
            kept.clear()
        kept["sigma"], kept["calls"] = sigma, kept.get("calls", 0) + 1

        def forward_orig(self, image, *args, **kwargs):
            if kept["calls"] % 2 and "output" in kept:
                return kept["output"]
            kept["output"] = original(self, image, *args, **kwargs)
            return kept["output"]

        replaced = types.MethodType(forward_orig, network)
        if replace_for_good:
            network.forward_orig = replaced
            return apply_model(given["input"], given["timestep"], **given["c"])
        with mock.patch.object(network, "forward_orig", replaced):
            return apply_model(given["input"], given["timestep"], **given["c"])

    return patched(model, wrapper=wrapper)


def test_a_cache_of_another_pack_keeps_to_each_candidate(flux, probe, rows):
    plain = flux.alone(flux.model)
    flux.check(lambda: block_cache(flux.model), probe, **rows)
    assert torch.equal(flux.alone(flux.model), plain), "a later KSampler is undisturbed"


def test_a_method_replaced_while_searching_is_restored_and_reported(flux, probe):
    network, plain = flux.model.model.diffusion_model, flux.alone(flux.model)
    result = flux.search(block_cache(flux.model, replace_for_good=True), probe)
    assert "forward_orig" not in vars(network) and torch.equal(flux.alone(flux.model), plain)
    assert any("replaced forward_orig" in warning for warning in result.outcome.warnings)


def test_a_blocks_method_replaced_by_an_interrupted_search_is_restored(flux, probe):
    block = flux.model.model.diffusion_model.double_blocks[0]

    def wrapper(apply_model, given):
        block.forward = types.MethodType(type(block).forward, block)
        raise comfy.model_management.InterruptProcessingException

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        flux.search(patched(flux.model, wrapper=wrapper), probe)
    assert "forward" not in vars(block)


def compiled(model):
    model = model.clone()
    set_torch_compile_wrapper(model, backend="eager")
    return model


def a_lora(model):
    key = "diffusion_model.double_blocks.0.img_mlp.0.weight"
    return {key: ("diff", (torch.ones_like(model.model_state_dict()[key]) * 0.2,))}


@pytest.mark.parametrize("order", ["cache first", "compile first", "no cache"])
def test_a_compiled_model_is_itself_again_and_takes_loras_after_a_search(flux, probe, order):
    def cached(model):
        return apply_step_cache(model, StepCacheConfig(interval=2))

    build = {
        "cache first": lambda: compiled(cached(flux.model)),
        "compile first": lambda: cached(compiled(flux.model)),
        "no cache": lambda: compiled(flux.model),
    }[order]
    network = flux.model.model.diffusion_model
    with torch.compiler.set_stance("force_eager"):  # the module is swapped as ever, and nothing is traced
        if order == "no cache":
            flux.check(build, probe, acts=False)
        else:
            flux.search(build(), probe)
    assert flux.model.model.diffusion_model is network
    plain, with_lora = flux.alone(flux.model), flux.model.clone()
    assert with_lora.add_patches(a_lora(with_lora), 1.0)
    assert relative_error(flux.alone(with_lora), plain) > 1e-3


def test_a_node_that_swaps_a_module_around_the_sampler_run(flux, probe):
    """An OUTER_SAMPLE wrapper: all candidates stand inside of it at the same time."""
    network = flux.model.model.diffusion_model

    def outer(executor, *args, **kwargs):
        original = type(network).forward_orig

        def damped(self, *given, **named):
            return original(self, *given, **named) * 0.9

        with mock.patch.object(network, "forward_orig", types.MethodType(damped, network)):
            return executor(*args, **kwargs)

    def build():
        model = flux.model.clone()
        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "other", outer)
        return model

    flux.check(build, probe)
    assert "forward_orig" not in vars(network)


def test_caches_of_core_keep_to_each_candidate(flux, probe, rows):
    flux.check(lambda: EasyCacheNode.execute(flux.model, 0.5, 0.15, 0.95, False)[0], probe, **rows)


def test_logs_and_counters_of_a_node_hold_what_all_runs_added(flux, probe):
    log, counter, kinds = [], {"calls": 0}, set()

    def post_cfg(given):
        log.append(float(given["sigma"][0]))
        counter["calls"] += 1
        kinds.add(len(given["denoised"]))
        return given["denoised"]

    outcome = flux.search(patched(flux.model, post_cfg=post_cfg), probe).outcome
    spent = sum(each.evaluations for each in outcome.candidates)
    assert len(log) == counter["calls"] == spent + 2, "the rehearsal made two"
    assert kinds == {1}
