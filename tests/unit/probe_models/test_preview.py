"""Preview reward with a decoder and a judge that do arithmetic."""

from dataclasses import replace

import pytest
import torch
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.core.probe import Probe
from diffusion_probe.engine.core.reward import Reward
from diffusion_probe.probe_models.preview import CHUNK, PreviewReward, decoded_previews
from diffusion_probe.testbed.scorer import GroundTruth


def row(value: float, size: int = 4) -> Features:
    return Features("flux", "20%", 5, 0.8, 0.2, denoised=torch.full((16, size, size), value))


def decode(latents: torch.Tensor) -> torch.Tensor:
    return latents[:, :3].movedim(1, -1)


class Brightness(Reward):
    label = "brightness"

    def __init__(self):
        self.seen: list[list[str]] = []

    def score(self, images, prompts):
        self.seen.append(prompts)
        return images.mean(dim=(1, 2, 3))


def test_each_row_is_judged_by_its_own_preview_and_the_prompt():
    judge = Brightness()
    scores = PreviewReward(decode, judge, "a red circle").score([row(0.25), row(0.75)])
    assert scores.tolist() == [0.25, 0.75] and scores.dtype == torch.float32
    assert judge.seen == [["a red circle", "a red circle"]]


def test_it_is_a_probe_and_takes_the_unit_of_its_judge():
    probe = PreviewReward(decode, Brightness(), "x")
    assert isinstance(probe, Probe) and probe.label == "brightness" and probe.needs == {"denoised"}


def test_a_vae_of_frames_scores_a_latent_of_one_frame_and_refuses_several():
    def frames(latents):
        return latents[:, :3].movedim(1, -1)

    def still(value, count=1):
        return Features("qwen", "20%", 5, 0.8, 0.2, denoised=torch.full((16, count, 4, 4), value))

    probe = PreviewReward(frames, Brightness(), "x")
    assert probe.score([still(0.25), still(0.75)]).tolist() == [0.25, 0.75]
    with pytest.raises(ValueError, match="videos can't be scored"):
        probe.score([still(0.25, count=2)])


def test_images_are_clamped_and_decoded_once():
    calls = []

    def counting(latents):
        calls.append(len(latents))
        return decode(latents)

    probe, rows = PreviewReward(counting, Brightness(), "x"), [row(-1.0), row(2.0)]
    scores, images = probe.score_and_decode(rows)
    assert images.min() == 0 and images.max() == 1
    assert scores.tolist() == [0, 1] == probe.score_images(images, rows).tolist() and calls == [2]


def test_many_rows_are_decoded_in_pieces_but_judged_in_order():
    sizes = []

    def counting(latents):
        sizes.append(len(latents))
        return decode(latents)

    values = torch.linspace(0, 1, 2 * CHUNK + 1)
    scores = PreviewReward(counting, Brightness(), "x").score([row(float(value)) for value in values])
    assert torch.allclose(scores, values) and sizes == [CHUNK, CHUNK, 1]


def test_the_captured_prediction_is_left_as_it_was():
    features = row(2.0)
    PreviewReward(decode, Brightness(), "x").score([features])
    assert (features.denoised == 2).all()


def test_rows_without_a_prediction_are_named():
    with pytest.raises(ValueError, match=r"rows \[1\].*Attach the same probe"):
        PreviewReward(decode, Brightness(), "x").score([row(0), Features("flux", "20%", 5, 0.8, 0.2)])


def test_rows_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="different sizes"):
        PreviewReward(decode, Brightness(), "x").score([row(0), row(0, size=8)])


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        PreviewReward(decode, Brightness(), "x").score([])


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (lambda images, prompts: torch.zeros(1), "one number per image"),
        (lambda images, prompts: torch.tensor([0.0, float("nan")]), r"rows \[1\]"),
    ],
)
def test_a_reward_that_misbehaves_is_an_error_that_says_how(judge, message, reward_of):
    with pytest.raises(ValueError, match=message):
        PreviewReward(decode, reward_of(judge), "x").score([row(0), row(1)])


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        (lambda latents: latents, "VAE of the sampled model"),
        (lambda latents: decode(latents) * float("nan"), "hold NaN"),
    ],
)
def test_a_decoder_that_misbehaves_is_an_error_that_says_how(decoder, message):
    with pytest.raises(ValueError, match=message):
        PreviewReward(decoder, Brightness(), "x").score([row(0), row(1)])


# The prompt of the run, and what is known before it ------------------------------------------------


def of_prompt(text):
    return replace(row(0.5), prompt=text)


