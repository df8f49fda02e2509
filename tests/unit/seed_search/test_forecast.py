"""Forecasts of the sequential policy, against closed forms and plain simulation."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from diffusion_probe.engine.core.skill import PREVIEW, Skill, fit_skill
from diffusion_probe.engine.seed_search.policies.forecast import Forecast, expected_finals, paths
from diffusion_probe.engine.seed_search.policies.policy import State
from diffusion_probe.engine.seed_search.policies.sequential import Sequential
from diffusion_probe.training.metrics.replay import replay
from scipy import integrate, stats

STEPS = 20
KNOWING = Skill((0.25, 0.5, 0.75), (0.4, 0.7, 0.9), (1.0, 1.0, 1.0))


def expected_best(means, spreads) -> float:
    """E[max] of independent normals, by quadrature: ∫ P(max > x) dx for x > 0, minus P(max ≤ x) for x < 0."""

    def at_most(x):
        return np.prod(stats.norm.cdf((x - np.asarray(means)) / np.asarray(spreads)))

    return integrate.quad(lambda x: 1 - at_most(x), 0, 12)[0] - integrate.quad(at_most, -12, 0)[0]


def forecast(means, known, moment, left, counts, ends=(5, 10, 15, 20), finish=1, final_reward=True, draws=40_000):
    certainty = KNOWING.certainty(ends[:-1], ends[-1])
    costs = np.full(len(means), 5)
    made = Forecast(ends, certainty, finish, final_reward, draws)
    return made.worth(np.array(means), np.array(known), costs, moment, left, counts)


def test_the_gain_of_finishing_several_is_the_expected_best_of_normals():
    """At the last moment everything that goes on is finished, so the closed form is exact."""
    means, known = [0.9, 0.6, 0.1], [0.81, 0.81, 0.81]
    found = forecast(means, known, moment=3, left=15, counts=[1, 2, 3])
    for count, value in zip([1, 2, 3], found):
        assert value == pytest.approx(expected_best(means[:count], np.full(count, np.sqrt(0.19))), abs=0.01)


def test_the_gain_of_a_look_is_the_expected_best_of_what_it_will_show():
    """Two go on to the next moment, and the budget then finishes exactly one."""
    means, certainty = [0.5, 0.3], KNOWING.certainty((5, 10, 15), 20)
    found = forecast(means, [certainty[1]] * 2, moment=1, left=20, counts=[2])[0]
    assert found == pytest.approx(expected_best(means, np.full(2, np.sqrt(certainty[2] - certainty[1]))), abs=0.01)


def test_what_the_budget_does_not_finish_is_worth_nothing():
    assert forecast([0.0, 0.0], [0.0, 0.0], moment=1, left=19, counts=[1, 2]).tolist()[1] == -np.inf


def test_without_a_final_reward_one_more_than_wanted_is_never_finished():
    assert forecast([0.9, 0.8], [0.8, 0.8], moment=3, left=20, counts=[1, 2], final_reward=False)[1] == -np.inf


def test_paths_are_always_the_same_and_in_pairs():
    drawn = paths(64, 5)
    assert np.array_equal(drawn, paths(64, 5))
    assert np.allclose(drawn.sum(axis=1), 0)


def state(scores, moments=(5, 10, 15)) -> State:
    reached = tuple(max((m for m, s in zip(moments, row) if s is not None), default=0) for row in scores)
    rows = tuple(range(len(scores)))
    return State(tuple(map(tuple, scores)), reached, sum(reached), rows, moments, STEPS)


def test_expected_finals_shrink_to_the_mean_as_far_as_the_score_is_noise():
    found = expected_finals(state([(2.0, None, None), (0.0, None, None), (1.0, None, None)]), KNOWING)
    assert found == pytest.approx([0.4, -0.4, 0.0])


def test_survivors_are_not_taken_for_average_candidates():
    """Two of three go on; both score 7 in a moment that scores on another level. Nothing was learnt of the
    prompt, and of the two the mean of what was expected of them before."""
    found = expected_finals(state([(2.0, 7.0, None), (0.0, None, None), (1.0, 7.0, None)]), KNOWING)
    assert found[0] == pytest.approx(found[2]) == pytest.approx(0.2)
    assert found[1] == pytest.approx(-0.4)


def test_expected_finals_do_not_depend_on_level_or_unknown_unit_of_the_scores():
    rows = [(2.0, 1.5, None), (0.0, None, None), (1.0, 0.9, None), (0.4, None, None)]
    shifted = [tuple(None if s is None else 5 + s for s in row) for row in rows]
    scaled = [tuple(None if s is None else 100 * s for s in row) for row in rows]
    assert expected_finals(state(shifted), KNOWING) == pytest.approx(expected_finals(state(rows), KNOWING))
    unknown = Skill(KNOWING.progress, KNOWING.correlation)
    assert expected_finals(state(scaled), unknown) == pytest.approx(expected_finals(state(rows), unknown))


def test_expected_finals_are_the_regression_on_simulated_candidates():
    """Paths of the model itself: what is expected at the second moment is what the final scores average to."""
    rng = np.random.default_rng(0)
    certainty = KNOWING.certainty((5, 10, 15), STEPS)
    legs = rng.standard_normal((4, 4000)) * np.sqrt(np.diff(certainty))[:, None]
    truth = legs.cumsum(axis=0)
    scores = truth[:3] / np.sqrt(certainty[1:4])[:, None]  # each of spread 1, as KNOWING says
    found = expected_finals(state([(a, b, None) for a, b in scores[:2].T]), KNOWING)
    assert np.polyfit(found, truth[3], 1)[0] == pytest.approx(1, abs=0.05)
    assert np.corrcoef(found, truth[3])[0, 1] == pytest.approx(0.7, abs=0.03)


def test_a_fitted_skill_finds_the_correlations_it_was_made_with():
    rng = np.random.default_rng(1)
    final = rng.standard_normal((60, 40)) + 5 * rng.standard_normal((60, 1))  # prompts differ a lot
    noise = rng.standard_normal((2, 60, 40))
    centred = final - final.mean(axis=1, keepdims=True)
    scores = np.stack([0.5 * centred + np.sqrt(0.75) * noise[0], centred + 0.5 * noise[1]])
    skill = fit_skill(scores, final, (5, 10), STEPS)
    assert skill.progress == (0.25, 0.5)
    assert skill.correlation == pytest.approx((0.5, 1 / np.sqrt(1.25)), abs=0.02)
    assert skill.spread == pytest.approx((1.0, np.sqrt(1.25)), abs=0.03)


def test_a_skill_survives_json_and_still_steers_a_policy():
    read = Skill(**json.loads(json.dumps(asdict(KNOWING))))
    assert read == KNOWING
    assert Sequential(60, skill=read).start(10, (5, 10, 15), STEPS) == Sequential(60, skill=KNOWING).start(
        10, (5, 10, 15), STEPS
    )


def test_certainty_never_falls_and_ends_at_one():
    found = PREVIEW.certainty((1, 5, 10, 19), STEPS)
    assert found[0] == 0 and found[-1] == 1
    assert (np.diff(found) > 0).all()
    assert found[3] == pytest.approx(0.77**2)


@pytest.mark.parametrize(
    "wrong", [((), ()), ((0.5, 0.2), (0.1, 0.2)), ((0.5,), (1.5,)), ((0.5,), (0.5,), (0.0,)), ((1.0,), (0.5,))]
)
def test_a_skill_that_can_not_be_is_refused(wrong):
    with pytest.raises(ValueError):
        Skill(*wrong)


def test_on_candidates_that_follow_its_model_it_beats_finishing_at_random_by_far():
    """60 prompts, budget of 4 images: well above best-of-4 (1.03 standard deviations)."""
    rng = np.random.default_rng(2)
    policy = Sequential(80, skill=PREVIEW, final_reward=True)
    certainty = PREVIEW.certainty(range(1, STEPS), STEPS)
    won = []
    for _ in range(60):
        truth = (rng.standard_normal((STEPS, 30)) * np.sqrt(np.diff(certainty))[:, None]).cumsum(axis=0)
        scores = truth / np.sqrt(np.maximum(certainty[1:], 1e-6))[:, None]
        found = replay(policy, scores, STEPS, 80)
        won.append(truth[-1, list(found.finished)].max())
    assert np.mean(won) > 1.03 + 2 * np.std(won) / np.sqrt(60)
