"""The benchmark of cross- against self-attention: its maps are an explicit softmax of the model's own q and k."""

import json

import comfy.ldm.flux.math
import pytest
import torch
from diffusion_probe.training.dataset.folder import Dataset, is_validation

from benchmarks import self_attention
from benchmarks.lib import candidates

TOKENS = 64
SEEDS = (3, 4)


@pytest.fixture(scope="module")
def testbed():
    return candidates.Testbed.load("flux")


@pytest.fixture(scope="module")
def seen(testbed):
    """One run's two kinds of maps, and by sigma and block the softmax weights of its positive prompt."""
    weights, attention = {}, comfy.ldm.flux.math.optimized_attention

    def watched(q, k, v, *args, **kwargs):
        options = kwargs["transformer_options"]
        if 0 in options["cond_or_uncond"]:
            chunk = options["cond_or_uncond"].index(0)
            q_rows, k_rows = (x.split(len(SEEDS))[chunk].double() for x in (q, k))
            place = float(options["sigmas"][0]), f"{options['block_type']} {options['block_index']}"
            weights[place] = (q_rows @ k_rows.mT / q.shape[-1] ** 0.5).softmax(-1).mean(1)
        return attention(q, k, v, *args, **kwargs)

    comfy.ldm.flux.math.optimized_attention = watched
    try:
        found = self_attention.both_kinds(testbed, testbed.prompts(1, 5, "train")[0], SEEDS)
    finally:
        comfy.ldm.flux.math.optimized_attention = attention
    return found, weights


def test_self_attention_maps_equal_an_explicit_softmax_of_the_positive_prompts_rows(seen):
    found, weights = seen
    moments = found["self"].moments
    assert [rows[0].step for rows in moments] == list(self_attention.STEPS)
    for rows in moments:
        for number, row in enumerate(rows):
            for block, (received,) in zip(row.blocks, row.attention, strict=True):
                expected = weights[row.sigma, block][number, -TOKENS:, -TOKENS:].sum(0).view(8, 8)
                assert torch.allclose(received.double(), expected, rtol=2e-3, atol=1e-4)
    first, second = (row.attention.float() for row in moments[0])
    assert (first - second).abs().max() > 0.05


def test_what_image_and_text_receive_together_is_all_of_the_attention(seen):
    found, _ = seen
    for rows, instead in zip(found["cross"].moments, found["self"].moments, strict=True):
        for cross, received in zip(rows, instead, strict=True):
            text = cross.attention.double().sum(1).mean((-2, -1))
            image = received.attention.double().sum(1).mean((-2, -1))
            assert torch.allclose(text + image, torch.ones_like(text), atol=2e-3)
            assert 0.05 < text.max() and text.min() < 0.95


@pytest.mark.benchmark
def test_networks_learn_from_datasets_of_one_sampling_which_is_not_done_again(tmp_path, monkeypatch):
    arguments = [
        "--model",
        "flux",
        "--prompts",
        "3",
        "--validation",
        "2",
        "--seeds",
        "2",
        "--steps",
        "1",
        "--seed",
        "1",
    ]
    arguments += ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out.json")]
    assert self_attention.main(arguments) == 0
    written = json.loads((tmp_path / "out.json").read_text())
    assert set(written["within_spearman"]) == set(self_attention.MAPS) and len(written["differences"]) == 3
    cross, received = (Dataset(tmp_path / "data" / kind) for kind in ("cross", "self"))
    assert sum(is_validation(run.prompt) for run in cross.runs) == 2 and len(cross.runs) == 5
    for run, other in zip(cross.runs, received.runs, strict=True):
        assert (run.prompt, run.seeds, run.labels, run.moments) == (
            other.prompt,
            other.seeds,
            other.labels,
            other.moments,
        )
        tensors, others = cross.load(run), received.load(other)
        same = {name.split(".")[-1] for name in tensors if torch.equal(tensors[name], others[name])}
        assert same == {"final", "activation", "latent", "denoised"}  # so maps differ, and words: there are none
    monkeypatch.setattr(self_attention, "both_kinds", None)
    assert self_attention.main(arguments) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == written


def test_a_difference_is_that_of_the_same_prompts():
    rho = {
        "a": {"20%": torch.tensor([0.5, 0.1, float("nan")]).numpy()},
        "b": {"20%": torch.tensor([0.3, 0.2, 0.9]).numpy()},
    }
    found = self_attention.figures(rho, seed=0)
    assert found["differences"]["a - b"]["20%"][0] == pytest.approx(0.05)
    assert found["within_spearman"]["a"]["20%"][0] == pytest.approx(0.3)
