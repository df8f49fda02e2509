"""A search that somebody watches and steers, on a small random FLUX."""

from types import SimpleNamespace

import pytest
import torch
from diffusion_probe.dev.random_models import random_conditioning, random_flux
from diffusion_probe.engine.board import place
from diffusion_probe.engine.core.marks import NO_MARKS
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.policies.by_name import POLICIES, policy_named
from diffusion_probe.engine.seed_search.run import seed_search

import nodes as comfy_nodes

STEPS = 6
LATENT = {"samples": torch.zeros(1, 16, 8, 8)}


@pytest.fixture(scope="module")
def model():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


class Watching:
    """Takes down what it is told; ``on_hold`` may mark."""

    def __init__(self, on_hold=lambda watching: None):
        self.marks, self.on_hold = NO_MARKS, on_hold
        self.told, self.scores = [], {}

    def looked(self, moment, seen, pictures, scores):
        assert all(features.denoised is not None for features in seen.values())
        self.scores |= scores
        self.told.append(("looked", moment, sorted(seen)))

    def decided(self, goals, state):
        self.told.append(("decided", dict(goals)))

    def hold(self, goals, state):
        before = dict(goals())
        self.told.append(("hold", before))
        self.on_hold(self)
        self.after = dict(goals())


@torch.inference_mode()
def search(model, probe, watcher, name="one cut", count=4, survivors=1, positive=lambda seed: random_conditioning(1)):
    found = [
        ksampler_candidate(seed, STEPS, 2.0, "euler", "simple", positive(seed), random_conditioning(2), LATENT)
        for seed in range(count)
    ]
    policy = lambda steps: policy_named(name, steps, count, survivors, 4 * STEPS, target=1e9, share=0.5)  # noqa: E731
    return seed_search(model, found, probe, policy, survivors, watcher=watcher)


@torch.inference_mode()
def alone(model, seed):
    settings = (STEPS, 2.0, "euler", "simple", random_conditioning(1), random_conditioning(2), LATENT)
    return comfy_nodes.KSampler().sample(model, seed, *settings)[0]["samples"]


def worst(watching):
    return min(watching.scores, key=watching.scores.get)


@pytest.mark.parametrize("name", POLICIES)
def test_it_is_held_once_after_the_last_cut_and_told_every_look_before(model, probe, name):
    watching = Watching()
    result = search(model, probe, watching, name)
    kinds = [event[0] for event in watching.told]
    assert kinds.count("hold") == 1 and kinds.index("looked") < kinds.index("hold")
    assert set(watching.after) >= set(result.survivors) or name == "sequential"
    assert set(watching.after.values()) == {STEPS}
    looks = {row for event in watching.told if event[0] == "looked" for row in event[2]}
    assert looks == {row for row, fate in enumerate(result.outcome.fates) if fate.scores}


def test_who_is_pinned_while_it_is_held_is_finished_as_ksampler_would(model, probe):
    watching = Watching(lambda it: setattr(it, "marks", it.marks.pin(worst(it))))
    result = search(model, probe, watching)
    (survivor,) = result.survivors
    assert survivor == worst(watching) and result.outcome.fates[survivor].mark == "pinned"
    expected = alone(model, survivor)
    assert float((result.latents - expected).norm() / expected.norm()) < 1e-5
    assert result.outcome.model_rows == 2 * (4 * 3 + 3)  # nobody else was finished


def test_the_next_best_is_finished_for_a_discarded_one(model, probe):
    watching = Watching(lambda it: setattr(it, "marks", it.marks.discard(max(it.scores, key=it.scores.get))))
    result = search(model, probe, watching)
    ranked = sorted(watching.scores, key=watching.scores.get, reverse=True)
    assert result.survivors == [ranked[1]] and not result.outcome.fates[ranked[0]].finished


def test_a_search_with_every_candidate_discarded_says_so_and_leaves_a_clean_model(model, probe):
    def discard_all(it):
        for row in range(4):
            it.marks = it.marks.discard(row)

    with pytest.raises(ValueError, match="every candidate that could be finished was discarded"):
        search(model, probe, Watching(discard_all))
    assert search(model, probe, Watching()).survivors


def test_that_one_was_discarded_does_not_hide_why_the_others_failed(model, probe):
    class Discarding(Watching):
        def looked(self, *told):
            super().looked(*told)
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
    monkeypatch.setattr(place, "server", lambda: running)
    monkeypatch.setattr(place, "get_executing_context", lambda: SimpleNamespace(prompt_id="p", node_id="7"))
    monkeypatch.setattr(place, "get_progress_state", lambda: shown)
    assert place.running_place() == ("p", "7", "7", "", "me")
