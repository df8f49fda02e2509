"""Searches on a small random FLUX: their costs, reports and errors."""

import json
import math
import sys
from types import SimpleNamespace

import comfy.model_management
import comfy.utils
import comfy_extras.nodes_easycache as core_caches
import latent_preview
import pytest
import torch
from comfy.nested_tensor import NestedTensor
from comfy.patcher_extension import WrappersMP
from diffusion_probe.dev.random_models import random_conditioning, random_flux
from diffusion_probe.engine.core.probe import Probe
from diffusion_probe.engine.core.scores import SeedName
from diffusion_probe.engine.core.skill import PREVIEW, Skill
from diffusion_probe.engine.runs.loaded import loaded_again
from diffusion_probe.engine.runs.seeds import use_seeds
from diffusion_probe.engine.seed_search.candidates import Candidate, ksampler_candidate
from diffusion_probe.engine.seed_search.outcome import outcome_report, outcome_text
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, POLICIES, policy_named
from diffusion_probe.engine.seed_search.policies.policy import Policy
from diffusion_probe.engine.seed_search.policies.sequential import Sequential
from diffusion_probe.engine.seed_search.result import FinalReward, candidate_pictures
from diffusion_probe.engine.seed_search.search import SearchOptions, seed_search
from diffusion_probe.probe_models.preview import PreviewReward

import nodes as comfy_nodes

STEPS = 6
LATENT = {"samples": torch.zeros(1, 16, 8, 8)}


@pytest.fixture(scope="module")
def model():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


def candidate(seed, steps=STEPS, sampler="euler", positive=None, prompt=0, latent=LATENT):
    positive = positive or random_conditioning(1)
    return ksampler_candidate(
        seed, steps, 2.0, sampler, "simple", positive, random_conditioning(2), latent, 1.0, prompt
    )


def candidates(count, **options):
    return [candidate(seed, **options) for seed in range(count)]


def policy(count, survivors=1, name=ONE_CUT, share=0.5, **options):
    return lambda steps: policy_named(name, steps, count, survivors, share=share, target=0.0, **options)


@torch.inference_mode()
def run(model, found, probe, survivors=1, chosen=None, **options):
    return seed_search(
        model, found, probe, chosen or policy(len(found), survivors), survivors, SearchOptions(**options)
    )


@torch.inference_mode()
def alone(model, seed, steps=STEPS, positive=None, sampler="euler"):
    settings = (steps, 2.0, sampler, "simple", positive or random_conditioning(1), random_conditioning(2), LATENT)
    return comfy_nodes.KSampler().sample(model, seed, *settings)[0]["samples"]


def same(latent, expected):
    return float((latent - expected).norm() / expected.norm()) < 1e-5


def failures(result):
    return {each.name.seed: each.failure for each in result.outcome.candidates if each.failure}


def test_one_cut_costs_what_is_promised_and_keeps_the_best(model, probe):
    result = run(model, candidates(5), probe, survivors=2)
    assert result.outcome.model_rows == 2 * (5 * 3 + 2 * 3)
    scores = [each.scores[0][1] for each in result.outcome.candidates]
    assert [scores[row] for row in result.survivors] == sorted(scores, reverse=True)[:2]
    assert all(same(latent[None], alone(model, row)) for latent, row in zip(result.latents, result.survivors))
    found = result.outcome.scores()
    assert [at is None for at in found.dropped_at] == [row in result.survivors for row in range(5)]
    assert {at for at in found.dropped_at if at} == {"step 3"} and len(found) == 5


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_keeps_its_budget_and_finishes_what_is_wanted(model, probe, name):
    result = run(model, candidates(6), probe, 2, policy(6, 2, name, budget=3 * STEPS))
    assert len(result.survivors) == 2 and result.outcome.model_rows <= 2 * 3 * STEPS
    assert same(result.latents[:1], alone(model, result.survivors[0]))


def test_looks_are_counted_at_the_price_that_the_policy_knows(model, probe):
    result = run(model, candidates(6), probe, 1, policy(6, name=ONE_CUT, budget=3 * STEPS, look_price=1.5))
    started = [each for each in result.outcome.candidates if each.reached]
    assert len(started) == (3 * STEPS - 3) // 4.5 and result.outcome.look_price == 1.5 * len(started)
    assert result.outcome.spent == 3 * len(started) + 3 + 1.5 * len(started) <= 3 * STEPS


