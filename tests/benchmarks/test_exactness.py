"""Beside a core node of each kind the pack's image is stock's: the short form of ``benchmarks.exactness``."""

import json
from itertools import chain

import pytest
import torch

from benchmarks import exactness
from benchmarks.lib.exactness_models import FLUX, SDXL, NodeInputs
from benchmarks.lib.exactness_nodes import LEFT_OUT, USES, use_of
from benchmarks.lib.exactness_registry import patching_nodes
from benchmarks.lib.exactness_ways import Comparison, Way
from dev.test import EXACTNESS

pytestmark = pytest.mark.benchmark

CHECKED = [
    ("CFGOverride", FLUX),  # a wrapper around the whole evaluation
    ("DifferentialDiffusion", FLUX),  # a mask that changes with the step
    ("EasyCache", FLUX),  # a cache that is told the conds of a call
    ("LoraLoaderBypassModelOnly", FLUX),  # modules whose forward is replaced while it runs
    ("ModelMergeSimple", FLUX),  # weights
    ("ModelSamplingSD3", FLUX),  # another schedule
    ("RescaleCFG", FLUX),  # guidance, row by row
    ("PerturbedAttentionGuidance", SDXL),  # a call of its own for every evaluation
]
"""What is tried on every run of the tests; the benchmark tries all."""


@pytest.fixture(scope="module")
def inputs():
    with torch.inference_mode():
        yield {name: NodeInputs(name, seed=0) for name in (FLUX, SDXL)}


@torch.inference_mode()
def rows_of(inputs, node):
    with exactness.quiet():
        (rows,) = exactness.rows_of([node], inputs)
    return rows


@pytest.mark.parametrize(("node", "model"), CHECKED)
def test_beside_a_core_node_every_way_gives_the_stock_image(inputs, node, model):
    rows = rows_of(inputs[model], node)
    assert {row["way"] for row in rows} == set(exactness.WAYS)
    assert {row["verdict"] for row in rows} == {exactness.EXACT}, rows


def test_the_long_run_of_the_tests_tries_every_model():
    assert sorted(chain(*EXACTNESS)) == sorted((*exactness.MODELS, *exactness.homes()))


def test_every_core_node_that_patches_a_model_is_tried_or_left_out_for_a_reason():
    found = set(patching_nodes())
    assert {name for name in found if use_of(name) is None} == set(LEFT_OUT)
    assert set(USES) | set(LEFT_OUT) <= found, "what core has no more"
    assert not set(USES) & set(LEFT_OUT) and all(LEFT_OUT.values())


def unlike_stock(trial, order):
    return Comparison(1e-3)


def refusing(trial, order):
    raise ValueError("Seed Search: This MODEL keeps something between calls. Remove it.")


def with_failed_runs(trial, order):
    raise ValueError("Seed Search: No candidate was finished, 3 of 3 failed: seed 5: 'patches'")


def with_a_raw_error(trial, order):
    raise KeyError("patches")


def leaving_a_forward(trial, order):
    diffusion_model = trial.plain().model.diffusion_model
    diffusion_model.forward = diffusion_model.forward
    return Comparison(0.0)


@pytest.mark.parametrize(
    ("run", "verdict", "said"),
    [
        (unlike_stock, exactness.DIFFERS, None),
        (refusing, exactness.REFUSED, "keeps something between calls"),
        (with_failed_runs, exactness.FAILS, None),
        (with_a_raw_error, exactness.FAILS, None),
        (leaving_a_forward, exactness.FAILS, None),
    ],
)
def test_what_is_not_stock_is_said_and_only_a_sentence_is_a_refusal(inputs, monkeypatch, run, verdict, said):
    monkeypatch.setattr(exactness, "WAYS", {"Seed Search": Way(run, 1e-5, ("before",))})
    (row,) = rows_of(inputs[FLUX], "CFGNorm")
    assert row["verdict"] == verdict and (said is None) == (row["refused"] is None)
    assert said is None or said in row["refused"]
    assert bool(row["left"]) == (run is leaving_a_forward)


def test_a_core_node_that_nobody_has_listed_is_a_row_of_its_own(inputs, monkeypatch):
    monkeypatch.delitem(USES, "CFGNorm")
    assert [row["verdict"] for row in rows_of(inputs[FLUX], "CFGNorm")] == [exactness.UNKNOWN]


def test_the_benchmark_writes_a_row_for_each_node_model_way_and_order(tmp_path, monkeypatch, capsys):
    out, ways = tmp_path / "found.json", {"idle cache": exactness.WAYS["idle cache"]}
    monkeypatch.setattr(exactness, "WAYS", ways)
    assert exactness.main(["--out", str(out), "--only", "CFGNorm", "wanBlockSwap", "--model", FLUX]) == 0
    written = json.loads(out.read_text())
    cells = [(row["node"], row["model"], row["way"], row["order"]) for row in written["rows"]]
    nodes = ("CFGNorm", "wanBlockSwap")
    assert cells == [(node, FLUX, "idle cache", order) for node in nodes for order in ("before", "after")]
    assert written["no_effect"] == ["wanBlockSwap"] and written["rows"][0]["effect"] > 1e-3
    assert all(row["difference"] == 0 and row["refused"] is None for row in written["rows"])
    assert "CFGNorm" in capsys.readouterr().out
