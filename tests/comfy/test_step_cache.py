"""A cached run: what it computes, what it leaves alone, and what stands beside it on the MODEL."""

import gc
import logging
import weakref

import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_easycache import EasyCacheNode
from diffusion_probe.dev.evaluation_counter import EvaluationCounter
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured, score_latent
from diffusion_probe.engine.core.scores import SeedName
from diffusion_probe.engine.runs.keys import STEP_CACHE
from diffusion_probe.engine.runs.model_wrappers import ModelCall
from diffusion_probe.engine.seed_search.candidates import Candidate
from diffusion_probe.engine.seed_search.hub.hub import Hub
from diffusion_probe.engine.seed_search.policies.schedules import Cuts
from diffusion_probe.engine.seed_search.search import seed_search
from diffusion_probe.engine.selection.pruning import PruneRule
from diffusion_probe.engine.step_cache import hook
from diffusion_probe.engine.step_cache.blocks import JOB
from diffusion_probe.engine.step_cache.config import StepCacheConfig
from diffusion_probe.engine.step_cache.hook import apply_step_cache
from diffusion_probe.engine.step_cache.state import CacheRun
from diffusion_probe.engine.step_cache.times import EvaluationTimes
from diffusion_probe.nodes.cache import TCPadeCache

from support.compare import relative_error
from support.marks import each_sampler

STEPS = 12
COMPUTED = [0, 1, 2, 3, 4, 5, 7, 9, 11]
"""Steps of 12 that interval 2 computes."""

EVERY_SECOND = StepCacheConfig(interval=2)


@pytest.fixture(scope="module")
def small():
    return random_flux(seed=0, scale=1.5, hidden_size=128, depth=1, depth_single_blocks=2)


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [r.getMessage() for r in caplog.records if r.getMessage().startswith("TC-Padé Cache")]


def options_of(model):
    return {key: sorted(map(str, v)) if isinstance(v, dict) else str(v) for key, v in model.model_options.items()}


@pytest.mark.parametrize(
    ("config", "steps", "reason"),
    [
        (StepCacheConfig(interval=1), 12, "interval 1 computes everything"),
        (StepCacheConfig(interval=50), 12, "interval 50 is longer than the run's 12 steps"),
        (StepCacheConfig(start=0.9), 12, "always computed"),
        (StepCacheConfig(space="blocks", interval=1), 12, "interval 1"),
        (StepCacheConfig(), 1, "longer than"),
        (StepCacheConfig(interval=2), 4, "always computed"),
    ],
)
def test_a_run_in_which_nothing_is_predicted_is_bit_identical_and_says_why(small, ksampler, log, config, steps, reason):
    cached = ksampler(apply_step_cache(small, config), steps=steps)
    assert torch.equal(cached, ksampler(small, steps=steps))
    assert len(log()) == 1 and reason in log()[0]


@pytest.mark.parametrize("space", ["output", "blocks"])
def test_evaluations_before_the_first_prediction_are_bit_identical(small, ksampler, space):
    seen = {}
    for name, model in (
        ("plain", small),
        ("cached", apply_step_cache(small, StepCacheConfig(interval=2, space=space))),
    ):
        seen[name] = []
        ksampler(model, callback=lambda step, x0, x, total, name=name: seen[name].append(x0.clone()))
    same = [torch.equal(a, b) for a, b in zip(seen["plain"], seen["cached"])]
    assert same[:6] == [True] * 6 and not same[6]


def test_the_model_runs_as_often_as_planned_and_one_line_says_so(small, ksampler, log):
    counter = EvaluationCounter()
    ksampler(counter.on(apply_step_cache(small, EVERY_SECOND)))
    assert counter.computed == len(COMPUTED)
    assert log() == ["TC-Padé Cache: 12 evaluations: 9 computed, 3 predicted; fallbacks: none."]


def test_the_node_is_shown_what_was_predicted_and_the_seconds_of_the_run(small, ksampler, monkeypatch):
    """On a clock on which each evaluation takes a second, and a predicted one no time."""
    shown, counter = [], EvaluationCounter()
    monkeypatch.setattr(hook, "CacheRun", lambda *args: timed(CacheRun(*args), lambda: float(counter.computed)))
    ksampler(counter.on(apply_step_cache(small, EVERY_SECOND, shown.append)))
    ksampler(apply_step_cache(small, StepCacheConfig(interval=1), shown.append))
    assert shown == [
        "3 of 12 evaluations predicted: 9.0 s instead of 12 s",
        "nothing to predict, because interval 1 computes everything",
    ]