def test_the_free_part_of_a_probe_scores_alone_before_the_part_that_costs(model, probe, monkeypatch):
    class Whole(type(probe)):
        free_part = probe

    skill = Skill(PREVIEW.progress, PREVIEW.correlation, (1.0,) * 7)
    chosen = Sequential(4 * STEPS, skill=skill, look_price=1.0, free_skill=skill, priced_from=0.5, shares=(0.2, 0.5))
    scored = []
    monkeypatch.setattr(Whole, "score", lambda self, rows: scored.append(rows[0].step) or torch.arange(len(rows)))
    result = run(model, candidates(8), Whole(), 1, lambda steps: chosen)
    moments = {step for each in result.outcome.candidates for step, _ in each.scores}
    assert moments == {1, 3} and set(scored) == {3}
    assert result.outcome.look_price == sum(len(each.scores) > 1 for each in result.outcome.candidates)


@pytest.mark.parametrize("sampler", ["heun", "dpm_2"])
def test_two_evaluations_per_step_cost_at_most_one_more_per_image_of_the_budget(model, probe, sampler):
    found = candidates(6, sampler=sampler)
    result = run(model, found, probe, 1, policy(6, 1, budget=3 * STEPS))
    full = run(model, found[:1], probe).outcome.model_rows
    assert full == 2 * (2 * STEPS - 1)  # their last step is a single evaluation
    assert 2 * full < result.outcome.model_rows <= 3 * (full + 2)


def test_a_sampler_with_steps_of_its_own_says_that_the_budget_is_not_exact(model, probe):
    result = run(model, candidates(2, sampler="dpm_fast"), probe)
    assert "dpm_fast chooses its steps itself" in outcome_text(result.outcome)


def test_one_candidate_is_a_plain_run(model, probe):
    result = run(model, candidates(1), probe)
    assert result.survivors == [0] and same(result.latents, alone(model, 0))
    assert result.outcome.model_rows == 2 * STEPS


def test_more_survivors_than_candidates_finishes_all_and_orders_them(model, probe):
    result = run(model, candidates(3), probe, survivors=7)
    scores = [result.outcome.candidates[row].scores[-1][1] for row in result.survivors]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)


def test_a_schedule_of_one_step_has_no_moment_and_still_gives_its_image(model, probe):
    result = run(model, candidates(2, steps=1), probe, survivors=2)
    assert len(result.survivors) == 2 and same(result.latents[:1], alone(model, 0, steps=1))
    assert len(result.outcome.scores()) == 0 and "Finished 2 of 2" in outcome_text(result.outcome)


def test_a_schedule_of_four_steps_has_a_moment(model, probe):
    result = run(model, candidates(3, steps=4), probe, chosen=policy(3, share=0.2))
    assert result.outcome.scores().moment == "step 1" and same(result.latents, alone(model, result.survivors[0], 4))


def test_no_candidate_is_refused(model, probe):
    with pytest.raises(ValueError, match="no candidate. Give at least one"):
        run(model, [], probe)


