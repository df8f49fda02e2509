"""Which rows go on."""

import math
from dataclasses import replace

import pytest
from diffusion_probe.engine.core.ranking import best_first, percentiles_in_batch, ranks
from diffusion_probe.engine.core.scores import Scores, SeedName
from diffusion_probe.engine.selection.select import OFF, PERCENTILE, RAW, select


def scores(*values: float, skilled: bool = True) -> Scores:
    names = tuple(SeedName(100 + row) for row in range(len(values)))
    return Scores(values, names, "a probe", "quality", "20%", 5, skilled)


def test_top_k_keeps_the_best_in_row_order():
    chosen = select(scores(0.2, 0.9, 0.1, 0.8), top_k=2)
    assert chosen.kept == (1, 3)
    assert chosen.dropped == (0, 2)
    assert "Kept 2 of 4" in chosen.reason


def test_raw_threshold_keeps_what_is_exactly_on_it():
    assert select(scores(0.2, 0.5, 0.8), threshold=0.5, threshold_on=RAW).kept == (1, 2)


def test_both_limits_hold_at_once():
    assert select(scores(0.9, 0.8, 0.7, 0.1), top_k=3, threshold=0.75, threshold_on=RAW).kept == (0, 1)
    assert select(scores(0.9, 0.8, 0.7, 0.1), top_k=1, threshold=0.75, threshold_on=RAW).kept == (0,)


def test_percentile_is_the_share_of_the_others_that_a_row_beats():
    assert percentiles_in_batch([3.0, 1.0, 2.0]) == [100.0, 0.0, 50.0]
    assert select(scores(3.0, 1.0, 2.0), threshold=50, threshold_on=PERCENTILE).kept == (0, 2)


def test_percentile_of_ties_counts_half_and_a_single_row_is_its_own_best():
    assert percentiles_in_batch([1.0, 1.0, 1.0]) == [50.0, 50.0, 50.0]
    assert percentiles_in_batch([7.0]) == [100.0]


def test_without_limits_everything_is_kept():
    chosen = select(scores(0.1, 0.2))
    assert chosen.kept == (0, 1) and chosen.dropped == ()
    assert "neither top k nor a threshold" in chosen.reason


def test_nothing_passes_says_the_best_score():
    chosen = select(scores(0.1, 0.3), threshold=0.5, threshold_on=RAW)
    assert chosen.kept == () and chosen.dropped == (0, 1)
    assert "0.3" in chosen.reason and "Dropped all 2" in chosen.reason


def test_top_k_above_the_batch_keeps_all():
    assert select(scores(0.1, 0.3), top_k=9).dropped == ()


def test_a_tie_at_the_cut_keeps_the_lower_row_and_says_so():
    chosen = select(scores(0.5, 0.9, 0.5), top_k=2)
    assert chosen.kept == (0, 1)
    assert "the same score as the last one kept: 1." in chosen.reason


def test_an_unskilled_score_drops_nothing_unless_allowed():
    unskilled = scores(0.1, 0.9, skilled=False)
    chosen = select(unskilled, top_k=1)
    assert chosen.kept == (0, 1) and "no measured skill" in chosen.reason
    assert select(unskilled, top_k=1, use_unskilled=True).kept == (1,)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_row_without_a_score_is_named_with_a_fix(value):
    with pytest.raises(ValueError, match="Row 1 of 3 has no score.*precision"):
        select(scores(0.1, value, 0.2), top_k=1)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"top_k": -1}, "top k is -1"),
        ({"threshold": math.nan, "threshold_on": RAW}, "The threshold is nan"),
        ({"threshold": 101.0, "threshold_on": PERCENTILE}, "between 0 and 100"),
        ({"threshold_on": "sometimes"}, 'It takes "off"'),
    ],
)
def test_limits_out_of_range_name_what_is_accepted(limits, says):
    with pytest.raises(ValueError, match=says):
        select(scores(0.1, 0.2), **limits)


def test_threshold_is_ignored_when_off():
    assert select(scores(0.1, 0.2), threshold=5.0, threshold_on=OFF).dropped == ()


def test_ranks_agree_with_the_order_of_the_cut():
    values = [0.5, 0.9, 0.5, 0.1]
    assert best_first(values) == [1, 0, 2, 3]
    assert ranks(values) == [2, 1, 3, 4]


def test_an_empty_batch_has_no_ranks():
    assert best_first([]) == [] and ranks([]) == [] and percentiles_in_batch([]) == []


def test_kept_and_dropped_share_out_the_rows_whatever_the_limits():
    values = [((row * 37) % 11) / 10 for row in range(23)]
    for top_k in range(0, 26, 5):
        for cut in (0.0, 0.35, 0.7, 1.1):
            chosen = select(scores(*values), top_k=top_k, threshold=cut, threshold_on=RAW)
            assert sorted(chosen.kept + chosen.dropped) == list(range(23))
            assert all(values[row] >= cut for row in chosen.kept)
            assert not top_k or len(chosen.kept) <= top_k


def dropped_in_flight(*values: float, at: tuple, skilled: bool = True) -> Scores:
    return replace(scores(*values, skilled=skilled), dropped_at=at)


def test_rows_dropped_in_flight_never_pass_whatever_the_limits():
    flown = dropped_in_flight(0.9, 0.8, 0.7, 0.6, at=("20%", None, None, "20%"))
    for limits in ({}, {"top_k": 4}, {"threshold": 0.0, "threshold_on": RAW}):
        chosen = select(flown, **limits)
        assert (chosen.kept, chosen.dropped) == ((1, 2), (0, 3))
        assert "Kept all 2" in chosen.reason and "Of the whole batch of 4, 2 had been dropped" in chosen.reason
    assert select(flown, top_k=1).kept == (1,)


def test_an_unskilled_score_does_not_bring_rows_back_that_were_dropped_in_flight():
    chosen = select(dropped_in_flight(0.9, 0.8, at=("step 5", None), skilled=False), top_k=1)
    assert (chosen.kept, chosen.dropped) == ((1,), (0,)) and "at step 5" in chosen.reason


def test_when_all_were_dropped_in_flight_none_is_kept():
    chosen = select(dropped_in_flight(0.9, 0.8, at=("20%", "20%")))
    assert chosen.kept == () and chosen.reason.startswith("Kept none.")
