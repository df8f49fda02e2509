"""A trained probe and previews as one: the best linear forecast, only of what belongs together."""

import numpy as np
import pytest
from diffusion_probe.engine.core.skill import PREVIEW, PREVIEW_SPREAD, Skill, combine


def test_weights_are_those_of_least_squares_when_errors_are_independent():
    draw = np.random.default_rng(0).standard_normal
    final, many = draw(400_000), 400_000
    scores = np.stack([0.3 * (final + 2.0 * draw(many)), 5.0 * (final + 0.7 * draw(many))])
    skills = [Skill((0.2,), (float(np.corrcoef(score, final)[0, 1]),), (float(score.std()),)) for score in scores]
    (weights,), together = combine(*skills)
    expected = np.linalg.lstsq(scores.T, final, rcond=None)[0]
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=0.02)
    assert together.spread[0] == pytest.approx(np.std(np.array(weights) @ scores), rel=0.01)
    assert together.correlation[0] == pytest.approx(np.corrcoef(np.array(weights) @ scores, final)[0, 1], abs=0.005)


def test_a_score_without_skill_weighs_nothing():
    (weights,), together = combine(Skill((0.2,), (0.5,), (1.0,)), Skill((0.2,), (0.0,), (1.0,)))
    assert sum(weights) == 1 and weights[1] < 1e-4 and together.correlation[0] == pytest.approx(0.5)


def test_a_skill_without_spread_can_not_be_combined():
    assert len(PREVIEW_SPREAD) == len(PREVIEW.progress)
    with pytest.raises(ValueError, match="spread"):
        combine(PREVIEW, PREVIEW)
