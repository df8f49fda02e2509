"""Effects of pins and discards on the filter and on a search."""

import pytest
from diffusion_probe.engine.core.marks import NO_MARKS, Marks
from diffusion_probe.engine.core.scores import Scores, SeedName
from diffusion_probe.engine.seed_search.outcome import CandidateOutcome, Outcome, outcome_text
from diffusion_probe.engine.seed_search.policies.by_name import (
    GOOD_ENOUGH,
    HALVING,
    ONE_CUT,
    POLICIES,
    SEQUENTIAL,
    policy_named,
)
from diffusion_probe.engine.seed_search.policies.marked import goals_with_marks
from diffusion_probe.engine.seed_search.policies.policy import State
from diffusion_probe.engine.selection.select import RAW, select

STEPS = 20


def scores(*values, dropped_at=(), skilled=True):
    names = tuple(SeedName(row) for row in range(len(values)))
    return Scores(values, names, "a probe", "quality", "20%", 5, skilled, dropped_at=dropped_at)


def marks(pinned=(), discarded=()):
    return Marks(frozenset(pinned), frozenset(discarded))


def test_a_row_has_one_mark_at_most():
    both = NO_MARKS.pin(3).discard(3)
    assert (both.of(3), both.pin(3).of(3), both.clear(3).of(3)) == ("discarded", "pinned", None)


def test_a_pinned_row_takes_the_place_of_the_worst_kept_one():
    assert select(scores(0.9, 0.8, 0.1), top_k=2, marks=marks(pinned=[2])).kept == (0, 2)


def test_more_pins_than_places_all_go_on():
    assert select(scores(0.9, 0.8, 0.1), top_k=1, marks=marks(pinned=[1, 2])).kept == (1, 2)


def test_the_next_best_moves_up_for_a_discarded_row():
    chosen = select(scores(0.9, 0.8, 0.1), top_k=2, marks=marks(discarded=[0]))
    assert (chosen.kept, chosen.dropped) == ((1, 2), (0,))
    assert "1 discarded by you" in chosen.reason


def test_a_pin_passes_below_the_threshold_and_a_discard_does_not_above_it():
    chosen = select(scores(0.9, 0.8, 0.1), threshold=0.5, threshold_on=RAW, marks=marks([2], [0]))
    assert chosen.kept == (1, 2)


def test_what_was_dropped_in_flight_stays_dropped_even_when_pinned():
    flown = scores(0.9, 0.8, 0.1, dropped_at=(None, None, "step 3"))
    assert select(flown, top_k=1, marks=marks(pinned=[2])).kept == (0,)


def test_a_score_without_skill_drops_what_the_user_discards_and_nothing_else():
    chosen = select(scores(0.9, 0.8, 0.1, skilled=False), top_k=1, marks=marks(discarded=[0]))
    assert chosen.kept == (1, 2) and "Kept 2 of 3, as you chose" in chosen.reason


def test_all_discarded_is_a_result():
    assert select(scores(0.9, 0.8), top_k=1, marks=marks(discarded=[0, 1])).kept == ()


def run(policy, candidates, chosen, survivors=1):
    """A search played to its end: the score of a candidate is its number. Goals of each round, and what was spent."""
    moments = policy.moments(STEPS)
    reached, seen, rounds = [0] * candidates, [{} for _ in range(candidates)], []
    while True:
        table = tuple(tuple(row.get(moment) for moment in moments) for row in seen)
        alive = tuple(row for row in range(candidates) if reached[row] < STEPS)
        goals = goals_with_marks(
            policy, State(table, tuple(reached), sum(reached), alive, moments, STEPS), chosen, survivors
        )
        if not goals:
            return rounds, reached
        rounds.append(goals)
        assert len(rounds) < 200 and all(goal > reached[row] for row, goal in goals.items())
        for row, goal in goals.items():
            reached[row] = goal
            seen[row][goal] = float(row)


def policy(name, candidates, survivors=1):
    return policy_named(name, STEPS, candidates, survivors, 5 * STEPS, target=1e9)


@pytest.mark.parametrize("name", POLICIES)
def test_pinned_candidates_are_finished_in_others_places(name):
    _, reached = run(policy(name, 8, survivors=2), 8, marks(pinned=[0]), survivors=2)
    finished = {row for row, done in enumerate(reached) if done == STEPS}
    assert 0 in finished and len(finished) == 2


@pytest.mark.parametrize("name", POLICIES)
def test_discarded_candidates_go_nowhere_and_the_rest_is_searched(name):
    _, reached = run(policy(name, 8), 8, marks(discarded=[7, 6]))
    assert reached[6:] == [0, 0] and STEPS in reached


@pytest.mark.parametrize("name", POLICIES)
def test_without_marks_a_policy_is_as_it_is(name):
    plain = policy(name, 8)
    moments = plain.moments(STEPS)
    start = State(((None,) * len(moments),) * 8, (0,) * 8, 0, tuple(range(8)), moments, STEPS)
    assert goals_with_marks(plain, start, NO_MARKS, 1) == plain.next(start)


@pytest.mark.parametrize("name", [ONE_CUT, HALVING, SEQUENTIAL, GOOD_ENOUGH])
def test_a_pinned_candidate_survives_every_cut_on_the_way(name):
    rounds, _ = run(policy(name, 8), 8, marks(pinned=[0]))
    at = 0
    for goals in rounds[next(round for round, goals in enumerate(rounds) if 0 in goals) :]:
        assert goals.get(0, at) == max(goals.values())  # or it stands there already
        at = goals.get(0, at)
    assert at == STEPS


def test_all_discarded_ends_a_search():
    assert run(policy(ONE_CUT, 4), 4, marks(discarded=range(4))) == ([], [0] * 4)


def ended(seed, score, mark, finished=True):
    return CandidateOutcome(SeedName(seed), 0, ((2, score),), 10 if finished else 2, 4, 2, finished, mark=mark)


def test_survivors_are_the_pinned_then_the_best_and_never_the_discarded():
    candidates = (ended(1, 0.9, "discarded"), ended(2, 0.5, None), ended(3, 0.1, "pinned"), ended(4, 0.2, None))
    outcome = Outcome(candidates, 10, 2, "a probe", "quality", True)
    assert outcome.survivors() == [2, 1]
    assert "seed 3: finished, picked by you" in outcome_text(outcome)
    assert "seed 1: finished, not kept, discarded by you" in outcome_text(outcome)


def test_more_pinned_than_wanted_all_survive():
    candidates = (ended(1, 0.9, None), ended(2, 0.5, "pinned"), ended(3, 0.1, "pinned"))
    assert Outcome(candidates, 10, 1, "a probe", "quality", True).survivors() == [1, 2]
