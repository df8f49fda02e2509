"""Time that a step cache has saved, on a clock that the test moves."""

import pytest
from diffusion_probe.engine.step_cache.times import EvaluationTimes, Saving, saving_text


class Hand:
    """A clock's hand that the test moves."""

    at = 50.0

    def __call__(self):
        return self.at


def times_of(evaluations):
    """Times of a run whose evaluations take so long: (seconds, whether it is computed)."""
    hand = Hand()
    times = EvaluationTimes(hand)
    for seconds, computed in evaluations:
        times.begin()
        times.end(computed)  # a GPU still computes
        hand.at += seconds
    return times


def test_a_predicted_evaluation_saves_what_a_computed_one_takes():
    run = [(9, True), (2, True), (2, True), (0.5, False), (2, True), (0.5, False)]
    took, instead = times_of(run).saving()
    assert took == 16 and instead == pytest.approx(9 + 5 * 2), "the first prepares the device"


def test_a_prediction_that_is_slower_than_the_model_is_said_to_be():
    took, instead = times_of([(1, True), (1, True), (3, False)]).saving()
    assert took == 5 and instead == pytest.approx(3)


@pytest.mark.parametrize("run", [[], [(1, True), (1, True)], [(1, False)]])
def test_a_run_without_predictions_has_saved_nothing(run):
    assert times_of(run).saving() is None


def test_the_line_of_a_run():
    assert saving_text(15, 40, Saving(12.2, 19.4)) == "15 of 40 evaluations predicted: 12 s instead of 19 s"
    assert saving_text(0, 40, None) == "0 of 40 evaluations predicted"
