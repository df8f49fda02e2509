"""Mean of several rewards: scales by hand from the file of constants, and within the candidates."""

import json

import pytest
import torch
from diffusion_probe.engine.core.reward import Reward, rewards_of
from diffusion_probe.engine.rewards.mean_reward import MeanReward
from diffusion_probe.engine.rewards.spreads import FILE
from diffusion_probe.testbed.scorer import GroundTruth

MEASURED = json.loads(FILE.read_text(encoding="utf-8"))["rewards"]


class Channel(Reward):
    """Reward that is the mean of one channel of the image."""

    def __init__(self, label, channel, reads_prompt=True):
        self.label, self.channel, self.reads_prompt = label, channel, reads_prompt

    def score(self, images, prompts):
        return images[..., self.channel].mean((1, 2))


PICK, HPS, OWN = Channel("PickScore", 0), Channel("HPSv2.1", 1), Channel("likeness", 2, reads_prompt=False)


def images(*values):
    return torch.tensor(values)[:, None, None, :].expand(-1, 4, 4, -1)


def level(label, family, percent):
    levels = MEASURED[label][family]
    at = levels["percent"].index(percent)
    return levels["mean"][at], levels["spread"][at]


@pytest.mark.parametrize(("family", "percent"), [("FLUX", 0.2), ("SDXL", 0.2), ("SDXL", 1.0)])
def test_measured_rewards_count_in_their_spread_at_the_family_and_moment(family, percent):
    mean, values = MeanReward([PICK, HPS]).at(family, percent), [20.5, 0.25]
    scales = [level(label, family, percent) for label in ("PickScore", "HPSv2.1")]
    expected = sum((value - centre) / spread for value, (centre, spread) in zip(values, scales)) / 2
    assert rewards_of(mean, images([*values, 0.0]), "a cat").item() == pytest.approx(expected, rel=1e-4)


def test_finished_images_of_an_unknown_family_have_the_mean_of_both_scales():
    score = rewards_of(MeanReward([PICK, HPS]), images([20.0, 0.25, 0.0], [20.0, 0.35, 0.0]), "a cat")
    spread = sum(level("HPSv2.1", family, 1.0)[1] for family in ("FLUX", "SDXL")) / 2
    assert (score[1] - score[0]).item() == pytest.approx(0.1 / spread / 2, rel=1e-4)


def test_a_reward_that_was_not_measured_counts_in_the_spread_of_the_candidates():
    mean = MeanReward([OWN, Channel("beauty", 0)])
    scores = rewards_of(mean, images([1.0, 0.0, 10.0], [3.0, 0.0, 40.0], [2.0, 0.0, 10.0]), "a cat")
    own = torch.tensor([10.0, 40.0, 10.0]), torch.tensor([1.0, 3.0, 2.0])
    expected = sum((each - each.mean()) / each.std(correction=0) for each in own) / 2
    torch.testing.assert_close(scores, expected)
    assert "likeness (within the candidates)" in mean.label
    (remark,) = mean.remarks("a cat")
    assert "likeness, beauty: no spread was measured" in remark and "within the candidates" in remark


def test_candidates_of_each_prompt_are_standardised_on_their_own():
    mean = MeanReward([OWN, Channel("beauty", 0)])
    two = images([1.0, 0.0, 1.0], [5.0, 0.0, 5.0], [100.0, 0.0, 100.0], [104.0, 0.0, 104.0])
    torch.testing.assert_close(mean.score(two, ["a", "a", "b", "b"]), torch.tensor([-1.0, 1.0, -1.0, 1.0]))


def test_candidates_that_are_all_equal_get_the_same_score():
    assert rewards_of(MeanReward([OWN, PICK]), images(*[[20.0, 0.0, 2.0]] * 3), "a cat").unique().numel() == 1


def test_one_image_alone_is_refused_where_no_spread_was_measured():
    with pytest.raises(ValueError, match="spread of likeness was not measured .* two or more images"):
        rewards_of(MeanReward([PICK, OWN]), images([20.0, 0.0, 1.0]), "a cat")
    assert rewards_of(MeanReward([PICK, HPS]), images([20.0, 0.2, 1.0]), "a cat").isfinite().all()


def test_in_a_search_the_first_candidates_set_the_scale_for_all_later_calls():
    search = MeanReward([OWN, Channel("beauty", 0)]).for_one_search()
    first = rewards_of(search, images([0.0, 0.0, 0.0], [2.0, 0.0, 2.0]), "a cat")
    later = rewards_of(search.at("FLUX", 0.5), images([2.0, 0.0, 2.0]), "a cat")
    assert first.tolist() == [-1.0, 1.0] and later.tolist() == [1.0]
    other = MeanReward(search.rewards).for_one_search()
    with pytest.raises(ValueError, match="two or more"):
        rewards_of(other, images([2.0, 0.0, 2.0]), "a cat")


def test_a_mean_of_means_counts_each_reward_once():
    nested, flat = MeanReward([MeanReward([PICK, HPS]), OWN]), MeanReward([PICK, HPS, OWN])
    two = images([20.0, 0.2, 1.0], [21.0, 0.3, 0.0])
    assert nested.label == flat.label and torch.equal(rewards_of(nested, two, "x"), rewards_of(flat, two, "x"))


@pytest.mark.parametrize(("rewards", "says"), [([PICK], "one reward is no mean"), ([PICK, HPS, PICK], "PickScore is")])
def test_fewer_than_two_different_rewards_are_refused(rewards, says):
    with pytest.raises(ValueError, match=says):
        MeanReward(rewards)


def test_a_reward_that_gives_nan_is_named():
    broken = Channel("HPSv2.1", 1)
    broken.score = lambda images, prompts: torch.full((len(images),), float("nan"))
    with pytest.raises(ValueError, match=r"the reward HPSv2.1 gave NaN"):
        rewards_of(MeanReward([PICK, broken]), images([1.0, 2.0, 3.0]), "a cat")


def test_a_prompt_has_to_suit_each_of_the_rewards():
    mean = MeanReward([OWN, GroundTruth()])
    assert mean.reads_prompt and not MeanReward([OWN, Channel("beauty", 0, reads_prompt=False)]).reads_prompt
    mean.require_readable("a red circle")
    for prompt, says in (("", "the prompt is empty"), ("a cat", "names no testbed object")):
        with pytest.raises(ValueError, match=says):
            mean.require_readable(prompt)