def test_without_a_prompt_of_its_own_each_row_is_judged_by_that_of_its_run():
    judge = Brightness()
    PreviewReward(decode, judge).score([of_prompt("a cat"), of_prompt("a dog")])
    PreviewReward(decode, judge, "a fox").score([of_prompt("a cat"), row(0.5)])
    assert judge.seen == [["a cat", "a dog"], ["a fox", "a fox"]]


@pytest.mark.parametrize("call", [
    lambda probe: probe.score([of_prompt("a cat"), row(0.5)]),
    lambda probe: probe.require_ready((16, 8, 8), " "),
])  # fmt: skip
def test_an_unknown_prompt_is_an_error_that_names_the_input(call):
    with pytest.raises(ValueError, match='Write or connect "prompt" of Preview Reward'):
        call(PreviewReward(decode, Brightness()))


def test_a_reward_that_reads_no_prompt_needs_none():
    judge = Brightness()
    judge.reads_prompt = False
    PreviewReward(decode, judge).require_ready((16, 8, 8), "")
    assert PreviewReward(decode, judge).score([row(0.25)]).tolist() == [0.25]


def test_a_prompt_that_the_reward_can_not_read_is_refused_before_decoding():
    probe = PreviewReward(lambda latents: pytest.fail("decoded"), GroundTruth())
    with pytest.raises(ValueError, match='Preview Reward: The prompt "a cat" names no testbed object'):
        probe.require_ready((16, 8, 8), "a cat")


def test_a_vae_of_other_channels_is_refused_by_both_numbers():
    probe = PreviewReward(lambda latents: pytest.fail("decoded"), Brightness(), "x", channels=4)
    with pytest.raises(ValueError, match='"vae" decodes latents of 4 channels, and those of this MODEL have 16'):
        probe.require_ready((16, 8, 8), "")
    PreviewReward(decode, Brightness(), "x", channels=16).require_ready((16, 8, 8), "")


@pytest.mark.parametrize(
    "decoder",
    [
        torch.nn.Conv2d(4, 3, 1).requires_grad_(False),
        lambda latents: latents,
        lambda latents: decode(latents) * float("nan"),
    ],
)
def test_a_vae_that_can_not_decode_a_small_latent_is_refused(decoder):
    with pytest.raises(ValueError, match=r"\"vae\" can't decode latents \[16, 8, 8\] of this MODEL.*Connect the VAE"):
        PreviewReward(decoder, Brightness(), "x").require_ready((16, 8, 8), "")


def test_a_pair_of_vae_and_reward_is_tried_once_and_again_with_another_reward():
    class Vae:
        decoded = 0

        def decode(self, latents):
            self.decoded += 1
            return decode(latents)

    vae, judge = Vae(), Brightness()
    for _ in range(3):
        PreviewReward(vae.decode, judge, "x").require_ready((16, 8, 8), "")
    assert vae.decoded == 1 and judge.seen == [["x", "x"]]
    PreviewReward(vae.decode, Brightness(), "x").require_ready((16, 8, 8), "")
    assert vae.decoded == 2


def test_memory_that_ran_out_in_the_trial_says_nothing_about_the_vae():
    def full(latents):
        raise torch.OutOfMemoryError("out of memory")

    PreviewReward(full, Brightness(), "x").require_ready((16, 8, 8), "")


def test_the_reward_is_on_the_scale_of_the_rows_family_and_moment(reward_of):
    reward = reward_of(lambda images, prompts: images.mean((1, 2, 3)))
    reward.at = lambda family, percent: reward_of(lambda images, prompts: [percent] * len(images), family)
    assert PreviewReward(decode, reward, "x").score([row(0.5)]).tolist() == pytest.approx([0.2])


def test_a_search_gives_its_prompt_to_a_probe_that_has_none():
    given = PreviewReward(decode, Brightness(), "", channels=16).for_one_search("a cat")
    assert given.prompt == "a cat" and given.channels == 16
    assert PreviewReward(decode, Brightness(), "a fox").for_one_search("a cat").prompt == "a fox"


def test_remarks_are_those_of_the_reward_on_each_prompt_once():
    judge = Brightness()
    judge.remarks = lambda prompt: (f"{prompt} is long",)
    rows = [of_prompt("a cat"), of_prompt("a dog"), of_prompt("a cat")]
    assert PreviewReward(decode, judge).remarks(rows) == ("a cat is long", "a dog is long")
    assert PreviewReward(decode, judge, "a fox").remarks() == ("a fox is long",)


def test_previews_are_decoded_without_a_reward():
    assert decoded_previews(decode, [row(0.25), row(3.0)]).amax((1, 2, 3)).tolist() == [0.25, 1.0]