def timed(run, now):
    run.times = EvaluationTimes(now)
    return run


def test_sdxl_runs_with_the_cache(ksampler, log):
    latent = torch.zeros(1, 4, 8, 8)
    result = ksampler(apply_step_cache(random_sdxl(), EVERY_SECOND), latent=latent, rows=1)
    assert torch.isfinite(result).all() and "3 predicted" in log()[0]


@pytest.mark.parametrize("space", ["output", "blocks"])
@pytest.mark.parametrize("error", [None, comfy.model_management.InterruptProcessingException(), RuntimeError("broken")])
def test_nothing_is_left_after_a_run_an_interrupt_or_an_exception(small, ksampler, monkeypatch, space, error):
    runs, original = [], CacheRun.__init__

    def remember(self, *args):
        original(self, *args)
        runs.append(weakref.ref(self))

    def stop(step, x0, x, total_steps):
        if error is not None and step == 6:
            raise error

    monkeypatch.setattr(CacheRun, "__init__", remember)
    model = apply_step_cache(small, StepCacheConfig(interval=2, space=space))
    before, first = (options_of(small), options_of(model)), ksampler(model)
    if error is None:
        assert torch.equal(ksampler(model, callback=stop), first)
    else:
        with pytest.raises(type(error)):
            ksampler(model, callback=stop)
    assert (options_of(small), options_of(model)) == before
    assert STEP_CACHE not in model.model_options["transformer_options"]
    error = None
    gc.collect()
    assert len(runs) == 2 and all(run() is None or not run().histories for run in runs)
    assert torch.equal(ksampler(model), first)


@pytest.mark.parametrize("space", ["output", "blocks"])
def test_the_models_input_is_never_written_to(small, ksampler, space):
    touched = []

    def watch(executor, x, *args, **kwargs):
        before = x.clone()
        result = executor(x, *args, **kwargs)
        touched.append(not torch.equal(x, before) or result.data_ptr() == x.data_ptr())
        return result

    model = apply_step_cache(small, StepCacheConfig(interval=2, space=space, predictor="reuse"))
    model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "watch", watch)
    ksampler(model)
    assert touched == [False] * STEPS


def test_cfg_joined_or_split_gives_the_same(small, ksampler, monkeypatch):
    rows = []

    def watch(executor, x, *args, **kwargs):
        rows.append(len(x))
        return executor(x, *args, **kwargs)

    model = apply_step_cache(small, EVERY_SECOND)
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "watch", watch)
    joined = ksampler(model)
    assert set(rows) == {4} and len(rows) == len(COMPUTED)
    monkeypatch.setattr(type(small.model), "memory_required", lambda *args, **kwargs: 1e30)
    rows.clear()
    split = ksampler(model)
    assert set(rows) == {2} and len(rows) == 2 * len(COMPUTED)
    assert relative_error(split, joined) < 1e-5


def test_prompts_of_other_lengths_are_predicted_as_well(small, ksampler, log):
    ksampler(apply_step_cache(small, EVERY_SECOND), negative=random_conditioning(3, tokens=5))
    assert "3 predicted; fallbacks: none" in log()[0]


# -- samplers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", each_sampler(without=("dpm_adaptive",)))
def test_every_sampler_runs_with_the_cache_and_rough_ones_reuse(small, ksampler, log, sampler):
    """A sampler draws noise if the same start leads elsewhere under another seed."""
    options = {"sampler": sampler, "scheduler": "normal", "rows": 1, "noise": torch.randn(1, 16, 8, 12)}
    cached = ksampler(apply_step_cache(small, EVERY_SECOND), **options)
    assert torch.isfinite(cached).all()
    few = options | {"steps": 4}
    rough = not torch.equal(ksampler(small, seed=1, **few), ksampler(small, seed=2, **few))
    assert ("reused, not extrapolated" in log()[0]) == rough
    assert " 0 predicted" not in log()[0]
    if rough:
        reuse = apply_step_cache(small, StepCacheConfig(interval=2, predictor="reuse"))
        assert torch.equal(cached, ksampler(reuse, **options))


def test_a_sampler_that_judges_its_steps_gets_every_evaluation_computed(log):
    sampler, sigmas = comfy.samplers.sampler_object("dpm_adaptive"), torch.linspace(1, 0, 21)
    passed_on = hook.StepCache(StepCacheConfig())(lambda *args: args, "noise", "latent", sampler, sigmas)
    assert passed_on == ("noise", "latent", sampler, sigmas) and "chooses its steps" in log()[0]


