"""Preview reward with a decoder and a judge that do arithmetic."""

import pytest
import torch
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.core.probe import Probe
from diffusion_probe.engine.core.reward import Reward
from diffusion_probe.probe_models.preview import CHUNK, PreviewReward


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


def test_images_are_clamped_and_can_be_scored_without_decoding_again():
    calls = []

    def counting(latents):
        calls.append(len(latents))
        return decode(latents)

    probe = PreviewReward(counting, Brightness(), "x")
    images = probe.images([row(-1.0), row(2.0)])
    assert images.min() == 0 and images.max() == 1
    assert probe.score_images(images).tolist() == [0, 1] and calls == [2]


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
