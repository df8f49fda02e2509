"""Searches that can't work are refused by the names of the node's inputs, and the model is never called."""

import pytest
import torch
from diffusion_probe.dev.random_models import random_conditioning
from diffusion_probe.engine.capture.prompt.sampled_text import KEY
from diffusion_probe.engine.rewards.mean_reward import MeanReward
from diffusion_probe.engine.seed_search.ready import ready_to_score, require_numbers
from diffusion_probe.nodes.search import SeedSearch
from diffusion_probe.probe_models.preview import PreviewReward

EMPTY = {"samples": torch.zeros(1, 16, 8, 12)}


def decode(latents):
    return latents[:, :3].movedim(1, -1)


def positive(text=None):
    (context, entry), *_ = random_conditioning(1)
    return [[context, entry if text is None else {**entry, KEY: text}]]


@pytest.fixture
def brightness(reward_of):
    return lambda prompt="": PreviewReward(decode, reward_of(lambda images, prompts: images.mean((1, 2, 3))), prompt)


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ((20, 3, 4, 0.0, True), '"survivors" is 4, and there are 3 candidates to choose from. Lower "survivors"'),
        ((20, 8, 1, 0.4, True), '"budget" is 0.4 images, and the survivors alone cost 1. Set "budget" to 1 or more'),
        ((20, 8, 3, 2.5, True), '"budget" is 2.5 images, and the survivors alone cost 3'),
        ((1, 8, 1, 0.0, False), '"steps" is 1, so no candidate can be scored before it is finished'),
    ],
)
def test_numbers_that_leave_nothing_to_search_are_refused_in_their_units(numbers, says):
    with pytest.raises(ValueError, match=says):
        require_numbers(*numbers)


@pytest.mark.parametrize("numbers", [(20, 3, 3, 0.0, False), (20, 8, 1, 0.99, False), (1, 8, 1, 8.0, True)])
def test_numbers_that_a_policy_can_work_with_pass(numbers):
    require_numbers(*numbers)  # 0.99 of 20 steps are rounded to 20, as the policy's budget is


def search(flux, probe, prompt, judge=None, latent=EMPTY):
    return ready_to_score(flux, probe, judge, prompt, latent)


def test_probe_and_judge_get_the_text_of_the_prompt_and_stay_one_if_they_are(flux, brightness):
    probe = brightness()
    found, judge = search(flux, probe, positive("a lamp"), probe)
    assert found.prompt == "a lamp" and judge is found and probe.prompt == ""
    found, judge = search(flux, probe, positive("a lamp"), brightness("a fox"))
    assert (found.prompt, judge.prompt) == ("a lamp", "a fox")
    assert search(flux, brightness("a fox"), positive())[1] is None and search(flux, None, positive()) == (None, None)


def test_an_unknown_prompt_and_a_wrong_vae_are_refused(flux, brightness):
    with pytest.raises(ValueError, match='Write or connect "prompt" of Preview Reward'):
        search(flux, brightness(), positive())
    other = brightness("a lamp")
    other.channels = 4
    with pytest.raises(ValueError, match="decodes latents of 4 channels, and those of this MODEL have 16"):
        search(flux, brightness("a lamp"), positive(), other)


def test_an_empty_latent_of_other_channels_counts_as_what_the_model_takes(flux, brightness):
    """ComfyUI's Empty Latent Image has 4 channels, and its samplers give it those of the model."""
    probe = brightness("a lamp")
    probe.channels = 16
    assert search(flux, probe, positive(), latent={"samples": torch.zeros(1, 4, 8, 12)})[0].prompt == "a lamp"


def node(flux, probe, prompt, candidates=3, survivors=1, steps=4, judge=None):
    return SeedSearch.execute(
        flux, prompt, random_conditioning(2), EMPTY, 5, candidates, survivors, 0.0, "one cut", steps, 1.0,
        "euler", "simple", 1.0, probe, "", judge,
    )  # fmt: skip


def test_the_node_refuses_before_the_model_is_called(flux, brightness, row_counts):
    for call in (
        lambda: node(flux, brightness("a lamp"), positive(), survivors=4),
        lambda: node(flux, brightness("a lamp"), positive(), steps=1),
        lambda: node(flux, brightness(), positive()),
    ):
        with pytest.raises(ValueError, match="Seed Search: "):
            call()
    assert row_counts == []
    assert node(flux, brightness(), positive("a lamp"))[1] and row_counts


def test_a_mean_that_compares_candidates_needs_two_before_anything_is_sampled(flux, reward_of, row_counts):
    def reward(label):
        made = reward_of(lambda images, prompts: images.mean((1, 2, 3)))
        made.label = label
        return made

    probe = PreviewReward(decode, MeanReward([reward("mine"), reward("yours")]), "a lamp")
    says = '"candidates" is 1, and mean of mine .* compares 2 or more images of a prompt .* Raise "candidates"'
    with pytest.raises(ValueError, match=says):
        node(flux, probe, positive(), candidates=1)
    assert row_counts == []
    assert node(flux, probe, positive(), candidates=2)[1]


def test_a_judge_of_other_families_is_refused_before_anything_is_sampled(flux, brightness, row_counts):
    judge = brightness("a lamp")
    judge.families = frozenset({"SDXL"})
    with pytest.raises(ValueError, match="knows the noise levels of SDXL alone, and this MODEL is FLUX"):
        node(flux, brightness("a lamp"), positive(), judge=judge)
    assert row_counts == []


def test_a_search_reports_what_the_reward_remarks_on_the_prompt(flux, brightness):
    probe = brightness()
    probe.reward.remarks = lambda prompt: (f"Only the start of {prompt} is read.",)
    assert "Only the start of a lamp is read." in node(flux, probe, positive("a lamp"))[3]
