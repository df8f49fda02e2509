"""The benchmark of the step cache where it needs a GPU, and of cached searches: run small, on the CPU."""

import json

import numpy as np
import pytest
import torch
from diffusion_probe.dev.random_models import random_flux

from benchmarks import step_cache
from benchmarks.capture_overhead import Job
from benchmarks.lib import cached_search, candidates
from benchmarks.lib.search_probes import PREVIEW


@pytest.mark.benchmark
def test_real_size_measures_cost_overhead_and_memory_of_both_spaces(tmp_path, ksampler, monkeypatch):
    model = random_flux(seed=0, scale=1.5, hidden_size=128, depth=1, depth_single_blocks=2)
    job = Job(model, lambda model: ksampler(model, rows=1), {"dimensions": "small"})
    monkeypatch.setattr(step_cache, "real_size_job", lambda name, rows, seed, steps=25: job)
    monkeypatch.setattr(step_cache, "on_gpu", lambda: True)
    command = ["--model", "flux", "--real-size", "--seed", "1", "--out", str(tmp_path / "out.json")]
    assert step_cache.main(command) == 0
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["dimensions"] == "small" and set(record["extra_peak_mb"]) == {"output", "blocks"}
    assert record["cost"]["share"] == pytest.approx(
        record["cost"]["predicted_seconds"] / record["cost"]["computed_seconds"], rel=1e-3
    )
    assert record["overhead"]["bit_identical"] and record["overhead"]["ratio"] > 0


@pytest.mark.benchmark
def test_without_a_gpu_real_size_is_the_cost_of_a_few_steps(tmp_path, ksampler, monkeypatch):
    model = random_flux(seed=0, scale=1.5, hidden_size=128, depth=1, depth_single_blocks=2)
    asked = []
    monkeypatch.setattr(
        step_cache,
        "real_size_job",
        lambda *given: asked.append(given) or Job(model, lambda one: ksampler(one, rows=1), {}),
    )
    step_cache.main(["--model", "flux", "--real-size", "--seed", "1", "--out", str(tmp_path / "out.json")])
    assert asked == [("flux", 1, 1, step_cache.FEW_STEPS)]
    assert {"cost", "overhead"} & json.loads((tmp_path / "out.json").read_text()).keys() == {"cost"}


@pytest.mark.benchmark
def test_what_is_remembered_of_a_batch_that_is_split_is_what_the_model_says(monkeypatch):
    """Conds that don't fit into one call ask the model about the same latent, one after the other."""
    testbed = candidates.Testbed.load("flux")
    bench = step_cache.Bench(testbed, testbed.prompts(2, 3, "train"), [1, 2])
    monkeypatch.setattr(type(testbed.model.model), "memory_required", lambda *args, **kwargs: 1e30)
    with torch.inference_mode():
        plain, first, again = (bench.sample(testbed.model, 4, memory) for memory in (False, True, True))
    assert torch.equal(plain.latents, first.latents) and torch.equal(plain.latents, again.latents)
    assert plain.nfe == again.nfe == 4


@pytest.mark.benchmark
def test_a_cached_search_costs_what_its_survivors_cached_run_leaves_out():
    """One cut of ten at step 5 of 25: 50 steps; of the last 20 every third is computed, from there and from the end."""
    testbed = candidates.Testbed.load("flux")
    rng = np.random.default_rng(0)
    truth, scores = rng.random((2, 10)), np.full((2, 24, 10), np.nan)
    scores[:, 4] = -truth
    prompts = testbed.prompts(2, 3, "train")
    recorded = cached_search.Recorded(testbed, prompts, 3, truth)
    row = cached_search.row(recorded, scores, PREVIEW, "one cut", None, "balanced")
    assert row["uncached_rows"] == 2 * (50 + 20) and row["nfe_rows"] == 2 * (50 + 8)
    assert row["uncached_score"] == pytest.approx(truth.min(axis=1).mean())  # the worst of all scored highest
    assert row["share"] == pytest.approx(row["score"] / row["uncached_score"])
    assert row["rows_fewer"] == pytest.approx(500 / 116)