# -- beside others on the same MODEL --------------------------------------------------------------------


def test_another_packs_wrapper_changes_computed_evaluations_only(small, ksampler):
    calls = []

    def brighter(executor, *args, **kwargs):
        calls.append(1)
        return executor(*args, **kwargs) + 0.1

    def with_wrapper(model):
        model = model.clone()
        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "brighter", brighter)
        return model

    before = ksampler(apply_step_cache(with_wrapper(small), EVERY_SECOND))
    assert len(calls) == len(COMPUTED)
    assert torch.equal(before, ksampler(with_wrapper(apply_step_cache(small, EVERY_SECOND))))
    assert not torch.equal(before, ksampler(apply_step_cache(small, EVERY_SECOND)))


def test_easycache_on_the_same_model_works_and_is_named(small, ksampler, log):
    (both,) = EasyCacheNode.execute(apply_step_cache(small, EVERY_SECOND), 0.2, 0.15, 0.95, False).args
    assert torch.isfinite(ksampler(both)).all() and "EasyCache is on this model as well" in log()[0]


@pytest.mark.parametrize("order", ["cache first", "probe first"])
@pytest.mark.parametrize("space", ["output", "blocks"])
def test_a_probed_moment_is_computed_in_both_orders_of_attaching(small, ksampler, probe, log, order, space):
    config = StepCacheConfig(interval=2, space=space)
    if order == "cache first":
        model = attach_probe(apply_step_cache(small, config), probe, "step 7, step 9")
    else:
        model = apply_step_cache(attach_probe(small, probe, "step 7, step 9"), config)
    counter = EvaluationCounter()
    latent = {"samples": ksampler(counter.on(model))}
    for moment in ("step 7", "step 9"):  # both would be predicted
        assert all(row.attention is not None for row in captured(model, latent, moment))
    assert "11 computed, 1 predicted; fallbacks: 2 probed moment" in log()[0]
    rows = 4 * (11 if space == "output" else 12)
    assert score_latent(model, latent).model_rows == rows
    plain = attach_probe(small, probe, "step 7")
    (row, *_), (expected, *_) = captured(model, latent, "step 7"), captured(plain, {"samples": ksampler(plain)})
    assert torch.equal(row.denoised, expected.denoised)


@pytest.mark.parametrize("space", ["output", "blocks"])
def test_runs_of_a_hub_have_anchors_of_their_own_and_predicted_steps_cost_no_row(small, ksampler, space):
    model = apply_step_cache(small, StepCacheConfig(interval=2, space=space))
    hub = Hub(model)
    runs = [hub.add(lambda seed=seed: ksampler(hub.model, rows=1, seed=seed)) for seed in (3, 4, 5)]
    try:
        hub.advance(dict.fromkeys(runs, 3))
        hub.advance({run: run.steps for run in runs[:2]})
        hub.close(keep=runs[:2])
    finally:
        hub.close()
    for run, seed in zip(runs, (3, 4)):
        assert relative_error(run.result, ksampler(model, rows=1, seed=seed)) < 1e-5
    if space == "output":
        assert [run.model_rows for run in runs] == [2 * len(COMPUTED), 2 * len(COMPUTED), 6]


@pytest.mark.parametrize("space", ["output", "blocks"])
@pytest.mark.parametrize("cuts", [Cuts(3, (6,), (1,)), Cuts(3, (5, 8), (2, 1))], ids=["one cut", "two cuts"])
def test_candidates_of_a_search_are_predicted_only_after_their_last_look(small, ksampler, probe, space, cuts):
    """Alone, the cache would predict from the fifth evaluation on."""
    seeds, last = (3, 4, 5), cuts.at[-1]
    calls = []

    def count(executor, x, *args, **kwargs):
        calls.append(len(x))
        return executor(x, *args, **kwargs)

    def candidate(seed):
        return Candidate(SeedName(seed), lambda model, callback: ksampler(model, rows=1, seed=seed, callback=callback))

    config = StepCacheConfig(interval=3, space=space)
    model = apply_step_cache(small, config)
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "count", count)
    result = seed_search(model, [candidate(seed) for seed in seeds], probe, lambda steps: cuts)
    exact = attach_probe(small, probe, ", ".join(f"step {step}" for step in cuts.at))
    for seed, seen, ended in zip(seeds, result.features, result.outcome.candidates, strict=True):
        latent = {"samples": ksampler(exact, rows=1, seed=seed)}
        for step, score in ended.scores:
            (row,) = captured(exact, latent, f"step {step}")
            assert score == pytest.approx(float(probe.score([row])[0]), rel=1e-5)
        (row,) = captured(exact, latent, f"step {ended.scores[-1][0]}")
        assert relative_error(seen.denoised, row.denoised) < 1e-5
    (survivor,) = result.survivors
    later = apply_step_cache(small, StepCacheConfig(interval=3, space=space, start=last / STEPS))
    assert relative_error(result.latents, ksampler(later, rows=1, seed=seeds[survivor])) < 1e-5
    if space == "output":
        dropped = [each.model_rows for row, each in enumerate(result.outcome.candidates) if row != survivor]
        assert sorted(dropped) == sorted(2 * goal for goal in (cuts.at[0], last))
        counter = EvaluationCounter()
        ksampler(counter.on(later), rows=1)
        assert result.outcome.candidates[survivor].model_rows == 2 * counter.computed < 2 * STEPS
        assert sum(calls) == result.outcome.model_rows