def test_wordings_of_other_lengths_are_searched_together(model, probe):
    prompts = [random_conditioning(1), random_conditioning(8, tokens=5)]
    found = [candidate(seed, positive=p, prompt=n) for seed in range(2) for n, p in enumerate(prompts)]
    result = run(model, found, probe, survivors=4)
    for latent, row in zip(result.latents, result.survivors, strict=True):
        assert same(latent[None], alone(model, row // 2, positive=prompts[row % 2]))
    assert "seed 1 of prompt 2" in outcome_text(result.outcome)


def test_a_final_reward_orders_the_finished(model, probe):
    plain = run(model, candidates(4), probe, survivors=3)
    darkness = FinalReward(lambda rows: -torch.stack([row.denoised.mean() for row in rows]))
    ordered = run(model, candidates(4), probe, 2, policy(4, 3), final_reward=darkness)
    means = {row: float(latent.mean()) for latent, row in zip(plain.latents, plain.survivors, strict=True)}
    assert ordered.survivors == sorted(means, key=means.get)[:2]
    assert ", reward " in outcome_text(ordered.outcome)


def test_kept_scores_are_of_the_survivors_in_the_order_of_their_latents(model, probe):
    result = run(model, candidates(4), probe, survivors=2)
    kept = result.outcome.kept_scores()
    assert [name.seed for name in kept.seeds] == result.survivors and kept.label == "mean"
    assert list(kept.values) == [result.outcome.candidates[row].scores[-1][1] for row in result.survivors]
    darkness = FinalReward(lambda rows: -means(rows), "darkness")
    ordered = run(model, candidates(4), probe, 2, policy(4, 3), final_reward=darkness)
    kept = ordered.outcome.kept_scores()
    assert torch.allclose(torch.tensor(kept.values), -ordered.latents.mean((1, 2, 3)), atol=1e-5)
    assert kept.label == "darkness" and [name.seed for name in kept.seeds] == ordered.survivors
    ends = dict(zip((name.seed for name in ordered.outcome.scores().seeds), ordered.outcome.scores().dropped_at))
    assert sorted(map(str, ends.values())) == ["None", "None", "step 3", "the end"]  # one was finished in vain
    assert "finished, not kept" in outcome_text(ordered.outcome)


def means(rows):
    return torch.stack([row.denoised.mean() for row in rows])


def test_survivors_without_a_score_are_named_all_the_same(model, probe):
    kept = run(model, candidates(2, steps=1), probe, survivors=2).outcome.kept_scores()
    assert [name.seed for name in kept.seeds] == [0, 1] and all(map(math.isnan, kept.values))


def test_pictures_are_what_the_probe_decoded_best_first(model, reward_of):
    def decode(latents):
        return latents[:, :3].movedim(1, -1).sigmoid()

    brightness = PreviewReward(decode, reward_of(lambda images, prompts: images.mean((1, 2, 3))), "a lamp")
    result = run(model, candidates(4), brightness)
    pictures = candidate_pictures(model, result)
    means = pictures.mean((1, 2, 3)).tolist()
    assert len(means) == 4 and means == sorted(means, reverse=True)


def test_a_probe_without_pictures_shows_latent_previews(model, probe):
    assert len(candidate_pictures(model, run(model, candidates(3), probe))) == 3


def test_candidates_that_all_fail_at_their_start_are_one_message_on_a_clean_model(model, probe):
    def sample(model, callback):
        raise RuntimeError("the conditioning is of another model")

    with pytest.raises(ValueError, match="no candidate was finished, 3 of 3 failed: seed 0: the conditioning is of"):
        run(model, [Candidate(SeedName(seed), sample) for seed in range(3)], probe)
    assert run(model, candidates(2), probe).survivors


class DrawsWhileSamplingOnly:
    """As previewers of packs that show latents as they are sampled."""

    def decode_latent_to_preview_image(self, kind, latent):
        return None


class Broken:
    def decode_latent_to_preview_image(self, kind, latent):
        raise RuntimeError("no memory for pictures")


def test_pictures_that_cannot_be_drawn_cost_no_result(model, probe, monkeypatch, caplog):
    result = run(model, candidates(3), probe)
    monkeypatch.setattr(latent_preview, "get_previewer", lambda *given: DrawsWhileSamplingOnly())
    assert len(candidate_pictures(model, result)) == 3  # by the model's RGB approximation
    monkeypatch.setattr(latent_preview, "get_previewer", lambda *given: Broken())
    assert len(candidate_pictures(model, result)) == 3 and "no memory for pictures" in caplog.text
    monkeypatch.setattr(model.get_model_object("latent_format"), "latent_rgb_factors", None)
    assert candidate_pictures(model, result) is None


def test_progress_goes_to_the_rows_spent_and_shows_previews(model, probe, monkeypatch):
    from comfy.cli_args import LatentPreviewMethod, args

    sent = []
    monkeypatch.setattr(args, "preview_method", LatentPreviewMethod.Latent2RGB)
    monkeypatch.setattr(
        comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, preview, node_id: sent.append((value, total, preview))
    )
    result = run(model, candidates(4), probe)
    values = [value for value, _, _ in sent]
    assert values == sorted(values) and sent[-1][:2] == (result.outcome.model_rows,) * 2
    assert {total for _, total, _ in sent[1:]} == {result.outcome.model_rows}  # known from the first call on
    assert any(preview is not None for _, _, preview in sent)


# What goes wrong.


def with_wrapper(model, kind, wrapper):
    model = model.clone()
    model.add_wrapper_with_key(kind, "test", wrapper)
    return model


def out_of_memory_above(rows, seen):
    def forward(executor, x, *args, **kwargs):
        seen.append(len(x))
        if len(x) > rows:
            raise comfy.model_management.OOM_EXCEPTION("out of memory")
        return executor(x, *args, **kwargs)

    return forward


def test_out_of_memory_makes_calls_smaller_and_warns(model, probe):
    seen = []
    small = with_wrapper(model, WrappersMP.DIFFUSION_MODEL, out_of_memory_above(5, seen))
    result = run(small, candidates(8), probe)
    assert not failures(result) and same(result.latents, alone(model, result.survivors[0]))
    assert sum(rows > 5 for rows in seen) <= 2  # it doesn't run into it again
    assert sum(each.model_rows for each in result.outcome.candidates) == 2 * (8 * 3 + 3)
    assert any("Out of memory at 16 rows" in warning for warning in result.outcome.warnings)
    assert "Out of memory" in outcome_text(result.outcome)


def test_out_of_memory_at_one_image_stays_one_so_that_comfyui_unloads_its_models(model, probe):
    tiny = with_wrapper(model, WrappersMP.DIFFUSION_MODEL, out_of_memory_above(1, []))
    with pytest.raises(comfy.model_management.OOM_EXCEPTION, match="out of memory"):
        run(tiny, candidates(3), probe)
    assert model.model.current_patcher is None


@pytest.mark.parametrize("step", [0, 2, 4])
def test_a_latent_that_turns_nan_fails_alone(model, probe, step):
    good = candidate(0)

    def broken(model, callback):
        def on_step(number, x0, x, total):
            if number == step:
                x.fill_(float("nan"))
            callback(number, x0, x, total)

        return good.sample(model, on_step)

    result = run(model, [Candidate(SeedName(0), broken), *candidates(4)[1:]], probe, survivors=4)
    assert list(failures(result)) == [0] and "NaN" in failures(result)[0]
    assert sorted(result.survivors) == [1, 2, 3]
    assert all(same(latent[None], alone(model, row)) for latent, row in zip(result.latents, result.survivors))
    assert "failed: its latent is NaN" in outcome_text(result.outcome)
    assert outcome_report(result.outcome)["rows"][-1]["failure"]


def test_a_candidate_that_makes_a_shared_call_fail_fails_alone(model, probe):
    """A patch that breaks on one candidate's rows only; the others are computed without it."""

    def forward(executor, x, timestep, context, *args, **kwargs):
        if (context == 0).all((1, 2)).any():
            raise RuntimeError("these rows are not welcome")
        return executor(x, timestep, context, *args, **kwargs)

    zero = random_conditioning(1)
    zero[0][0] = torch.zeros_like(zero[0][0])
    picky = with_wrapper(model, WrappersMP.DIFFUSION_MODEL, forward)
    found = [candidate(0), candidate(1, positive=zero), candidate(2), candidate(3)]
    result = run(picky, found, probe, survivors=3)
    assert failures(result) == {1: "these rows are not welcome"}
    assert all(same(latent[None], alone(model, row)) for latent, row in zip(result.latents, result.survivors))


def test_a_candidate_that_cant_start_fails_alone_and_all_of_them_are_an_error(model, probe):
    broken = candidate(0, positive=[[torch.zeros(1, 4, 7), {}]])  # a text of another model
    result = run(model, [broken, *candidates(3)[1:]], probe)
    assert list(failures(result)) == [0] and len(result.survivors) == 1
    with pytest.raises(ValueError, match="no candidate was finished, 2 of 2 failed: seed 0: "):
        run(model, [broken, broken], probe)


def test_a_sampler_that_ignores_callbacks_is_searched_all_the_same(model, probe):
    def silent(seed):
        return Candidate(SeedName(seed), lambda model, callback: candidate(seed).sample(model, lambda *_: None))

    result = run(model, [silent(seed) for seed in range(3)], probe)
    assert result.outcome.model_rows == 2 * (3 * 3 + 3) and same(result.latents, alone(model, result.survivors[0]))


class Interrupted:
    """Raises ComfyUI's interrupt at the given call of something that the search does."""

    def __init__(self, at):
        self.left = at

    def __call__(self, *args):
        self.left -= 1
        if self.left < 0:
            raise comfy.model_management.InterruptProcessingException()


@pytest.mark.parametrize("stage", ["first call", "before the moment", "at the score", "after it", "at the reward"])
def test_an_interrupt_at_any_stage_stops_everything_and_leaves_the_model_clean(model, probe, stage, monkeypatch):
    started, ended = [], []

    def outer(executor, *args, **kwargs):
        started.append(1)
        try:
            return executor(*args, **kwargs)
        finally:
            ended.append(sys.exc_info()[0])

    watched = with_wrapper(model, WrappersMP.OUTER_SAMPLE, outer)
    reward = None
    if stage in ("first call", "before the moment", "after it"):
        stop = Interrupted({"first call": 0, "before the moment": 2, "after it": 4}[stage])
        monkeypatch.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", stop)
        monkeypatch.setattr("comfy.ops.run_every_op", lambda: None)
    elif stage == "at the score":
        monkeypatch.setattr(type(probe), "score", Interrupted(0))
    else:
        reward = FinalReward(Interrupted(0))
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(watched, candidates(3), probe, final_reward=reward)
    monkeypatch.undo()
    assert len(ended) == len(started) >= 1  # every run was unwound, the rehearsal's too
    assert model.model.current_patcher is None
    result = run(model, candidates(2), probe)
    assert same(result.latents, alone(model, result.survivors[0]))


def test_random_numbers_of_the_caller_are_left_alone(model, probe):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    run(model, candidates(2, sampler="euler_ancestral"), probe)
    assert torch.equal(torch.rand(3), expected)


def test_without_greenlet_the_error_says_how_to_get_it(model, probe, monkeypatch):
    monkeypatch.setitem(sys.modules, "greenlet", None)
    with pytest.raises(ValueError, match="greenlet is missing.*python -m pip install greenlet"):
        run(model, candidates(2), probe)


def test_a_policy_that_sends_candidates_backwards_is_refused(model, probe):
    class Backwards(Policy):
        def moments(self, steps):
            return (2,)

        def next(self, state):
            return {0: 2}

    with pytest.raises(ValueError, match="where they can't go"):
        run(model, candidates(2), probe, chosen=lambda steps: Backwards())


class ByMean(Probe):
    """Scores x0, and does something before."""

    name, label, needs, skilled, calibration = "by mean", "mean", frozenset({"denoised"}), True, ()

    def __init__(self, before=lambda rows: None):
        self.before = before

    def score(self, rows):
        self.before(rows)
        return means(rows)


def test_a_look_that_unloads_the_model_does_not_disturb_the_search(model):
    """As a VAE decode may when memory is short; a LoRA is in the weights only while the model is loaded."""
    key, weight = next((key, weight) for key, weight in model.model_state_dict().items() if weight.ndim == 2)
    lora = model.clone()
    lora.add_patches({key: ("diff", (torch.randn(weight.shape, generator=torch.manual_seed(0)) * 0.1,))}, 0.7)
    result = run(lora, candidates(3), ByMean(lambda rows: comfy.model_management.unload_all_models()), survivors=2)
    assert all(same(latent[None], alone(lora, row)) for latent, row in zip(result.latents, result.survivors))
    assert not same(alone(model, 0), alone(lora, 0))


def test_control_nets_are_loaded_again_too(monkeypatch):
    loaded = []
    monkeypatch.setattr(comfy.model_management, "load_models_gpu", lambda models, **memory: loaded.extend(models))
    guiders = [SimpleNamespace(model_patcher="model", loaded_models=[net]) for net in ("canny", "depth")]
    with pytest.raises(RuntimeError, match="no VAE"), loaded_again(guiders):
        raise RuntimeError("no VAE")
    assert loaded == ["model", "canny", "depth"]


def test_a_model_from_seed_batch_is_refused(model, probe):
    with pytest.raises(ValueError, match="Connect the MODEL from before the seeds"):
        run(use_seeds(model, [1, 2, 3]), candidates(3), probe)


def test_what_cant_be_searched_is_refused_before_it_starts():
    with pytest.raises(ValueError, match="denoise is 0.*Set denoise above 0"):
        ksampler_candidate(0, 6, 2.0, "euler", "simple", [], [], LATENT, denoise=0.0)
    with pytest.raises(ValueError, match="video with audio"):
        candidate(0, latent={"samples": NestedTensor([torch.zeros(1, 16, 8, 8), torch.zeros(1, 8, 4)])})


def test_attention_that_was_not_seen_is_the_reason(model, probe):
    def own(executor, x, timestep, context, *args, **kwargs):
        return x * 0.5  # as a model whose attention is not ComfyUI's

    with pytest.raises(
        ValueError,
        match="0 of 3 failed, 3 could not be scored: seed 0: not scored at step 3: nothing was captured.*Nunchaku",
    ):
        run(with_wrapper(model, WrappersMP.DIFFUSION_MODEL, own), candidates(3), probe)


def skipping(first, last):
    """What a cache does that skips these evaluations, counted from 0, before anybody sees them."""

    def predict_noise(executor, x, timestep, model_options, seed=None):
        sigmas = model_options["transformer_options"]["sample_sigmas"].tolist()
        skipped = sigmas[last] <= float(timestep) <= sigmas[first]
        return x if skipped else executor(x, timestep, model_options, seed)

    return predict_noise


def test_an_evaluation_that_a_cache_skipped_is_the_reason(model):
    lazy = with_wrapper(model, WrappersMP.PREDICT_NOISE, skipping(2, 2))
    with pytest.raises(
        ValueError, match="3 could not be scored: seed 0: not scored at step 3: there was no.*LazyCache"
    ):
        run(lazy, candidates(3), ByMean())


def test_a_run_whose_moments_a_cache_skipped_is_finished_and_said_to_have_no_score(model):
    lazy = with_wrapper(model, WrappersMP.PREDICT_NOISE, skipping(1, STEPS))
    result = run(lazy, candidates(3), ByMean())
    assert result.survivors == [0] and "not scored at step 3" in result.outcome.candidates[0].remark


@pytest.mark.parametrize("name", POLICIES)
def test_a_score_that_is_nan_drops_its_candidate_and_says_so(model, name):
    class Nan(ByMean):
        def score(self, rows):
            return torch.tensor([float("nan") if len(rows) > 1 else 1.0] + [1.0] * (len(rows) - 1))

    result = run(model, candidates(4), Nan(), chosen=policy(4, 1, name, budget=4 * STEPS))
    remarks = [each.remark for each in result.outcome.candidates if each.remark]
    assert remarks and all("its score is nan" in remark for remark in remarks)
    assert json.dumps(outcome_report(result.outcome), allow_nan=False)
    assert "not scored at step" in outcome_text(result.outcome)


def test_one_preview_that_cant_be_decoded_leaves_the_others_their_scores(model, reward_of):
    worst = float("-inf")

    def decode(latents):
        images = latents[:, :3].movedim(1, -1).sigmoid()
        images[(latents - worst).abs().amax((1, 2, 3)) == 0] = float("nan")
        return images

    brightness = PreviewReward(decode, reward_of(lambda images, prompts: images.mean((1, 2, 3))), "a lamp")
    plain = run(model, candidates(4), brightness)
    worst = plain.features[2].denoised
    result = run(model, candidates(4), brightness, survivors=4)
    assert sorted(result.survivors) == [0, 1, 3] and "NaN" in result.outcome.candidates[2].remark
    assert len(candidate_pictures(model, result)) == 3


def test_finished_images_are_kept_whatever_the_reward_model_does(model, probe):
    plain = run(model, candidates(3), probe, survivors=3)
    bad = plain.survivors[0]
    (latent,) = plain.latents[:1]

    def score(rows):
        if any(same(row.denoised, latent) for row in rows):
            raise RuntimeError("the reward model is broken")
        return means(rows)

    result = run(model, candidates(3), probe, 3, final_reward=FinalReward(score))
    assert sorted(result.survivors) == [0, 1, 2] and result.survivors[-1] == bad
    assert result.outcome.candidates[bad].remark == "no reward: the reward model is broken"
    assert math.isnan(result.outcome.kept_scores().values[-1])


@pytest.mark.parametrize("cache", [core_caches.EasyCacheNode, core_caches.LazyCacheNode])
def test_with_a_cache_of_comfyui_survivors_equal_ksampler_with_that_cache(model, cache):
    cached = cache.execute(model, 0.3, 0.3, 0.95, False)[0]
    result = run(cached, candidates(3, steps=12), ByMean(), survivors=2, chosen=policy(3, 2, share=0.25))
    for latent, row in zip(result.latents, result.survivors, strict=True):
        assert same(latent[None], alone(cached, row, 12)) and not same(latent[None], alone(model, row, 12))
