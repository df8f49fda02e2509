"""Clock of a search, moved by hand."""

import pytest
from diffusion_probe.engine.seed_search.clock import SearchClock


class Hand:
    """A clock's hand that the test moves."""

    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def clock(hand):
    return SearchClock(hand)


def compute(clock, hand, rows, seconds, expected=0):
    """Let a model call of so many rows take so long."""
    hand.at += seconds
    clock.sampled(clock.rows + rows, expected)


def test_the_time_of_a_hold_does_not_count(clock, hand):
    hand.at += 3
    with clock.held():
        hand.at += 300
    hand.at += 4
    assert clock.elapsed == 7


def test_a_hold_that_is_cancelled_does_not_count_either(clock, hand):
    with pytest.raises(KeyboardInterrupt), clock.held():
        hand.at += 50
        raise KeyboardInterrupt
    assert clock.elapsed == 0


def test_nothing_is_foretold_before_the_first_call(clock, hand):
    hand.at += 10
    assert clock.left is None and clock.seconds_for(100) is None
    with clock.starting():
        hand.at += 10
    assert clock.left is None and clock.seconds_for(100) is None


def test_loading_and_the_first_call_count_once_and_scoring_not_at_all(clock, hand):
    with clock.starting():
        hand.at += 20  # the model is loaded
    clock.sample()
    compute(clock, hand, rows=16, seconds=9)  # the device is prepared: 8 s more than another call
    for _ in range(3):
        compute(clock, hand, rows=16, seconds=1)
    hand.at += 30  # candidates are scored
    clock.sample()
    for _ in range(16):
        compute(clock, hand, rows=1, seconds=0.5)  # one candidate alone takes longer for each row
    finishing_all = 20 + 8 + 20 * 1.0  # 20 steps of 16 rows
    assert clock.seconds_for(20 * 16) == pytest.approx(finishing_all)
    assert clock.elapsed == 20 + 12 + 30 + 8


def test_one_slow_call_among_the_largest_does_not_change_the_estimate(clock, hand):
    clock.sample()
    for seconds in (1, 1, 7, 1, 1):
        compute(clock, hand, rows=8, seconds=seconds)
    assert clock.seconds_for(80) == pytest.approx(10)


def test_a_search_of_a_single_call_is_estimated_from_it(clock, hand):
    clock.sample()
    compute(clock, hand, rows=4, seconds=2)
    assert clock.seconds_for(40) == pytest.approx(20)


def test_the_time_left_is_that_of_the_rows_left_at_the_mean_speed(clock, hand):
    with clock.starting():
        hand.at += 100
    clock.sample()
    compute(clock, hand, rows=10, seconds=2, expected=60)
    compute(clock, hand, rows=10, seconds=2, expected=60)
    hand.at += 4  # candidates are scored, which goes on with the rows
    assert clock.left == pytest.approx(8 / 20 * 40)
    with clock.held():
        hand.at += 500
    assert clock.left == pytest.approx(8 / 20 * 40)
    compute(clock, hand, rows=50, seconds=1, expected=60)
    assert clock.left == 0, "more rows than expected"


def test_looks_are_counted_with_their_seconds(clock, hand):
    for count in (3, 2):
        with clock.looking(count):
            hand.at += 4
    assert (clock.looks, clock.look_seconds) == (5, 8)
