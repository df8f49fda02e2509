"""The protocol's statistics against closed forms and brute force."""

from itertools import combinations, product

import numpy as np
import pytest
from diffusion_probe.training.metrics import protocol
from scipy import stats


def draws(prompts: int = 40, seeds: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(prompts, seeds))


def test_the_oracle_has_rank_correlation_and_share_one():
    truth = draws()
    within, left_out = protocol.within_spearman(truth, truth)
    share = protocol.oracle_share(truth, truth)
    assert (within.value, within.low, within.high) == pytest.approx((1, 1, 1))
    assert (share.value, share.low, share.high) == pytest.approx((1, 1, 1))
    assert left_out == 0


def test_a_constant_score_is_worth_nothing():
    truth = draws(prompts=400)
    constant = np.zeros_like(truth)
    within, _ = protocol.within_spearman(constant, truth)
    share = protocol.oracle_share(constant, truth)
    assert within.low < 0 < within.high and abs(within.value) < 0.05
    assert share.low < 0 < share.high


def test_knowing_only_the_prompt_shows_in_the_pooled_numbers_and_not_within():
    rng = np.random.default_rng(3)
    hardness = rng.normal(size=(300, 1))
    truth = hardness + 0.5 * rng.normal(size=(300, 16))
    score = np.repeat(hardness, 16, axis=1)
    assert protocol.pooled(score, truth)["srcc"] > 0.8
    assert abs(protocol.within_spearman(score, truth)[0].value) < 0.05


def test_spearman_agrees_with_scipy_where_the_truth_has_ties():
    scores, truth = draws(seed=1), np.round(draws(seed=2))
    expected = [stats.spearmanr(left, right).statistic for left, right in zip(scores, truth, strict=True)]
    assert protocol.spearman_per_prompt(scores, truth) == pytest.approx(expected)


def test_prompts_with_equal_truth_are_left_out_and_counted_but_stay_in_the_share():
    scores, truth = draws(seed=1), draws(seed=2)
    truth[:3] = 0.5
    _, left_out = protocol.within_spearman(scores, truth)
    assert left_out == 3
    gains = protocol.selection_gains(scores, truth)
    assert len(gains) == 40 and gains[:3] == pytest.approx(np.zeros((3, 2)))


def test_equal_scores_are_ordered_at_random_but_always_the_same_way():
    ranks = protocol.break_ties(np.zeros((2, 50)), seed=5)
    assert sorted(ranks[0]) == list(range(50)) and not (ranks[0] == ranks[1]).all()
    assert (ranks == protocol.break_ties(np.zeros((2, 50)), seed=5)).all()
    assert protocol.break_ties([[0.3, 0.1, 0.2]]).tolist() == [[2, 0, 1]]


def test_the_share_is_the_mean_over_every_subset():
    scores, truth = draws(prompts=5, seeds=6, seed=1), draws(prompts=5, seeds=6, seed=2)
    gained, possible = [], []
    for row, subset in product(range(5), combinations(range(6), 3)):
        part = truth[row, list(subset)]
        gained.append(part[np.argmax(scores[row, list(subset)])] - part.mean())
        possible.append(part.max() - part.mean())
    assert protocol.oracle_share(scores, truth, subset=3).value == pytest.approx(np.mean(gained) / np.mean(possible))


def test_subset_weights_are_probabilities_of_being_the_best():
    assert protocol.subset_weights(16, 8).sum() == pytest.approx(1)
    assert protocol.subset_weights(16, 16).tolist() == [1] + [0] * 15
    assert protocol.subset_weights(4, 1) == pytest.approx([0.25] * 4)
    with pytest.raises(ValueError, match="17"):
        protocol.subset_weights(16, 17)


def test_best_of_one_gains_nothing_and_best_of_eight_everything():
    truth = draws()
    assert protocol.best_of_n_share(truth, 1).value == pytest.approx(0)
    assert protocol.best_of_n_share(truth, 8).value == pytest.approx(1)
    two, three = (protocol.best_of_n_share(truth, n).value for n in (2, 3))
    assert protocol.best_of_n_share(truth, 2.5).value == pytest.approx((two + three) / 2)


def test_pooled_statistics_agree_with_scipy_and_counting():
    scores, truth = draws(seed=1), draws(seed=2) + draws(seed=1)
    found = protocol.pooled(scores, truth)
    assert found["srcc"] == pytest.approx(stats.spearmanr(scores.ravel(), truth.ravel()).statistic)
    assert found["ktc"] == pytest.approx(stats.kendalltau(scores.ravel(), truth.ravel()).statistic)
    assert found["pcc"] == pytest.approx(np.corrcoef(scores.ravel(), truth.ravel())[0, 1])
    above = truth.ravel() > np.median(truth)
    wins = scores.ravel()[above][:, None] > scores.ravel()[~above][None, :]
    assert found["auc"] == pytest.approx(wins.mean())


def test_auc_counts_a_tie_as_half_and_needs_both_classes():
    assert protocol.auc([1, 1], [True, False]) == 0.5
    assert np.isnan(protocol.auc([1, 2], [True, True]))


def test_pooled_statistics_of_a_constant_truth_are_undefined():
    assert all(np.isnan(value) for value in protocol.pooled(draws(), np.ones((40, 16))).values())


def test_the_interval_has_the_width_of_the_standard_error():
    scores, truth = draws(prompts=500, seed=1), draws(prompts=500, seed=2)
    within, _ = protocol.within_spearman(scores, truth)
    error = protocol.spearman_per_prompt(scores, truth).std() / np.sqrt(500)
    assert within.high - within.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_pairing_sees_a_difference_that_separate_intervals_hide():
    truth = draws(prompts=100, seed=1)
    noise = 2 * draws(prompts=100, seed=2)
    better, worse = truth + noise, 0.8 * truth + noise
    difference = protocol.compare(better, worse, truth)["within_spearman"]
    first, second = (protocol.within_spearman(score, truth)[0] for score in (better, worse))
    assert difference.low > 0 and first.low < second.high
    same = protocol.compare(worse, worse, truth)["oracle_share"]
    assert (same.value, same.low, same.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("scores", "truth"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4))),
        (np.zeros(4), np.zeros(4)),
        (np.zeros((2, 1)), np.zeros((2, 1))),
        (np.full((2, 4), np.nan), np.zeros((2, 4))),
    ],
)
def test_arrays_that_cannot_be_judged_are_refused(scores, truth):
    with pytest.raises(ValueError):
        protocol.oracle_share(scores, truth)
