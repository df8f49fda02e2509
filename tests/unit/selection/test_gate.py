"""When a gate lets a batch pass."""

import math

import numpy as np
import pytest
from diffusion_probe.engine.core.calibration import percentile_of_calibration
from diffusion_probe.engine.core.scores import Scores, SeedName
from diffusion_probe.engine.selection.gate import BEST, CALIBRATION, FIRST, MEAN, WORST, decide
from diffusion_probe.engine.selection.select import PERCENTILE, RAW

TENTHS = tuple(number / 10 for number in range(11))


def scores(*values: float, **more) -> Scores:
    names = tuple(SeedName(seed) for seed in range(len(values)))
    return Scores(values, names, "a probe", "quality", "20%", 5, **{"skilled": True, **more})


@pytest.mark.parametrize(("rows", "score"), [(BEST, 0.9), (MEAN, 0.5), (WORST, 0.2), (FIRST, 0.4)])
def test_the_row_asked_for_counts_and_exactly_on_the_threshold_passes(rows, score):
    batch = scores(0.4, 0.9, 0.2)
    at = decide(batch, score, RAW, rows)
    assert at.passed and at.score == pytest.approx(score) and rows in at.reason and "≥" in at.reason
    above = decide(batch, math.nextafter(at.score, 1), RAW, rows)
    assert not above.passed and above.reason.startswith("Not passed") and "<" in above.reason


def test_the_percentile_of_a_score_is_the_share_of_calibration_scores_below_it():
    sample = np.random.default_rng(0).normal(size=20_001)
    quantiles = tuple(np.quantile(sample, np.linspace(0, 1, 101)))
    for value in (-2.5, -0.3, 0.0, 1.2):
        assert percentile_of_calibration(value, quantiles) == pytest.approx(100 * (sample < value).mean(), abs=0.2)
    assert percentile_of_calibration(-99, quantiles) == 0 and percentile_of_calibration(99, quantiles) == 100


def test_a_score_that_many_calibration_images_share_lies_in_their_middle():
    assert percentile_of_calibration(1.0, (0.0, 1.0, 1.0, 1.0, 2.0)) == 50
    assert percentile_of_calibration(0.0, (0.0, 0.0, 0.0, 1.0, 2.0)) == 25


def test_a_calibration_that_is_not_sorted_is_refused():
    with pytest.raises(ValueError, match="calibration of a probe is not sorted"):
        scores(0.5, calibration=(0.3, 0.1, 0.2))


def test_a_gate_on_the_calibration_compares_the_percentile_and_tells_the_raw_score():
    batch = scores(3.0, 7.2, calibration=tuple(10 * value for value in TENTHS))
    passed = decide(batch, 72, CALIBRATION)
    assert passed.passed and passed.score == 7.2 and passed.measured == pytest.approx(72)
    assert not decide(batch, 73, CALIBRATION).passed
    assert decide(batch, 0, CALIBRATION, MEAN).measured == pytest.approx(51)


def test_the_first_row_can_be_ranked_among_the_others():
    batch = scores(0.5, 0.9, 0.1, 0.2, 0.3)
    assert decide(batch, 75, PERCENTILE, FIRST).passed
    assert not decide(batch, 76, PERCENTILE, FIRST).passed


def test_a_score_without_skill_lets_pass_and_says_so_unless_told_to_block():
    batch = scores(0.1, skilled=False)
    decision = decide(batch, 0.5)
    assert decision.passed and "no measured skill" in decision.reason and "use anyway" in decision.reason
    assert not decide(batch, 0.5, use_unskilled=True).passed


@pytest.mark.parametrize(
    ("batch", "setting", "says"),
    [
        (scores(0.5), (50, CALIBRATION), 'a probe has no calibration.*Set threshold on to "raw score"'),
        (scores(0.5, calibration=(0.1,)), (50, CALIBRATION), "no calibration"),
        (scores(0.5, calibration=TENTHS), (101, CALIBRATION), "between 0 and 100.*Enter"),
        (scores(0.5, 0.6), (-1, PERCENTILE, FIRST), "between 0 and 100"),
        (scores(0.5, 0.6), (50, PERCENTILE, BEST), 'best row of 2 has the same percentile.*Set rows to "first row"'),
        (scores(0.5), (50, PERCENTILE, FIRST), "first row of 1 has the same percentile.*score two rows"),
        (scores(0.5), (float("nan"),), "The threshold is nan"),
        (scores(0.5), (0.5, "rank"), 'threshold on is "rank".*It takes "raw score"'),
        (scores(0.5), (0.5, RAW, "median"), 'rows is "median".*It takes "best row"'),
        (scores(0.5, float("nan")), (0.5,), "Row 1 of 2 has no score"),
        (scores(), (0.5,), "there are no scores"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_fix(batch, setting, says):
    with pytest.raises(ValueError, match=says):
        decide(batch, *setting)
