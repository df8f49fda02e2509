"""Benchmark of saved seconds: its figures, its two clocks, and its page."""

import pytest

from benchmarks.lib.pages.seed_search import saved_reading, saved_table
from benchmarks.saved_seconds import Clocks, figures


def rounds(*estimates):
    """Return rounds in which finishing all takes 10 s, of which the processor computes 5 s."""
    return [{"search": (5.0, 2.0), "estimate": (each, 4.8), "batch": (10.0, 5.0)} for each in estimates]


def test_figures_are_ratios_within_a_round_by_both_clocks():
    measured = figures(rounds(9.0, 10.0, 14.0))
    ratios = {name: measured["wall"][f"ratio_{name}"] for name in ("median", "min", "max")}
    assert ratios == pytest.approx({"median": 1.0, "min": 0.9, "max": 1.4})
    assert measured["wall"]["estimate"] == 10.0 and measured["cpu"]["batch"] == 5.0
    assert measured["cpu"]["ratio_median"] == pytest.approx(0.96)


def test_both_clocks_see_the_same_calls():
    clocks = Clocks()
    with clocks.starting():
        pass
    clocks.sample()
    for rows in (8, 16, 24):
        sum(number for number in range(200_000))
        clocks.sampled(rows, 48)
    for clock in (clocks, clocks.cpu):
        assert clock.rows == 24 and clock.seconds_for(48) > clock.seconds_for(24) > 0 and clock.left > 0


def test_the_page_states_the_difference_without_its_sign():
    record = {"rows": [{"model": "flux", **figures(rounds(9.0))}, {"model": "sdxl", **figures(rounds(10.4))}]}
    (text,) = saved_reading({"saved": record})
    assert "by 4 % on FLUX and 4 % on SDXL" in text and "10 % on FLUX and 4 % on SDXL" in text
    assert "| FLUX | wall-clock | 5.0 s | 9.0 s | 10.0 s | 0.90 | 0.90 to 0.90 |" in str(saved_table(record))