def test_when_rows_are_dropped_in_flight_the_anchors_of_the_rest_start_anew(small, ksampler, probe, log):
    rule = PruneRule(top_k=1)
    cache_first = ksampler(attach_probe(apply_step_cache(small, EVERY_SECOND), probe, "step 7", rule))
    prune_first = ksampler(apply_step_cache(attach_probe(small, probe, "step 7", rule), EVERY_SECOND))
    assert torch.equal(cache_first, prune_first)
    # the seventh evaluation is looked at, the eighth has another shape; then one anchor is known, then two
    expected = "10 computed, 2 predicted; fallbacks: 1 probed moment, 1 reuse, 1 linear"
    assert all(expected in line for line in log()) and len(log()) == 2
    assert min(relative_error(a, b) for a, b in zip(cache_first, ksampler(small))) < 0.15


def test_an_entry_that_guidance_runs_twice_is_predicted_twice(small, ksampler, log):
    """As PAG and its like do: the positive entry once more within the evaluation, changed."""
    counts = []

    def once_more(args):
        options = comfy.model_patcher.create_model_options_clone(args["model_options"])
        options["transformer_options"]["perturbed"] = True
        (again,) = comfy.samplers.calc_cond_batch(args["model"], [args["cond"]], args["input"], args["sigma"], options)
        return args["denoised"] + 0.5 * (args["cond_denoised"] - again)

    def perturb(executor, x, *args, **kwargs):
        counts.append(1)
        options = args[-1] if isinstance(args[-1], dict) else kwargs["transformer_options"]
        return executor(x, *args, **kwargs) * (0.9 if options.get("perturbed") else 1.0)

    model = apply_step_cache(small, EVERY_SECOND)
    model.set_model_sampler_post_cfg_function(once_more)
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "perturb", perturb)
    cached = ksampler(model)
    assert len(counts) == 2 * len(COMPUTED) and "3 predicted; fallbacks: none" in log()[0]
    plain = model.clone()
    plain.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, STEP_CACHE)
    full = ksampler(plain)
    reuse = apply_step_cache(plain, StepCacheConfig(interval=2, predictor="reuse"))
    assert relative_error(cached, full) < 0.5 * relative_error(cached * 0, full)
    assert relative_error(ksampler(reuse), full) < 0.2


@pytest.mark.long
def test_a_compiled_model_gives_what_it_gives_uncompiled_with_space_blocks_too(small, ksampler, log):
    compiled = small.clone()
    set_torch_compile_wrapper(compiled, backend="eager")
    result = ksampler(apply_step_cache(compiled, StepCacheConfig(interval=2, space="blocks")), rows=1)
    assert relative_error(result, ksampler(apply_step_cache(small, EVERY_SECOND), rows=1)) < 1e-4
    assert "3 predicted" in log()[0] and "its output was predicted instead of its blocks" in log()[0]


@pytest.mark.parametrize("key", ["context_handler", "multigpu_clones"])
def test_windows_and_several_gpus_are_sampled_plainly(small, ksampler, log, key):
    model = apply_step_cache(small, EVERY_SECOND)

    class NoWindows:
        def should_use_context(self, *args):
            return False

    counter = EvaluationCounter()
    if key == "context_handler":
        model.model_options[key] = NoWindows()
        assert torch.equal(ksampler(counter.on(model)), ksampler(small)) and counter.computed == STEPS
        assert "nothing was predicted, in context windows" in log()[0]
        return
    run = CacheRun(EVERY_SECOND, None, False)
    options = {key: {}, "transformer_options": {STEP_CACHE: run}}
    assert hook._predict_noise(lambda x, *rest: x, 1.0, None, options) == 1.0 and run.number == 0


