"""State of a search, and what its board shows of it at each event; no model is sampled."""

from types import SimpleNamespace

import pytest
import torch
from diffusion_probe.engine.board.search_board import SearchBoard
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.core.marks import NO_MARKS
from diffusion_probe.engine.core.scores import SeedName
from diffusion_probe.engine.seed_search.candidates import Candidate
from diffusion_probe.engine.seed_search.clock import SearchClock
from diffusion_probe.engine.seed_search.state import CandidateState, SearchState

STEPS = 10
PROBE = SimpleNamespace(name="a probe", label="quality", skilled=True, calibration=())


class Channel:
    """Channel of a browser that shows every board; ``on_hold`` may mark."""

    def __init__(self, on_hold=lambda channel: None):
        self.marks, self.boards, self.on_hold, self.large = NO_MARKS, [], on_hold, {}

    def keep_picture(self, row, picture):
        self.large[row] = picture

    def send(self, board):
        self.boards.append(board)

    def hold(self, seconds, board):
        self.on_hold(self)
        self.send(board())


def candidate(seed, scores=(), reached=0, **run):
    state = {"error": None, "sampled": False, "result": None, "model_rows": 2 * reached, "evaluations": reached}
    features = None
    if scores:
        moment = f"step {scores[-1][0]}"
        features = Features("flux", moment, scores[-1][0], 0.5, 0.2, denoised=torch.zeros(4, 8, 8))
    one = Candidate(SeedName(seed), sample=lambda model, callback: None)
    run = SimpleNamespace(**{**state, **run})
    picture = torch.rand(16, 16, 3) if scores else None
    return CandidateState(one, run, reached, dict(scores), features=features, picture=picture)


@pytest.fixture
def state():
    """Four candidates at a decision after step 5: two there, one dropped at step 2, one failed before."""
    return SearchState(
        [
            candidate(2**63, [(2, 0.5), (5, 0.1)], 5),
            candidate(7, [(2, 0.4), (5, 0.9)], 5),
            candidate(8, [(2, 0.2)], 2),
            candidate(9, [], 0, error=ValueError("broken.")),
        ],
        STEPS,
        (2, 5),
    )


def column(board, name):
    return [getattr(row, name) for row in board.rows]


def test_policies_get_scores_by_moment_and_the_candidates_that_can_continue(state):
    seen = state.for_policy()
    assert seen.scores == ((0.5, 0.1), (0.4, 0.9), (0.2, None), (None, None))
    assert (seen.reached, seen.spent, seen.alive) == ((5, 5, 2, 0), 12, (0, 1, 2))
    assert (seen.moments, seen.steps, seen.finished) == ((2, 5), STEPS, 0)


def test_the_outcome_of_a_candidate_is_its_state_in_plain_values(state):
    first, *_, failed = (each.outcome(mark) for each, mark in zip(state.candidates, ("pinned", None, None, None)))
    assert (first.name, first.scores, first.reached, first.mark) == (SeedName(2**63), ((2, 0.5), (5, 0.1)), 5, "pinned")
    assert (failed.failure, failed.finished, failed.remark) == ("broken", False, None)
    state.candidates[2].leave_unscored(5, "no evaluation")
    assert state.candidates[2].outcome(None).remark == "not scored at step 5: no evaluation"


def test_scores_are_shown_with_their_rank_moment_and_picture(state):
    channel = Channel()
    board = SearchBoard(channel, None, PROBE)
    board.on_scores(state, [0, 1])
    (shown,) = channel.boards
    assert column(shown, "seed") == [str(2**63), "7", "8", "9"] and column(shown, "score") == [0.1, 0.9, 0.2, None]
    assert column(shown, "rank") == [2, 1, 3, None]  # who came further comes first
    assert column(shown, "at") == ["step 5", "step 5", "step 2", None]
    assert [picture is not None for picture in column(shown, "picture")] == [True, True, False, False]
    assert column(shown, "gone") == [False, False, False, True] and shown.state == "running"
    assert shown.next_seed == str(2**63 + 1)
    assert list(channel.large) == [0, 1] and torch.equal(channel.large[1], state.candidates[1].picture)


def test_a_decision_shows_who_is_dropped_and_the_last_one_who_is_kept(state):
    channel = Channel()
    board = SearchBoard(channel, None, PROBE)
    board.on_goals(state, {0: 7, 1: 7})
    board.on_goals(state, {1: STEPS})
    open_decision, last = (column(shown, "kept") for shown in channel.boards)
    assert open_decision == [None, None, False, None] and last == [False, True, False, None]
    state.candidates[1].reached, state.candidates[1].run.sampled = STEPS, True
    board.on_goals(state, {0: 7})
    assert column(channel.boards[-1], "kept") == [None, True, False, None]
    assert column(channel.boards[-1], "gone") == [False, True, False, True]


def test_at_the_last_cut_a_mark_shows_whom_it_keeps(state):
    def discard(channel):
        channel.marks = channel.marks.discard(1)

    channel = Channel(discard)
    board = SearchBoard(channel, None, PROBE, hold_seconds=60, target=0.9)
    board.on_last_cut(state, lambda: {0 if channel.marks else 1: STEPS})
    before, after = channel.boards
    assert column(before, "kept") == [False, True, False, None] and column(after, "kept") == [True, False, False, None]
    assert column(after, "mark") == [None, "discarded", None, None] and after.line == 100.0


def test_without_a_hold_nobody_is_waited_for(state):
    channel = Channel(on_hold=lambda channel: pytest.fail("held"))
    SearchBoard(channel, None, PROBE).on_last_cut(state, lambda: {1: STEPS})
    assert len(channel.boards) == 1


class Hand:
    """A clock's hand that the test moves."""

    at = 0.0

    def __call__(self):
        return self.at


@pytest.fixture
def timed(state):
    """A board whose clock the test moves, and its channel."""
    channel, hand = Channel(), Hand()
    board = SearchBoard(channel, None, PROBE, hold_seconds=60)
    board.clock = SearchClock(hand)
    return board, channel, hand


def test_a_running_board_sends_its_time_once_a_second_at_most(timed, state):
    board, channel, hand = timed
    for _ in range(30):
        hand.at += 0.25
        board.on_progress(state)
    assert [shown.elapsed for shown in channel.boards] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    hand.at += 0.75
    board.on_goals(state, {})
    board.on_progress(state)
    assert channel.boards[-1].elapsed == 8.2 and len(channel.boards) == 8, "a decision has sent the time already"


def test_a_board_shows_the_time_left_and_that_of_finishing_all(timed, state):
    board, channel, hand = timed
    board.on_goals(state, {})
    hand.at += 2
    board.clock.sampled(24, expected_rows=36)  # 12 steps of two model rows each
    board.on_goals(state, {1: STEPS})
    before, after = channel.boards
    assert (before.left, before.all_seconds) == (None, None)
    assert (after.elapsed, after.left, after.all_seconds) == (2.0, 1.0, round(4 * STEPS * 2 / 12, 1))


def test_the_time_of_a_hold_is_not_on_the_board(timed, state):
    board, channel, hand = timed

    def think(channel):
        hand.at += 100

    channel.on_hold = think
    board.on_last_cut(state, lambda: {1: STEPS})
    board.on_goals(state, {1: STEPS})
    assert channel.boards[-1].elapsed == 0
