"""TC-Padé Cache beside the predictors that it is compared with, on the trained testbed."""

import pytest
from diffusion_probe.engine.step_cache.config import StepCacheConfig
from diffusion_probe.engine.step_cache.hook import apply_step_cache

from benchmarks.lib import candidates
from benchmarks.lib.peers import PUBLISHED, unbounded
from benchmarks.step_cache import Bench, relative


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
