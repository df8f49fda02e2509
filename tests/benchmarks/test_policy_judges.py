"""The comparison of search policies under other rewards, on trajectories made up here."""

import json

import numpy as np
import pytest

from benchmarks import policy_judges
from benchmarks.judges import KINDS, MODELS, REWARDS

PROMPTS, IMAGES = 12, 16


def made_up(path):
    """Walks to the finished reward; SDXL's noise-aware looks begin at the fourth evaluation."""
    rng, data = np.random.default_rng(0), {}
    for model in MODELS:
        for reward in REWARDS:
            walk = rng.standard_normal((20, PROMPTS, IMAGES)).cumsum(0) / np.sqrt(20)
            data[f"{model}_{reward}_preview"], data[f"{model}_{reward}_preview_steps"] = walk, np.arange(20)
            first = 3 if model == "sdxl" else 0
            data[f"{model}_{reward}_noise_aware"] = walk[first:15]
            data[f"{model}_{reward}_noise_aware_steps"] = np.arange(first, 15)
    np.savez(path, **data)
    return data


@pytest.mark.benchmark
def test_policies_are_compared_on_the_prompts_that_nothing_was_tuned_on(tmp_path):
    made_up(tmp_path / "data.npz")
    out = tmp_path / "out.json"
    command = ["--data", str(tmp_path / "data.npz"), "--seed", "1", "--orders", "1", "--budgets", "40"]
    assert policy_judges.main([*command, "--out", str(out)]) == 0
    record = json.loads(out.read_text())
    assert record["prompts"] == PROMPTS // 2
    assert len(record["rows"]) == len(MODELS) * 3 * len(KINDS) * len(policy_judges.SEARCHES)
    for row in record["rows"]:
        assert row["ci"][0] <= row["over_two_cut"] <= row["ci"][1] and row["looks"] > 0
    whole = [row for row in record["averages"] if "by" not in row and "scores" not in row]
    for average in whole:
        own = [row["over_two_cut"] for row in record["rows"] if row["policy"] == average["policy"]]
        assert average["over_two_cut"] == pytest.approx(np.mean(own), abs=1e-4) and average["cells"] == len(own)
        assert average["at_or_above"] == sum(gain >= 0 for gain in own)


def test_looks_that_were_not_recorded_are_missing_and_finals_have_unit_spread(tmp_path):
    data, design = made_up(tmp_path / "data.npz"), slice(0, PROMPTS // 2)
    looks = policy_judges.looks_of(data, "sdxl", "mean", "noise_aware", design)
    assert np.isnan(looks[:3]).all() and np.isfinite(looks[3:]).all()
    assert np.isfinite(policy_judges.looks_of(data, "sdxl", "hps", "preview", design)).all()
    for reward in ("hps", "mean"):
        final = policy_judges.finals_of(data, "sdxl", reward, design)
        assert final[design].std(-1).mean() == pytest.approx(1)
