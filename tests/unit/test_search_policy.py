"""What a policy answers to what was seen."""

from diffusion_probe.search.policy import OneCut, State


def state(scores, reached, steps=25, moments=(5,), failed=()):
    alive = [row for row, at in enumerate(reached) if at < steps and row not in failed]
    return State(tuple((score,) for score in scores), tuple(reached), sum(reached), tuple(alive), moments, steps)


def test_one_cut_scores_all_at_its_share_and_finishes_the_best():
    policy = OneCut(survivors=2)
    assert policy.moments(25) == (5,)
    assert policy.next(state([None] * 4, [0] * 4)) == {0: 5, 1: 5, 2: 5, 3: 5}
    assert policy.next(state([0.1, 0.4, 0.3, 0.2], [5] * 4)) == {1: 25, 2: 25}
    assert policy.next(state([0.1, 0.4, 0.3, 0.2], [5, 25, 25, 5])) == {}


def test_a_survivor_that_fails_late_is_replaced_by_the_next_best():
    assert OneCut(survivors=2).next(state([0.1, 0.4, 0.3, 0.2], [5, 25, 9, 5], failed=[2])) == {3: 25}


def test_a_candidate_without_a_score_is_not_finished():
    assert OneCut(survivors=2).next(state([None, 0.4, None, None], [5] * 4)) == {1: 25}


def test_a_short_schedule_still_has_its_moment_and_one_step_has_none():
    assert (
        OneCut().moments(4) == (1,) and OneCut(share=0.9).moments(4) == (3,) and OneCut(share=0.01).moments(25) == (1,)
    )
    assert OneCut().moments(1) == ()
    assert OneCut(survivors=1).next(state([None] * 2, [0, 0], steps=1, moments=())) == {0: 1}
