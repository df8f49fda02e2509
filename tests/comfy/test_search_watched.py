"""Watchers of a search: the order of its events, and what marks do, on a small random FLUX."""

from types import SimpleNamespace

import pytest
import torch
from diffusion_probe.dev.random_models import random_conditioning, random_flux
from diffusion_probe.engine.board import address
from diffusion_probe.engine.core.marks import NO_MARKS
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.policies.by_name import POLICIES, policy_named
from diffusion_probe.engine.seed_search.search import SearchOptions, seed_search
from diffusion_probe.engine.seed_search.watcher import Unwatched

import nodes as comfy_nodes

STEPS = 6
LATENT = {"samples": torch.zeros(1, 16, 8, 8)}


@pytest.fixture(scope="module")
def model():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


class Watching(Unwatched):
    """A watcher that keeps the events in their order; ``mark`` may mark at the last cut."""

    def __init__(self, mark=lambda watching: None):
        self.marks, self.mark = NO_MARKS, mark
        self.events, self.scores = [], {}

    def on_scores(self, state, numbers):
        seen = [state.candidates[number] for number in numbers]
        assert all(each.features.denoised is not None for each in seen)
        self.scores |= {number: each.last_score[1] for number, each in zip(numbers, seen) if each.last_score}
        self.events.append(("scores", sorted(numbers)))

    def on_goals(self, state, goals):
        self.events.append(("goals", dict(goals)))

    def on_last_cut(self, state, goals):
        self.events.append(("last cut", dict(goals())))
        self.mark(self)
        self.after = dict(goals())


@torch.inference_mode()
def search(model, probe, watcher, name="one cut", count=4, survivors=1, positive=lambda seed: random_conditioning(1)):
    found = [
        ksampler_candidate(seed, STEPS, 2.0, "euler", "simple", positive(seed), random_conditioning(2), LATENT)
        for seed in range(count)
    ]
    policy = lambda steps: policy_named(name, steps, count, survivors, 4 * STEPS, target=1e9, share=0.5)  # noqa: E731
    return seed_search(model, found, probe, policy, survivors, SearchOptions(watcher=watcher))


@torch.inference_mode()
def alone(model, seed):
    settings = (STEPS, 2.0, "euler", "simple", random_conditioning(1), random_conditioning(2), LATENT)
    return comfy_nodes.KSampler().sample(model, seed, *settings)[0]["samples"]


def worst(watching):
    return min(watching.scores, key=watching.scores.get)


@pytest.mark.parametrize("name", POLICIES)
def test_the_last_cut_comes_once_and_after_all_scores_before_it(model, probe, name):
    watching = Watching()
    result = search(model, probe, watching, name)
    kinds = [event[0] for event in watching.events]
    assert kinds.count("last cut") == 1 and kinds.index("scores") < kinds.index("last cut")
    assert set(watching.after) >= set(result.survivors) or name == "sequential"
    assert set(watching.after.values()) == {STEPS}
    scored = {row for kind, rows in watching.events if kind == "scores" for row in rows}
    assert scored == {row for row, each in enumerate(result.outcome.candidates) if each.scores}


def test_who_is_pinned_while_it_is_held_is_finished_as_ksampler_would(model, probe):
    watching = Watching(lambda it: setattr(it, "marks", it.marks.pin(worst(it))))
    result = search(model, probe, watching)
    (survivor,) = result.survivors
    assert survivor == worst(watching) and result.outcome.candidates[survivor].mark == "pinned"
    expected = alone(model, survivor)
    assert float((result.latents - expected).norm() / expected.norm()) < 1e-5
    assert result.outcome.model_rows == 2 * (4 * 3 + 3)  # nobody else was finished


def test_the_next_best_is_finished_for_a_discarded_one(model, probe):
    watching = Watching(lambda it: setattr(it, "marks", it.marks.discard(max(it.scores, key=it.scores.get))))
    result = search(model, probe, watching)
    ranked = sorted(watching.scores, key=watching.scores.get, reverse=True)
    assert result.survivors == [ranked[1]] and not result.outcome.candidates[ranked[0]].finished


def test_a_search_with_every_candidate_discarded_says_so_and_leaves_a_clean_model(model, probe):
    def discard_all(it):
        for row in range(4):
            it.marks = it.marks.discard(row)

    with pytest.raises(ValueError, match="every candidate that could be finished was discarded"):
        search(model, probe, Watching(discard_all))
    assert search(model, probe, Watching()).survivors


def test_that_one_was_discarded_does_not_hide_why_the_others_failed(model, probe):
    class Discarding(Watching):
        def on_scores(self, *event):
            super().on_scores(*event)
            self.marks = self.marks.discard(0)

    def broken_but_one(seed):
        ((context, more),) = random_conditioning(1)
        return [[context if seed == 0 else context * torch.nan, more]]

    with pytest.raises(ValueError, match="no candidate was finished, 3 of 4 failed: seed 1: .* NaN at step 3"):
        search(model, probe, Discarding(), positive=broken_but_one)


@pytest.mark.parametrize("extra", [{}, {"extra_pnginfo": None}, {"extra_pnginfo": {"workflow": None}}])
def test_a_prompt_that_was_queued_without_its_workflow_has_a_board(extra, monkeypatch):
    running = SimpleNamespace(
        client_id="me",
        sockets={"me": None},
        prompt_queue=SimpleNamespace(get_current_queue_volatile=lambda: ([(0, "p", {}, extra, [])], [])),
    )
    shown = SimpleNamespace(dynprompt=SimpleNamespace(get_display_node_id=lambda node: node))
    monkeypatch.setattr(address, "server", lambda: running)
    monkeypatch.setattr(address, "get_executing_context", lambda: SimpleNamespace(prompt_id="p", node_id="7"))
    monkeypatch.setattr(address, "get_progress_state", lambda: shown)
    assert address.running_address() == ("p", "7", "7", "", "me")
