"""Boards of scores, filters and outcomes, as the browser gets them."""

import json
from dataclasses import replace

from diffusion_probe.engine.board.schema import MOST_ROWS
from diffusion_probe.engine.board.values import DONE, HELD, Bars, filter_board, outcome_board, score_board
from diffusion_probe.engine.core.marks import Marks
from diffusion_probe.engine.core.scores import Look, Scores, SeedName
from diffusion_probe.engine.seed_search.outcome import CandidateOutcome, Outcome, outcome_report
from diffusion_probe.engine.selection.select import OFF, PERCENTILE, RAW, select


def scores(*values, **more):
    names = tuple(SeedName(2**63 + row) for row in range(len(values)))
    return Scores(values, names, "a probe", "quality", "20%", 5, True, **more)


def column(board, name):
    return [getattr(row, name) for row in board.rows]


def test_bars_go_from_the_worst_to_the_best_of_the_batch():
    assert [Bars([1.0, 2.0, 5.0], ()).position(score) for score in (1.0, 2.0, 5.0, 9.0, None, float("nan"))] == [
        0.0, 25.0, 100.0, 100.0, None, None,
    ]  # fmt: skip
    assert Bars([3.0, 3.0], ()).position(3.0) == 50.0


def test_with_a_calibration_bars_are_its_percentiles():
    calibrated = Bars([1.0, 2.0], (0.0, 1.0, 2.0, 3.0, 4.0))
    assert [calibrated.position(score) for score in (1.0, 2.5)] == [25.0, 62.5]
    assert score_board(scores(1.0, 2.0, calibration=(0.0, 4.0))).scale == "calibration"


def test_seeds_stay_exact_in_json():
    sent = json.loads(json.dumps(score_board(scores(0.5)).values()))
    assert sent["rows"][0]["seed"] == str(2**63) and sent["rows"][0]["rank"] == 1 and sent["rows"][0]["kept"] is None


def test_the_filters_board_says_who_is_kept_and_where_the_threshold_lies():
    found = scores(1.0, 2.0, 5.0)
    board = filter_board(found, select(found, threshold=2.0, threshold_on=RAW), 2.0, RAW)
    assert (column(board, "kept"), board.line, board.state) == ([False, True, True], 25.0, DONE)
    ranked = filter_board(found, select(found, threshold=60, threshold_on=PERCENTILE), 60, PERCENTILE)
    assert (column(ranked, "kept"), ranked.line) == ([False, False, True], 100.0)
    assert filter_board(found, select(found, top_k=1), 0.5, OFF).line is None


def test_marks_and_rows_that_nothing_continues_are_shown():
    found = scores(1.0, 2.0, 5.0, dropped_at=("step 3", None, None))
    marks = Marks(frozenset([1]), frozenset([2]))
    board = filter_board(found, select(found, marks=marks), 0.0, OFF, marks, HELD)
    assert column(board, "mark") == [None, "pinned", "discarded"]
    assert (column(board, "gone"), column(board, "at")) == ([True, False, False], ["step 3", "20%", "20%"])


def test_maps_are_sent_by_the_number_of_their_word():
    looks = (Look("data:a", (("red", "data:1"),)), Look(None, (("blue", "data:2"), ("red", "data:3"))))
    board = score_board(scores(1.0, 2.0, looks=looks))
    assert board.words == ("red", "blue") and column(board, "picture") == ["data:a", None]
    assert column(board, "heats") == [{"0": "data:1"}, {"1": "data:2", "0": "data:3"}]


def test_a_page_gets_a_bounded_number_of_rows():
    board = score_board(scores(*range(MOST_ROWS + 5)))
    assert len(board.rows) == MOST_ROWS and board.hidden == 5


def test_a_finished_search_shows_the_outcome_of_each_candidate():
    candidates = (
        CandidateOutcome(SeedName(1), 0, ((2, 0.5),), 10, 4, 10, True),
        CandidateOutcome(SeedName(2), 0, ((2, 0.25),), 2, 4, 2, False, mark="pinned"),
        CandidateOutcome(SeedName(3), 0, (), 0, 0, 0, False),
        CandidateOutcome(SeedName(4), 0, (), 1, 1, 1, False, failure="its latent is NaN"),
    )
    outcome = Outcome(candidates, 10, 1, "a probe", "quality", True)
    board = outcome_board(outcome, [None] * 4, target=0.25)
    assert column(board, "kept") == [True, False, False, False] and column(board, "rank") == [1, 2, None, None]
    assert column(board, "at") == ["the end", "step 2", None, "step 1"] and board.line == 0.0
    assert board.rows[3].note == "its latent is NaN" and board.rows[1].mark == "pinned"
    assert board.next_seed == "5"
    assert outcome_board(replace(outcome, candidates=candidates[:1]), [None]).rows[0].place == 50.0


def test_ranks_of_a_finished_search_are_those_of_its_report():
    scores = [(0.9, None, False), (0.1, "pinned", True), (0.5, None, True), (0.7, "discarded", True)]
    candidates = tuple(
        CandidateOutcome(SeedName(seed), 0, ((2, score),), 10 if done else 2, 4, 10, done, mark=mark)
        for seed, (score, mark, done) in enumerate(scores)
    )
    outcome = Outcome(candidates, 10, 1, "a probe", "quality", True)
    reported = {row["row"]: row["rank"] for row in outcome_report(outcome)["rows"]}
    assert column(outcome_board(outcome, [None] * 4), "rank") == [reported[row] for row in range(4)] == [4, 1, 2, 3]