# -- the published space --------------------------------------------------------------------------------


def call(model, run, sigma, x, control=None):
    """One evaluation of a run's model, as the sampler makes it."""
    options = {STEP_CACHE: run, "uuids": ["a"], "cond_or_uncond": [0], "sigmas": torch.full((len(x),), sigma)}
    hook.replace_blocks(options, model.model.diffusion_model)
    (positive, pooled), *_ = random_conditioning(1)
    run.begin(sigma)
    sigmas = torch.full((len(x),), 0.5)  # the same question every time: only the plan sees the run go on
    conds = {"c_crossattn": positive.expand(len(x), -1, -1), "y": pooled["pooled_output"].expand(len(x), -1)}
    given = {**conds, "control": control, "transformer_options": options}
    result = hook._model_call(ModelCall(model.model.apply_model, x, sigmas, given))
    run.end()
    return result


@pytest.mark.parametrize("space", ["output", "blocks"])
@torch.inference_mode()
def test_controlnet_counts_once(small, ksampler, space):
    ksampler(small, steps=1)  # loads the model
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((2, 16, 8, 12), generator=generator)
    control = {
        side: [20 * torch.randn((2, 24, 128), generator=generator) for _ in range(2)] for side in ("input", "output")
    }
    config = StepCacheConfig(interval=2, space=space, predictor="reuse")
    run = CacheRun(config, hook.Plan.of([1 - i / 12 for i in range(13)], config, flow=True), rough=False)
    results = [call(small, run, 1 - i / 12, x, control) for i in range(7)]
    assert run.predicted == 1  # step 6, with the same input: what it gives has to be what was computed
    assert relative_error(results[6], results[5]) < 1e-5
    uncontrolled = call(small, run, 1 - 7 / 12, x)  # computed
    assert relative_error(results[6], uncontrolled) > 1e-2


def test_a_foreign_patch_that_takes_the_place_of_a_block_leads_to_computing(small, ksampler, log):
    def take_place(executor, x, t, c_concat, c_crossattn, control, transformer_options, **kwargs):
        replaced = dict(transformer_options["patches_replace"]["dit"])
        replaced[("single_block", 1)] = lambda args, extra: extra["original_block"](args)
        options = {**transformer_options, "patches_replace": {"dit": replaced}}
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)

    model = apply_step_cache(small, StepCacheConfig(interval=2, space="blocks"))
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "take place", take_place)
    assert torch.equal(ksampler(model), ksampler(small)) and "0 predicted" in log()[0]


def test_another_packs_block_replacement_stays_in_place(small, ksampler):
    calls = []

    def patched(model):
        model = model.clone()

        def louder(args, extra):
            calls.append(1)
            out = extra["original_block"](args)
            return {**out, "img": out["img"] * 1.1}

        model.set_model_patch_replace(louder, "dit", "double_block", 0)
        return model

    model = patched(small)
    options = options_of(model)
    ksampler(apply_step_cache(model, StepCacheConfig(interval=2, space="blocks")))
    assert len(calls) == len(COMPUTED) and options_of(model) == options
    assert JOB not in model.model_options["transformer_options"]


def test_block_space_is_for_flux_only_and_one_cache_is_enough(small):
    with pytest.raises(ValueError, match='is a SDXL.*Choose "output"'):
        apply_step_cache(random_sdxl(), StepCacheConfig(space="blocks"))
    with pytest.raises(ValueError, match="already"):
        apply_step_cache(apply_step_cache(small, StepCacheConfig()), StepCacheConfig())


# -- the node, and whether it is worth anything ---------------------------------------------------------


def node(model, **changed):
    settings = {i.id: i.default for i in TCPadeCache.GET_SCHEMA().inputs if i.id != "model"}
    return TCPadeCache.execute(model, **{**settings, **changed})


def test_the_node_follows_its_preset_and_names_itself_in_errors(small, ksampler, log):
    for preset, predicted in (("quality", 5), ("balanced", 7), ("fast", 8), ("fastest", 9), ("custom", 7)):
        ksampler(node(small, preset=preset, interval=3).args[0], steps=16)
        assert f"{predicted} predicted" in log()[-1], preset
    with pytest.raises(ValueError, match="^TC-Padé Cache: Start 0.9 and end 0.3"):
        node(small, start=0.9, end=0.3)
    with pytest.raises(ValueError, match="^TC-Padé Cache: This MODEL has a"):
        node(node(small).args[0])
