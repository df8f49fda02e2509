"""TC-Padé Cache beside the predictors that it is compared with, on the trained testbed."""

import math

import pytest
import torch
from diffusion_probe.engine.step_cache.config import StepCacheConfig
from diffusion_probe.engine.step_cache.hook import apply_step_cache

from benchmarks.lib import candidates
from benchmarks.lib.peers import PUBLISHED, as_published, unbounded, with_published_parts
from benchmarks.step_cache import Bench, relative


def test_tc_pade_has_all_its_parts_and_its_printed_coefficients():
    config, own = as_published(6), with_published_parts(6)
    assert (config.early, config.veto, config.even, config.interval) == ("reuse", 0.7, True, 6)
    assert config.beta == own.beta > 0 and own.predictor == "pade11" and own.damping > 0 and own.veto == 0.7
    older, newer = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    stability = math.exp(-10 * 5 / 5)
    expected = (2 * stability * older - stability * newer) / (1 + stability / 10 * older) - newer
    torch.testing.assert_close(config.predictor.displacement([(2.0, newer), (1.0, older)], 1.0), expected)


@pytest.mark.long
def test_on_the_trained_testbed_pade_beats_reuse_and_the_published_formula_does_not():
    """Median over training prompts: single images may tip over to another composition."""
    testbed = candidates.Testbed.load("flux")
    bench = Bench(testbed, testbed.prompts(6, 3, "train"), range(50, 56))
    full = bench.sample(testbed.model, 20).latents
    error = {
        name: float(relative(bench.sample(apply_step_cache(testbed.model, config), 20).latents, full, 0).median())
        for name, config in {
            "reuse": StepCacheConfig(predictor="reuse"),
            "pade11": StepCacheConfig(),
            "published": unbounded(PUBLISHED, 3),
        }.items()
    }
    assert error["pade11"] < 0.7 * error["reuse"] and error["published"] > error["reuse"], error
