"""The seed search benchmark: trained probes from files beside the others, wordings, and real dimensions."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusion_probe.dev.random_models import random_flux
from diffusion_probe.probe_models.probe_file import KINDS
from torch._subclasses import FakeTensorMode

from benchmarks import scoring_cost, seed_search
from benchmarks.lib import candidates, prompt_search, search_probes, search_timing
from benchmarks.lib.real_size import RealSize
from benchmarks.lib.search_real_size import Runs, compare, tensor_bytes

pytestmark = pytest.mark.benchmark

SEED = 71
SMALL = RealSize("a small FLUX", random_flux, latent=(16, 8, 12), text={}, cfg=1.0, options={})


@pytest.fixture(scope="module")
def testbed():
    return candidates.Testbed.load("flux")


@pytest.fixture
def searchers(tmp_path, write_probe, monkeypatch):
    """All probes of the FLUX testbed, and one from a file; recorded scores go to a folder of this test."""
    write_probe(tmp_path / "faces.safetensors")
    monkeypatch.setattr(candidates, "OUTPUT", tmp_path)
    monkeypatch.setattr(search_probes, "PROBES", tmp_path / "none")
    return search_probes.searchers("flux", [tmp_path / "faces.safetensors"])


def test_a_trained_probe_has_its_rows_with_the_scores_that_a_search_sees(testbed, searchers, monkeypatch):
    monkeypatch.setattr(seed_search, "N", 4)
    prompts = testbed.prompts(1, SEED, "train")
    truth, scores = seed_search.record(testbed, prompts, SEED, searchers)
    found = seed_search.methods(truth, scores, SEED, searchers)
    named = {"one cut at 20 %, faces", "sequential, faces", "sequential, faces, true-score finish"}
    assert named | {"one cut at 20 %, focus", "sequential, preview"} <= set(found)
    assert all(set(row) >= {"score", "over_random_ci"} for row in seed_search.rows_of(found, truth, SEED))
    runs = search_timing.Runs(testbed, prompts[0], candidates.candidate_seeds(SEED, 0, seed_search.N))
    timed = search_timing.todo(runs, searchers, seed_search.N)
    assert set(found) - set(timed) == {"best of n at equal rows"}
    outcome = timed["one cut at 20 %, faces"]()
    assert outcome.model_rows == found["one cut at 20 %, faces"][1][0]
    early = [dict(each.scores)[5] for each in outcome.candidates]
    np.testing.assert_allclose(scores["faces"][0, 4], early, atol=1e-4)
    assert np.isnan(scores["faces"][0, 0]).all() and np.std(early) > 1e-3


def test_wordings_are_chosen_by_each_probe(testbed, searchers, monkeypatch):
    monkeypatch.setattr(prompt_search, "SEEDS", 1)
    found = prompt_search.measure(testbed, 1, SEED, searchers)
    assert [row["probe"] for row in found["rows"]] == ["preview", "focus", "faces"]
    assert found["wordings"] == 4 and found["rows_fewer"] == 2.5 and found["chance"] >= 0.25


def test_the_true_score_picks_the_better_wording_and_a_constant_one_by_chance():
    truth = np.random.default_rng(0).random((300, 4, 2))
    means = truth.mean(axis=2, keepdims=True)
    best = (means == means.max(axis=1, keepdims=True))[..., 0]
    sure = prompt_search.picked("", np.broadcast_to(means, truth.shape), truth, best, 0)
    assert sure["picks_better"] == 1 and sure["over_chance"] == 0.75
    blind = prompt_search.picked("", np.zeros_like(truth), truth, best, 0)
    assert blind["over_chance_ci"][0] < 0 < blind["over_chance_ci"][1]


def test_files_that_are_no_probe_and_names_that_occur_twice_are_refused(tmp_path, write_probe):
    (tmp_path / "other").mkdir()
    files = [tmp_path / "faces.safetensors", tmp_path / "other" / "faces.safetensors"]
    for path in files:
        write_probe(path)
    with pytest.raises(SystemExit, match="two probes are called faces"):
        search_probes.searchers("flux", files)
    files[0].write_bytes(b"nothing")
    with pytest.raises(SystemExit, match="faces.safetensors is no safetensors file"):
        search_probes.searchers("flux", files[:1])


def test_probes_that_come_with_the_testbed_are_measured_unasked(tmp_path, write_probe, monkeypatch):
    monkeypatch.setattr(search_probes, "PROBES", tmp_path)
    (tmp_path / "flux").mkdir()
    write_probe(tmp_path / "flux" / "joint.safetensors")
    assert [one.name for one in search_probes.searchers("flux", [])] == ["focus", "preview", "joint"]
    assert [one.name for one in search_probes.searchers("sdxl", [])] == ["focus", "preview"]


def test_a_joint_probe_is_measured_together_with_previews_too(testbed):
    found = {one.name: one for one in search_probes.searchers("flux", [])}
    joint, preview, both = found["joint"], found["preview"], found["joint with preview"]
    assert all(both.skill.correlation[at] > joint.skill.correlation[at] for at in range(len(both.skill.correlation)))
    prompt = testbed.prompts(1, SEED, "train")[0]
    seen = [search_probes.early_scores(testbed, one, prompt, [1, 2, 3], [5])[5] for one in (joint, preview, both)]
    share = [(b - p) / (j - p) for j, p, b in zip(*seen)]
    assert max(share) - min(share) < 1e-3 and 0 < share[0] < 1


def test_real_size_compares_the_engine_with_a_plain_batch():
    found = compare(Runs(SMALL, candidates=3, seed=1, steps=6), rounds=1)
    assert found["model_rows"] == 3 * 6
    assert max(found["difference_from_alone"].values()) < 1e-5
    latent = torch.zeros(SMALL.latent).nbytes / 2**20
    assert latent < found["suspended_mb"]["cpu"] < 40 * latent


def test_all_tensors_are_counted_once():
    before = tensor_bytes()["cpu"]
    held = torch.zeros(1000)
    view = held[:10]
    assert tensor_bytes()["cpu"] - before == 4000
    del held, view
    assert tensor_bytes()["cpu"] == before
    with FakeTensorMode():
        traced = torch.zeros(1000)
    assert tensor_bytes()["cpu"] == before
    del traced


def test_real_size_without_a_gpu_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.lib.real_size.on_gpu", lambda: False)
    with pytest.raises(SystemExit, match="--real-size needs a GPU with CUDA"):
        seed_search.main(["--model", "flux", "--seed", "1", "--real-size", "--out", str(tmp_path / "out.json")])
    assert not list(tmp_path.iterdir())


def test_candidates_can_be_sampled_in_another_number_of_steps_and_size(testbed):
    prompt = testbed.prompts(1, SEED, "train")[0]
    found = testbed.candidates(prompt, [1, 2], [2], steps=4, size=(96, 160))
    assert [row.percent for row in found.features[2]] == [pytest.approx(0.25)] * 2
    assert found.features[2][0].denoised.shape[-2:] == (12, 20)


def test_scoring_at_real_size_is_timed_for_every_kind_of_network(monkeypatch, tmp_path):
    monkeypatch.setattr(scoring_cost, "REAL_SIZES", {"flux": SMALL})
    monkeypatch.setattr(scoring_cost, "WORDS", 5)
    assert (
        scoring_cost.main(["--model", "flux", "--seed", "1", "--rounds", "1", "--out", str(tmp_path / "out.json")]) == 0
    )
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["probes"].keys() == {"focus", *KINDS}
    for cost in found["probes"].values():
        assert cost["share_of_partial_run"] == pytest.approx(
            cost["ms_per_row"] / 1000 / found["partial_run_seconds"], rel=1e-4
        )
    assert found["captured"]["latent"] == list(SMALL.latent) and found["captured"]["activation"][0] == 48


def test_scoring_is_timed_beside_sampling(testbed):
    idle = SimpleNamespace(score=lambda rows: rows)
    made = {"nothing": lambda testbed, prompt: idle, "preview": search_probes.PREVIEW.make}
    found = scoring_cost.measure(testbed, SEED, 2, made, None)
    assert found["probes"].keys() == made.keys()
    for row in found["probes"].values():
        share = row["ms_per_row"] * 2 / 1000 / found["partial_run_seconds"]
        assert row["share_of_partial_run"] == pytest.approx(share) and row["ms_per_row"] > 0
