"""The policy that weighs several skills: by scores drawn from one of them, whatever their unit."""

import numpy as np
import pytest
from diffusion_probe.engine.seed_search.policies.policy import State
from diffusion_probe.training.metrics.replay import replay

from benchmarks.lib.unsure_policy import PRIOR, SKILLS, Unsure, blended, likely

STEPS = 20
MOMENTS = tuple(range(2, 15))


def drawn(skill, candidates, seed):
    """Scores ``[moment, candidate]`` of a path that is known as well as a skill says, with its spreads."""
    rng = np.random.default_rng(seed)
    correlations = np.sqrt(skill.certainty(MOMENTS, STEPS)[1:-1])
    scores = [rng.standard_normal(candidates)]
    for before, now in zip(correlations, correlations[1:]):
        likeness = before / now
        scores.append(likeness * scores[-1] + np.sqrt(1 - likeness**2) * rng.standard_normal(candidates))
    return np.array(scores) * skill.spreads(MOMENTS, STEPS)[:, None]


def state_of(scores):
    rows = tuple(map(tuple, scores.T.tolist()))
    reached, alive = (MOMENTS[-1],) * len(rows), tuple(range(len(rows)))
    return State(rows, reached, MOMENTS[-1] * len(rows), alive, MOMENTS, STEPS)


@pytest.mark.parametrize("number", range(len(SKILLS)))
def test_scores_of_a_skill_raise_its_weight(number):
    states = [state_of(drawn(SKILLS[number], 12, seed)) for seed in range(30)]
    gained = np.mean([likely(SKILLS, PRIOR, state) for state in states], axis=0) / PRIOR
    assert gained.argmax() == number and gained[number] > 1.3


def test_neither_the_unit_of_scores_nor_the_prompts_level_counts():
    scores = drawn(SKILLS[1], 8, 0)
    assert likely(SKILLS, PRIOR, state_of(scores)) == likely(SKILLS, PRIOR, state_of(50 * scores - 7))


def test_before_two_candidates_have_a_score_nothing_is_learnt():
    assert likely(SKILLS, PRIOR, state_of(drawn(SKILLS[1], 1, 0))) == PRIOR


def test_the_blend_lies_between_its_skills_and_is_one_where_that_has_all_weight():
    middle = blended(SKILLS[:2], (0.5, 0.5))
    assert all(a <= b <= c for a, b, c in zip(SKILLS[0].correlation, middle.correlation, SKILLS[1].correlation))
    assert blended(SKILLS, (0, 1, 0)).correlation == pytest.approx(SKILLS[1].correlation)


@pytest.mark.parametrize("budget", [40, 60, 120])
def test_the_unsure_policy_keeps_its_budget_and_finishes_an_image(budget):
    policy = Unsure(budget, final_reward=True).planned(30, STEPS)
    scores = np.random.default_rng(budget).standard_normal((STEPS, 30)).cumsum(0)
    found = replay(policy, scores, STEPS, budget)
    assert found.finished and found.spent <= budget
