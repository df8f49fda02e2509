"""The search policy benchmark from its command line, on trajectories made up here."""

import json
import subprocess
import sys

import numpy as np
import pytest

from training.client.paths import PACK_ROOT


@pytest.mark.benchmark
def test_a_short_run_measures_every_policy_within_its_budget(tmp_path):
    rng = np.random.default_rng(0)
    walk = rng.standard_normal((20, 6, 12)).cumsum(axis=0) / np.sqrt(20)
    data = {f"{m}_{s}": walk.astype(np.float16) for m in ("flux", "sdxl") for s in ("preview", "noise_aware")}
    np.savez(tmp_path / "made_up.npz", **data)
    command = [sys.executable, "-m", "benchmarks.search_policy", "--seed", "1", "--splits", "1", "--orders", "1"]
    command += ["--data", str(tmp_path / "made_up.npz"), "--out", str(tmp_path / "out.json")]
    done = subprocess.run(command, cwd=PACK_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out.json").read_text())
    assert {row["policy"] for row in record["rows"]} >= {"random", "best_of_n", "two_cut", "sequential"}
    assert len(record["rows"]) == 2 * 2 * 5 * 8
    assert all(row["nfe"] <= row["budget"] and row["ci"][0] <= row["reward"] <= row["ci"][1] for row in record["rows"])
    # With the truth in view at the end, the mean of 12 walks' best of 2 must show: E[max of 2] = .56 deviations.
    best = {row["policy"]: row["reward"] for row in record["rows"] if row["budget"] == 40 and row["model"] == "flux"}
    assert best["random"] == pytest.approx(walk[-1].mean(), abs=1e-3)
    assert best["best_of_n"] > best["random"] + 0.2
