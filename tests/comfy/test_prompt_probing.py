"""Seeds of a prompt that are sampled to a step and scored there."""

import comfy.sample
import pytest
import torch
from diffusion_probe.dev.random_models import random_conditioning
from diffusion_probe.engine.seed_search.prompt_probing import probed, ready_probe
from diffusion_probe.engine.seed_search.prompt_trials import Trial, Trials
from diffusion_probe.nodes.prompt_loop import PromptLoop, PromptToRewrite
from diffusion_probe.probe_models.preview import PreviewReward
from diffusion_probe.testbed.load import load_testbed
from diffusion_probe.testbed.scorer import GroundTruth

STEPS, CUT, SEEDS = 6, 3, (5, 9)
EMPTY = {"samples": torch.zeros(1, 16, 8, 12)}
SETTINGS = (STEPS, 2.0, "euler", "simple")


def decode(latents):
    return latents[:, :3].movedim(1, -1)


@pytest.fixture
def brightness(reward_of):
    return PreviewReward(decode, reward_of(lambda images, prompts: images.mean((1, 2, 3))), "a lamp")


def test_each_seed_has_the_score_of_the_x0_prediction_of_its_own_run(flux, brightness):
    positive, negative = random_conditioning(1), random_conditioning(2)
    scores, pictures = probed(flux, brightness, positive, negative, EMPTY, SEEDS, SETTINGS, CUT)
    for row, seed in enumerate(SEEDS):
        seen = {}
        comfy.sample.sample(
            flux, comfy.sample.prepare_noise(EMPTY["samples"], seed), *SETTINGS, positive, negative, EMPTY["samples"],
            callback=lambda step, x0, x, total, seen=seen: seen.update({step: x0.clone()}), disable_pbar=True,
        )  # fmt: skip
        x0 = flux.model.process_latent_out(seen[CUT - 1])
        assert scores[row] == pytest.approx(decode(x0).clamp(0, 1).mean().item(), abs=1e-4)
    assert len(pictures) == 2


def test_a_latent_of_several_rows_is_refused(flux, brightness):
    rows = {"samples": torch.zeros(2, 16, 8, 12)}
    with pytest.raises(ValueError, match="the latent has 2 rows"):
        probed(flux, brightness, random_conditioning(1), random_conditioning(2), rows, SEEDS, SETTINGS, CUT)


def test_all_wordings_are_scored_by_the_first_prompt(flux, reward_of):
    prompts = []

    def remember(images, given):
        prompts.extend(given)
        return images.mean((1, 2, 3))

    probe = ready_probe(flux, PreviewReward(decode, reward_of(remember), ""), "a lamp", EMPTY)
    prompts.clear()
    probed(flux, probe, random_conditioning(1), random_conditioning(2), EMPTY, SEEDS, SETTINGS, CUT)
    assert prompts == ["a lamp"] * 2


def test_a_request_is_filled_with_what_was_tried(brightness):
    trials = Trials(brightness, (Trial("a lamp", (0.25, 0.5)),))
    assert PromptToRewrite.execute("{prompt}/{round}", trials).args == ("a lamp/1", "a lamp", "0.375: a lamp", 1)
    with pytest.raises(ValueError, match="Prompt to Rewrite: It works inside of a loop only"):
        PromptToRewrite.execute("{prompt}")


def test_a_loop_without_a_prompt_is_refused():
    model, clip, vae = load_testbed("flux")
    probe = PreviewReward(vae.decode, GroundTruth(), "x")
    with pytest.raises(ValueError, match='Prompt Loop: "prompt" is empty. Write the prompt to begin with.'):
        PromptLoop.execute(
            model=model, clip=clip, probe=probe, negative=[], latent_image=EMPTY, prompt=" ", rounds=1, threshold=0.5,
            rows="mean of all seeds", seed=0, candidates=1, steps=4, cfg=1.0, sampler_name="euler", scheduler="simple",
            cut=0.5,
        )  # fmt: skip
