"""Searches without a probe: the user chooses, and nothing is finished that was not chosen."""

import pytest
import torch
from diffusion_probe.dev.random_models import random_conditioning, random_flux
from diffusion_probe.engine.core.marks import GO, GONE, NO_MARKS, NOBODY, TIME
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.outcome import outcome_report, outcome_text
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.policies.chosen import Chosen
from diffusion_probe.engine.seed_search.result import candidate_pictures
from diffusion_probe.engine.seed_search.search import SearchOptions, seed_search
from diffusion_probe.engine.seed_search.watcher import Unwatched

import nodes as comfy_nodes
from support.compare import relative_error

STEPS = 6
LATENT = {"samples": torch.zeros(1, 16, 8, 8)}


@pytest.fixture(scope="module")
def model():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


class User(Unwatched):
    """A watcher that pins at the last cut, which then ends as it says."""

    def __init__(self, pins=(), end=GO, discards=()):
        self.marks, self.pins, self.discards, self.end = NO_MARKS, pins, discards, end
        self.seen, self.goals, self.held = [], [], 0

    def on_scores(self, state, numbers):
        self.seen += numbers

    def on_goals(self, state, goals):
        self.goals.append(dict(goals))

    def on_last_cut(self, state, goals):
        self.held += 1
        self.at_hold = dict(goals())
        for row in self.pins:
            self.marks = self.marks.pin(row)
        for row in self.discards:
            self.marks = self.marks.discard(row)
        return self.end


def candidate(seed, steps=STEPS, positive=None):
    positive = random_conditioning(1) if positive is None else positive
    return ksampler_candidate(seed, steps, 2.0, "euler", "simple", positive, random_conditioning(2), LATENT)


@torch.inference_mode()
def choose(model, user, count=4, survivors=1, probe=None, share=0.5, found=None):
    found = found or [candidate(seed) for seed in range(count)]
    return seed_search(model, found, probe, lambda steps: Chosen(share), survivors, SearchOptions(watcher=user))


@torch.inference_mode()
def alone(model, seed):
    settings = (STEPS, 2.0, "euler", "simple", random_conditioning(1), random_conditioning(2), LATENT)
    return comfy_nodes.KSampler().sample(model, seed, *settings)[0]["samples"]


def test_exactly_the_pinned_are_finished_and_all_were_shown_before(model):
    user = User([3, 1])
    result = choose(model, user, survivors=3)
    assert result.survivors == [1, 3] and [each.finished for each in result.outcome.candidates] == [0, 1, 0, 1]
    assert user.seen == [0, 1, 2, 3] and user.at_hold == {} and user.held == 1
    assert user.goals == [dict.fromkeys(range(4), 3), {1: STEPS, 3: STEPS}]
    assert result.outcome.model_rows == 2 * (4 * 3 + 2 * 3)
    for latent, seed in zip(result.latents, result.survivors, strict=True):
        assert relative_error(latent[None], alone(model, seed)) < 1e-5


def test_nothing_has_a_score_and_every_survivor_a_name(model):
    result = choose(model, User([2]))
    kept = result.outcome.kept_scores()
    assert len(result.outcome.scores()) == 0 and [str(seed) for seed in kept.seeds] == ["2"]
    assert all(value != value for value in kept.values)
    text, report = outcome_text(result.outcome), outcome_report(result.outcome)
    assert "Scores:" not in text and "seed 0: not chosen after step 3" in text and "nan" not in text
    assert (report["probe"], report["skilled"]) == ("", False) and report["rows"][0]["seed"] == "2"


def test_pictures_are_latent_previews_of_all_candidates(model):
    result = choose(model, User([2]))
    pictures = candidate_pictures(model, result)
    assert len(pictures) == 4 and not torch.equal(pictures[0], pictures[1])


@pytest.mark.parametrize(
    ("end", "says"),
    [(GO, "Nothing was picked"), (TIME, "The time was up and nothing was picked"), (GONE, "The browser was gone")],
)
@pytest.mark.parametrize("discards", [(), range(4)])
def test_nothing_is_finished_that_nobody_pinned(model, end, says, discards):
    user = User(end=end, discards=discards)
    result = choose(model, user, survivors=2)
    assert result.latents is None and result.survivors == [] and len(user.goals) == 1
    assert result.outcome.model_rows == 2 * 4 * 3
    text = outcome_text(result.outcome)
    assert says in text and "Finished 0 of 4 candidates" in text and "nan" not in text


def test_where_nobody_can_choose_the_first_in_order_are_finished(model):
    result = choose(model, User(end=NOBODY), survivors=2)
    assert result.survivors == [0, 1] and "Nobody could choose" in outcome_text(result.outcome)


def test_where_nobody_can_choose_the_next_is_finished_for_one_that_fails(model):
    ((context, more),) = random_conditioning(1)
    found = [candidate(0, positive=[[context * torch.nan, more]]), *(candidate(seed) for seed in (1, 2, 3))]
    result = choose(model, User(end=NOBODY), survivors=2, found=found)
    assert result.survivors == [1, 2]


def test_if_every_candidate_fails_the_error_says_why_and_nobody_is_held(model):
    ((context, more),) = random_conditioning(1)
    user = User()
    with pytest.raises(ValueError, match="no candidate was finished, 2 of 2 failed: seed 0: .*NaN"):
        choose(model, user, found=[candidate(seed, positive=[[context * torch.nan, more]]) for seed in (0, 1)])
    assert user.held == 0


def test_a_run_of_one_step_has_nothing_to_choose_by(model):
    with pytest.raises(ValueError, match="with 1 step there is no moment.*Set steps to 2 or more"):
        choose(model, User(), found=[candidate(0, steps=1)])


@pytest.mark.parametrize(("pins", "finished"), [((), []), ((1,), [1])])
def test_with_a_probe_too_nothing_is_chosen_when_the_browser_is_gone(model, probe, pins, finished):
    found = [candidate(seed) for seed in range(4)]
    with torch.inference_mode():
        policy = lambda steps: policy_named(ONE_CUT, steps, 4, 2, share=0.5)  # noqa: E731
        user = User(pins, GONE)
        result = seed_search(model, found, probe, policy, 2, SearchOptions(watcher=user))
    assert result.survivors == finished and (result.latents is None) == (not finished)
    assert all(each.scores for each in result.outcome.candidates)
