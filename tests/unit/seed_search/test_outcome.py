"""Outcome of a search, as values and as text, and the expected cost of a policy."""

import json

import pytest
from diffusion_probe.engine.core.scores import SeedName
from diffusion_probe.engine.seed_search.outcome import CandidateOutcome, Outcome, outcome_report, outcome_text
from diffusion_probe.engine.seed_search.policies.by_name import HALVING, ONE_CUT, SEQUENTIAL, policy_named
from diffusion_probe.engine.seed_search.policies.plan import expected_steps, line_on_start
from diffusion_probe.engine.seed_search.policies.schedules import Cuts


def ended(seed, *scores, finished=False, **more):
    reached = 10 if finished else (scores[-1][0] if scores else 0)
    return CandidateOutcome(SeedName(seed), 0, scores, reached, 2 * reached, reached, finished, **more)


CANDIDATES = (
    ended(2**63, (2, 0.1)),
    ended(7, (2, 0.5), (4, 0.7), finished=True),
    ended(8, (2, 0.9), (4, 0.2)),
    ended(9),
    ended(10, (2, 0.4), (4, 0.8), finished=True),
    ended(11, (2, 0.6), failure="its latent is NaN"),
)


def outcome(candidates=CANDIDATES, wanted=1, **more):
    return Outcome(candidates, 10, wanted, "a probe", "quality", more.pop("skilled", True), **more)


def test_the_finished_come_first_then_who_came_further_then_who_scored_higher():
    assert outcome().order() == [4, 1, 2, 5, 0, 3]
    assert outcome().survivors() == [4] and outcome(wanted=5).survivors() == [4, 1]


def test_a_reward_of_the_finished_outranks_the_probe():
    rewarded = (ended(1, (2, 0.9), finished=True, reward=0.1), ended(2, (2, 0.1), finished=True, reward=0.3))
    assert outcome(rewarded).survivors() == [1]


def test_scores_are_the_last_ones_and_say_when_a_candidate_was_dropped():
    scores = outcome(calibration=(0.1, 0.9)).scores()
    assert scores.values == (0.1, 0.7, 0.2, 0.8, 0.6)  # seed 9 was never looked at
    assert scores.dropped_at == ("step 2", "the end", "step 4", None, "step 2")  # seed 7: finished, not kept
    assert (scores.moment, scores.step, scores.calibration) == ("step 2, step 4", 4, (0.1, 0.9))
    assert scores.model_rows == sum(each.model_rows for each in CANDIDATES)


def test_kept_scores_are_the_rewards_where_there_are_any():
    rewarded = (ended(1, (2, 0.9), finished=True, reward=0.1), ended(2, (2, 0.1), finished=True, reward=0.3), ended(3))
    kept = outcome(rewarded, wanted=2, reward_label="ImageReward").kept_scores()
    assert (kept.values, kept.label, kept.moment) == ((0.3, 0.1), "ImageReward", "the end")
    assert [name.seed for name in kept.seeds] == [2, 1]
    assert outcome(wanted=2).kept_scores().values == (0.8, 0.7)


def test_a_remark_is_in_the_text_and_in_the_report():
    found = outcome(
        (ended(1, (2, 0.9), finished=True, reward=0.1), ended(2, remark="no reward: broken", finished=True))
    )
    assert outcome_text(found).splitlines()[-1] == "2. seed 2: finished, not kept, no reward: broken"
    assert outcome_report(found)["rows"][1]["remark"] == "no reward: broken"


def test_the_report_says_what_it_cost_and_how_each_ended():
    text = outcome_text(outcome(warnings=("Out of memory.",)))
    assert "Finished 2 of 6 candidates: 56 model rows, 2.14× fewer than finishing all, 2.8× one image." in text
    lines = text.splitlines()
    assert "Out of memory." in lines
    assert lines[-6] == "1. seed 10: finished, 0.4 at step 2, 0.8 at step 4"
    assert lines[-4] == "3. seed 8: dropped after step 4, 0.9 at step 2, 0.2 at step 4"
    assert lines[-3] == "4. seed 11: failed: its latent is NaN"
    assert lines[-1] == "6. seed 9: never started, the budget was spent better"
    assert "no measured skill" in outcome_text(outcome(skilled=False)) and "no measured skill" not in text


def test_seeds_reach_the_frontend_as_text_because_javascript_rounds_large_numbers():
    rows = json.loads(json.dumps(outcome_report(outcome())))["rows"]
    assert {row["row"]: row["seed"] for row in rows}[0] == str(2**63)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5, 6]


def test_the_report_has_the_seed_after_the_largest_as_text():
    assert outcome_report(outcome())["next_seed"] == str(2**63 + 1)
    assert outcome_report(outcome((ended(2**64 - 1), ended(7, finished=True))))["next_seed"] == "0"


@pytest.mark.parametrize("name", [ONE_CUT, HALVING, SEQUENTIAL])
def test_what_a_policy_will_cost_is_known_before_the_search_or_stays_in_the_budget(name):
    policy = policy_named(name, 25, 12, 2, budget=120)
    expected = expected_steps(policy, 12, 25)
    assert expected == policy.cost(25) if isinstance(policy, Cuts) else 50 <= expected <= 120


def test_the_text_says_what_looks_took_in_seconds_and_in_model_rows():
    text = outcome_text(outcome(seconds=70.0, looks=15, look_seconds=6.0, seconds_per_row=0.5))
    line = "It took 1 min 10 s, of that 6.0 s for 15 looks at candidates, as long as 12.0 model rows"
    assert line in text and outcome_report(outcome(looks=15))["looks"] == 15
    assert "It took 5.0 s.\n" in outcome_text(outcome(seconds=5.0)) and "It took" not in outcome_text(outcome())


@pytest.mark.parametrize("name", [SEQUENTIAL, ONE_CUT, HALVING])
def test_a_sentence_says_how_many_candidates_start_before_any_does(name):
    policy = policy_named(name, 20, 256, 1, 80)
    words = line_on_start(policy, 256, 20).split()
    assert 7 <= int(words[0]) <= 20 and words[1:4] == ["of", "256", "candidates"]
    assert line_on_start(policy_named(name, 20, 4, 1, 80), 4, 20) == ""


def test_the_report_counts_steps_and_looks_in_one_unit():
    found = outcome(seconds=70.0, looks=15, look_seconds=6.0, look_price=4.5)
    reached = sum(each.reached for each in found.candidates)
    assert found.spent == reached + 4.5
    assert f"The budget counts {reached + 4.5:.1f} steps, of that 4.5 for the looks." in outcome_text(found)
    report = outcome_report(found)
    assert (report["spent"], report["look_price"]) == (reached + 4.5, 4.5)
