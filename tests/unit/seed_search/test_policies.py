"""Rules that every policy keeps, whatever the scores."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from diffusion_probe.engine.core.skill import PREVIEW
from diffusion_probe.engine.seed_search.policies.by_name import (
    GOOD_ENOUGH,
    HALVING,
    ONE_CUT,
    POLICIES,
    SEQUENTIAL,
    one_cut_cost,
    policy_named,
)
from diffusion_probe.engine.seed_search.policies.policy import Policy, State
from diffusion_probe.engine.seed_search.policies.schedules import Cuts, UntilGoodEnough, best_scored, halving
from diffusion_probe.engine.seed_search.policies.sequential import Sequential
from diffusion_probe.training.metrics.replay import replay

STEPS = 20


def named(name: str, steps: int = STEPS, candidates: int = 12, survivors: int = 1, **settings):
    return policy_named(name, steps, candidates, survivors, target=1.0 if name == GOOD_ENOUGH else None, **settings)


def trajectories(seed: int, candidates: int, steps: int = STEPS) -> np.ndarray:
    """Scores that wander to the final one, ``[evaluation, candidate]``."""
    walk = np.random.default_rng(seed).standard_normal((steps, candidates)).cumsum(axis=0)
    return walk / np.sqrt(steps)


CASES = [
    (steps, candidates, survivors, images)
    for steps, candidates, survivors, images in itertools.product((1, 2, 4, 20), (1, 2, 9), (1, 3, 12), (1, 1.5, 4))
    if images >= min(survivors, candidates)
]


@pytest.mark.parametrize("final_reward", [False, True])
@pytest.mark.parametrize("name", POLICIES)
def test_no_budget_is_exceeded_and_all_that_are_wanted_are_finished(name, final_reward):
    for seed, (steps, candidates, survivors, images) in enumerate(CASES):
        budget = int(images * steps)
        policy = named(name, steps, candidates, survivors, budget=budget, final_reward=final_reward)
        found = replay(policy, trajectories(seed, candidates, steps), steps, budget)
        wanted = min(survivors, candidates)
        assert len(found.finished) == wanted or (final_reward and name == SEQUENTIAL and len(found.finished) >= wanted)


@pytest.mark.parametrize("final_reward", [False, True])
@pytest.mark.parametrize("name", POLICIES)
def test_several_survivors_are_finished_though_each_moment_reverses_the_order(name, final_reward):
    """Looks that contradict each other tempt a policy to take up those left behind, which costs more."""
    for seed in range(30):
        noise = np.random.default_rng(seed).standard_normal((STEPS, 16))
        found = replay(
            named(name, candidates=16, survivors=4, budget=128, final_reward=final_reward), noise, STEPS, 128
        )
        assert len(found.finished) >= 4


@pytest.mark.parametrize("name", POLICIES)
def test_candidates_without_a_score_are_dropped_and_the_budget_still_holds(name):
    for seed in range(12):
        scores = trajectories(seed, 10)
        scores[np.random.default_rng(seed).random(scores.shape) < 0.15] = np.nan
        found = replay(named(name, candidates=10, survivors=2, budget=80), scores, STEPS, 80)
        assert len(found.finished) <= 2
    everything_broken = np.full((STEPS, 10), np.nan)
    assert replay(named(name, candidates=10, budget=80), everything_broken, STEPS, 80).finished == ()


@pytest.mark.parametrize("name", POLICIES)
def test_a_candidate_whose_score_is_missing_is_never_finished(name):
    scores = trajectories(3, 10)
    scores[:, 4] = np.nan
    assert 4 not in replay(named(name, candidates=10, survivors=3, budget=110), scores, STEPS, 110).finished


@pytest.mark.parametrize("name", POLICIES)
def test_at_one_moment_no_worse_candidate_goes_on_before_a_better_one(name):
    for seed in range(6):
        watched = Watched(named(name, survivors=2, budget=100))
        replay(watched, trajectories(seed, 12), STEPS, 100)
        cuts = [(state, answer) for state, answer in watched.answers if state.spent and answer]
        assert cuts
        for state, answer in cuts:
            for moment in range(len(state.moments)):
                level = [row for row in state.alive if moment_index(state, row) == moment]
                going = [state.scores[row][moment] for row in level if row in answer]
                staying = [state.scores[row][moment] for row in level if row not in answer]
                assert not going or not staying or min(going) >= max(staying)


@pytest.mark.parametrize("name", [name for name in POLICIES if name != GOOD_ENOUGH])  # it stops between groups
def test_the_order_of_the_candidates_does_not_matter(name):
    for seed in range(4):
        scores = trajectories(seed, 9)
        policy = named(name, candidates=9, budget=100, survivors=2)
        everyone = policy.next(start_of(policy, 9))
        if len(everyone) < 9:  # who starts is a matter of order; from there on it isn't
            scores = scores[:, : len(everyone)]
        mixed = np.random.default_rng(seed).permutation(scores.shape[1])
        first = replay(policy, scores, STEPS)
        second = replay(policy, scores[:, mixed], STEPS)
        assert sorted(mixed[list(second.finished)]) == sorted(first.finished)
        assert first.spent == second.spent


@pytest.mark.parametrize("name", POLICIES)
def test_with_scores_that_know_the_end_the_best_candidate_is_finished(name):
    for seed in range(8):
        final = np.random.default_rng(seed).standard_normal(8)
        policy = named(name, candidates=8, budget=8 * STEPS)
        scores = np.repeat(final[None], STEPS, axis=0)
        if name == GOOD_ENOUGH:
            policy = UntilGoodEnough(target=float(final.max()), budget=8 * STEPS)
        assert int(final.argmax()) in replay(policy, scores, STEPS, 8 * STEPS).finished


@pytest.mark.parametrize("name", POLICIES)
def test_equal_scores_and_a_single_candidate_are_no_problem(name):
    assert len(replay(named(name, budget=80), np.ones((STEPS, 12)), STEPS, 80).finished) == 1
    assert replay(named(name, candidates=1), np.zeros((STEPS, 1)), STEPS, STEPS).finished == (0,)


@pytest.mark.parametrize("name", POLICIES)
def test_as_many_survivors_as_candidates_are_all_finished(name):
    found = replay(named(name, candidates=3, survivors=5, budget=3 * STEPS), trajectories(0, 3), STEPS, 3 * STEPS)
    assert found.finished == (0, 1, 2)


def test_a_budget_that_is_not_given_is_that_of_one_cut():
    assert one_cut_cost(25, 10, 1) == 10 * 5 + 20
    found = replay(policy_named(ONE_CUT, 25, 10), trajectories(0, 10, 25), 25)
    assert found.spent == 70
    assert replay(policy_named(SEQUENTIAL, 25, 10), trajectories(0, 10, 25), 25, 70).spent <= 70


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"name": SEQUENTIAL, "budget": 19}, "does not pay for 1 finished"),
        ({"name": SEQUENTIAL, "budget": 39, "survivors": 2}, "Raise the budget"),
        ({"name": "best"}, "sequential, one cut"),
        ({"name": GOOD_ENOUGH}, "needs a target"),
        ({"name": ONE_CUT, "candidates": 0}, "1 or more"),
    ],
)
def test_what_can_not_be_is_said_in_words(settings, message):
    with pytest.raises(ValueError, match=message):
        policy_named(**{"steps": STEPS, "candidates": 8, **settings})


def test_moments_before_the_first_decision_are_left_out_and_change_nothing():
    everywhere = Sequential(120, skill=replace(PREVIEW, spread=(1.0,) * len(PREVIEW.progress)), final_reward=True)
    late = everywhere.planned(30, STEPS)
    assert late.moments(STEPS)[0] > everywhere.moments(STEPS)[0]
    for seed in range(4):
        first, second = (replay(policy, trajectories(seed, 30), STEPS, 120) for policy in (everywhere, late))
        assert (first.finished, first.spent) == (second.finished, second.spent)
        assert second.looks <= first.looks


def test_cuts_cost_what_they_say():
    cuts = Cuts(8, (5, 10), (4, 2))
    assert cuts.cost(STEPS) == 8 * 5 + 4 * 5 + 2 * 10
    assert replay(cuts, trajectories(0, 30), STEPS).spent == cuts.cost(STEPS)


def test_halving_starts_as_many_as_the_budget_allows():
    plan = halving(120, STEPS, candidates=100)
    assert plan.cost(STEPS) <= 120 < halving(130, STEPS, candidates=100).cost(STEPS) + 10
    assert all(after <= -(-before // 2) for before, after in zip((plan.start, *plan.keep), plan.keep))


def test_until_good_enough_stops_at_the_first_group_that_is():
    scores = np.zeros((STEPS, 12))
    scores[:, 6] = 2.0
    found = replay(UntilGoodEnough(target=1.5, budget=200, group=4, share=0.25), scores, STEPS, 200)
    assert found.finished == (6,)
    assert found.spent == 8 * 5 + 15


def test_the_best_scored_leave_out_what_has_no_score():
    state = State(((0.5,), (None,), (float("nan"),), (0.9,)), (5, 5, 5, 5), 20, (0, 1, 2, 3), (5,), STEPS)
    assert best_scored(state, [0, 1, 2, 3], 0, 3) == [3, 0]


class Watched(Policy):
    """A policy whose answers are kept."""

    def __init__(self, policy):
        self.policy, self.answers = policy, []

    def moments(self, steps):
        return self.policy.moments(steps)

    def next(self, state):
        self.answers.append((state, self.policy.next(state)))
        return self.answers[-1][1]


def moment_index(state: State, row: int) -> int:
    return state.moments.index(state.reached[row]) if state.reached[row] else -1


def start_of(policy, candidates: int) -> State:
    moments = policy.moments(STEPS)
    empty = tuple((None,) * len(moments) for _ in range(candidates))
    return State(empty, (0,) * candidates, 0, tuple(range(candidates)), moments, STEPS)


@pytest.mark.parametrize("look_price", [0.03, 0.4, 2.0, 12.0])
@pytest.mark.parametrize("name", POLICIES)
def test_a_budget_pays_for_looks_and_the_wanted_are_finished_whatever_they_cost(name, look_price):
    for seed, (steps, candidates, survivors, images) in enumerate(CASES):
        policy = named(name, steps, candidates, survivors, budget=int(images * steps), look_price=look_price)
        found = replay(policy, trajectories(seed, candidates, steps), steps, int(images * steps))
        full = sum(steps for _ in found.finished)
        assert len(found.finished) == min(survivors, candidates)
        assert found.spent >= full + found.looks * look_price - 1e-6


@pytest.mark.parametrize("name", POLICIES)
def test_expensive_looks_are_fewer_and_further_apart(name):
    free, dear = (named(name, candidates=30, budget=80, look_price=price) for price in (0.0, 2.0))
    looks = [replay(policy, trajectories(1, 30), STEPS, 80).looks for policy in (free, dear)]
    assert looks[1] < looks[0]
    moments = dear.moments(STEPS)
    assert all(later - moment >= 4 for moment, later in itertools.pairwise(moments)) or name == HALVING


def test_the_default_budget_of_one_cut_pays_for_a_look_at_each_candidate():
    assert one_cut_cost(25, 10, 1, look_price=0.4) == pytest.approx(10 * (5 + 0.4) + 20)
    policy = policy_named(ONE_CUT, 25, 10, look_price=0.4)
    found = replay(policy, trajectories(0, 10, 25), 25)
    assert (found.looks, found.spent) == (10, pytest.approx(74))


def test_a_free_part_of_a_score_is_looked_at_before_the_part_that_costs():
    trained = replace(PREVIEW, correlation=tuple(value * 0.9 for value in PREVIEW.correlation), spread=(1.0,) * 7)
    both = replace(PREVIEW, spread=(1.0,) * 7)
    settings = {"candidates": 30, "budget": 80, "skill": both}
    policy = named(SEQUENTIAL, look_price=1.0, free_skill=trained, **settings)
    moments = policy.moments(STEPS)
    kinds = [policy.is_free(moment, STEPS) for moment in moments]
    assert kinds == sorted(kinds, reverse=True), "what costs comes last"
    assert any(kinds) and policy.prices(moments, STEPS) == (*(0.0 if free else 1.0 for free in kinds), 0.0)
    for seed in range(5):
        assert len(replay(policy, trajectories(seed, 30), STEPS, 80).finished) == 1
    cheap = named(SEQUENTIAL, look_price=0.0, free_skill=trained, **settings)
    assert not any(cheap.is_free(moment, STEPS) for moment in cheap.moments(STEPS))
