"""Policies of a search in which the user decides."""

import pytest
from diffusion_probe.engine.core.marks import GO, GONE, NO_MARKS, NOBODY, TIME
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.policies.chosen import Chosen, InOrder, after_hold
from diffusion_probe.engine.seed_search.policies.marked import goals_with_marks
from diffusion_probe.engine.seed_search.policies.plan import expected_steps
from diffusion_probe.engine.seed_search.policies.policy import State

STEPS = 20


def state(*reached, failed=()):
    alive = tuple(row for row, steps in enumerate(reached) if steps < STEPS and row not in failed)
    return State(tuple((None,) for _ in reached), reached, sum(reached), alive, (4,), STEPS)


@pytest.mark.parametrize(
    ("steps", "share", "moment"), [(20, 0.2, 4), (20, 0.95, 19), (2, 0.05, 1), (2, 0.95, 1), (10_000, 0.05, 500)]
)
def test_the_cut_is_inside_of_the_run(steps, share, moment):
    assert Chosen(share).moments(steps) == (moment,)


def test_a_run_of_one_step_has_no_cut():
    with pytest.raises(ValueError, match="Set steps to 2 or more"):
        Chosen().moments(1)


def test_all_come_to_the_cut_and_nobody_beyond_who_is_not_pinned():
    assert Chosen().next(state(0, 0, 0)) == {0: 4, 1: 4, 2: 4}
    assert Chosen().next(state(4, 4, 4)) == {} and Chosen().next(state(4, 4, STEPS)) == {}
    assert expected_steps(Chosen(), 16, STEPS) == 64


@pytest.mark.parametrize("policy", [Chosen(), InOrder(0)])
@pytest.mark.parametrize("survivors", [1, 3])
def test_exactly_the_pinned_are_finished_whatever_number_was_wanted(policy, survivors):
    marks = NO_MARKS.pin(2).pin(0).discard(1)
    assert goals_with_marks(policy, state(4, 4, 4), marks, survivors) == {0: STEPS, 2: STEPS}
    assert goals_with_marks(policy, state(STEPS, 4, STEPS), marks, survivors) == {}


def test_in_order_the_next_takes_the_position_of_one_that_failed():
    assert InOrder(2).next(state(4, 4, 4, 4)) == {0: STEPS, 1: STEPS}
    assert InOrder(2).next(state(STEPS, 4, 4, 4, failed=[1])) == {2: STEPS}
    assert InOrder(2).next(state(STEPS, STEPS, 4, 4)) == {} and InOrder().moments(STEPS) == ()


ONE = policy_named(ONE_CUT, STEPS, 4)


@pytest.mark.parametrize(
    ("policy", "end", "after"),
    [
        (Chosen(), GO, InOrder(0)),
        (Chosen(), TIME, InOrder(0)),
        (Chosen(), GONE, InOrder(0)),
        (Chosen(), NOBODY, InOrder(3)),
        (ONE, GO, ONE),
        (ONE, TIME, ONE),
        (ONE, NOBODY, ONE),
        (ONE, GONE, InOrder(0)),
    ],
)
def test_nothing_is_chosen_for_a_user_who_could_have_chosen(policy, end, after):
    assert after_hold(policy, end, survivors=3) == after
