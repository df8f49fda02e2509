"""Every family of the table: searched, pruned and cached runs are those of the stock KSampler; some are recorded.

Each on a small model of ComfyUI's own class with random weights.
"""

import logging

import pytest
import torch
from diffusion_probe.dev.random_models import SMALL_MODELS
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.previews import preview_images
from diffusion_probe.engine.capture.read import captured, finished_rows, score_latent
from diffusion_probe.engine.core.marks import GO, NO_MARKS
from diffusion_probe.engine.core.probe import CaptureAll
from diffusion_probe.engine.runs.seeds import use_seeds
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.policies.chosen import Chosen
from diffusion_probe.engine.seed_search.prefixes import PrefixStore
from diffusion_probe.engine.seed_search.search import SearchOptions, finish_candidates, seed_search
from diffusion_probe.engine.seed_search.watcher import Unwatched
from diffusion_probe.engine.selection.pruning import PruneRule
from diffusion_probe.engine.step_cache.config import StepCacheConfig
from diffusion_probe.engine.step_cache.hook import apply_step_cache
from diffusion_probe.probe_models.probe_file import load_probe
from diffusion_probe.training.dataset.labels import Labels
from diffusion_probe.training.dataset.recorder import FinishedRun, record_run
from diffusion_probe.training.fitting.fit import Recipe
from diffusion_probe.training.fitting.probe_training import train_probe

from support.compare import relative_error

IMAGES = ["FLUX", *(name for name in SMALL_MODELS if name != "Wan 2.1")]
SEEDS = [5, 6, 7]
STEPS = 4


@pytest.fixture(params=IMAGES)
def small(request, small_model):
    return small_model(request.param)


def test_survivors_of_a_search_are_the_images_that_ksampler_gives_for_their_seeds(small, probe, row_counts):
    def one_cut(steps):
        return policy_named(ONE_CUT, steps, len(SEEDS), 2, share=0.5)

    given = (STEPS, 2.0, "euler", "simple", small.prompt(1), small.prompt(2), {"samples": small.latent})
    with torch.inference_mode():
        candidates = [ksampler_candidate(seed, *given) for seed in SEEDS]
        result = seed_search(small.model, candidates, probe, one_cut, 2)
    assert len(result.survivors) == 2 and row_counts == [6, 6, 4, 4], "all candidates and both prompts in each call"
    for latent, number in zip(result.latents, result.survivors, strict=True):
        assert relative_error(latent[None], small.sample(rows=1, seed=SEEDS[number], steps=STEPS)) < 1e-5


class PinsTheLast(Unwatched):
    marks = NO_MARKS.pin(2)

    def on_last_cut(self, state, goals):
        self.pictures = preview_images(self.model, [each.features for each in state.candidates])
        return GO


def test_who_is_chosen_without_a_probe_and_finished_later_is_ksamplers_image(small, row_counts):
    given = (STEPS, 2.0, "euler", "simple", small.prompt(1), small.prompt(2), {"samples": small.latent})
    user, store = PinsTheLast(), PrefixStore()
    user.model = small.model
    with torch.inference_mode():
        found = [ksampler_candidate(seed, *given) for seed in SEEDS]
        options = SearchOptions(1, watcher=user, prefixes=store)
        chosen = seed_search(small.model, found, None, lambda steps: Chosen(0.5), 1, options)
        row_counts.clear()
        later = finish_candidates(small.model, found[:1], SearchOptions(1, prefixes=store))
    assert chosen.survivors == [2] and len(user.pictures) == 3, "each candidate has a picture to choose by"
    assert sum(row_counts) == 2 * STEPS / 2, "the first half of the steps is not computed again"
    for latent, seed in ((chosen.latents, SEEDS[2]), (later.latents, SEEDS[0])):
        assert torch.equal(latent, small.sample(rows=1, seed=seed, steps=STEPS))


def test_rows_that_stay_in_a_pruned_run_end_as_in_the_whole_batch(small, probe, row_counts):
    whole = small.sample(use_seeds(small.model, SEEDS), rows=3, steps=STEPS)
    row_counts.clear()
    model = attach_probe(use_seeds(small.model, SEEDS), probe, "step 2", PruneRule(top_k=1))
    pruned = small.sample(model, rows=3, steps=STEPS)
    scores = score_latent(model, {"samples": pruned})
    (kept,) = [row for row in range(3) if scores.dropped_at[row] is None]
    assert row_counts == [6, 6, 2, 2] and relative_error(pruned[kept], whole[kept]) < 1e-5


def test_a_cache_without_predictions_changes_nothing_and_others_keep_probed_moments(small, probe, caplog):
    caplog.set_level(logging.INFO)
    assert torch.equal(small.sample(apply_step_cache(small.model, StepCacheConfig(interval=1))), small.sample())
    model = apply_step_cache(attach_probe(small.model, probe, "step 5"), StepCacheConfig(interval=3))
    latent = small.sample(model, rows=1, steps=8)
    assert "1 predicted; fallbacks: 1 probed moment" in caplog.messages[-1]
    assert captured(model, {"samples": latent})[0].attention is not None


def test_the_cache_takes_a_video_model(small_model, caplog):
    """Idle it changes nothing; else it is closer to full sampling than as many steps as it computes."""
    caplog.set_level(logging.INFO)
    wan = small_model("Wan 2.1")
    video = {"rows": 1, "latent": torch.zeros(1, 16, 3, 8, 12), "steps": 20}
    full = wan.sample(**video)
    assert torch.equal(wan.sample(apply_step_cache(wan.model, StepCacheConfig(interval=1)), **video), full)
    cached = wan.sample(apply_step_cache(wan.model, StepCacheConfig(interval=2)), **video)
    assert "20 evaluations: 13 computed, 7 predicted; fallbacks: none" in caplog.messages[-1]
    fewer = wan.sample(**{**video, "steps": 13})
    assert relative_error(cached, full) < 0.5 * relative_error(fewer, full)


@pytest.mark.parametrize("name", ["Qwen-Image", "SD1.5"])
def test_runs_of_other_families_are_recorded_and_a_joint_probe_is_trained_on_them(small_model, name, tmp_path):
    """Qwen-Image's latents have an axis of frames, of one; what networks are given has none."""
    small, folder, path = small_model(name), tmp_path / "data", tmp_path / "probe.safetensors"
    for number in range(12):
        model = attach_probe(small.model, CaptureAll(), "step 1")
        latent = small.sample(model, cfg=1.0, seed=number)
        _, moments = finished_rows(model, {"samples": latent})
        labels = {"reward": (0.1 * number, 0.5)}
        record_run(folder, f"run{number}", FinishedRun(f"prompt {number}", (1, 2), 3, moments, latent, Labels(labels)))
    sizes = {"width": 16, "channels": 8, "looking": 1, "seeing": 1, "layers": 1}
    train_probe(folder, path, Recipe("joint", ("reward",), steps=1, prompts=2, rows=2, network=sizes))
    model = attach_probe(small.model, load_probe(path), "step 1")
    assert len(score_latent(model, {"samples": small.sample(model, cfg=1.0)})) == 2
