"""The table of a measurement, on made-up prompts."""

import numpy as np
import pytest
from diffusion_probe.training.metrics import accuracy

STEPS = [1, 5]


def lines(prompts: int = 60, noise: float = 1.0) -> list[dict]:
    """Prompts of different hardness; ``probe`` sees the truth through noise, on the first half only."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(prompts):
        truth = rng.normal() + rng.normal(size=20)
        scores = truth[:16] + noise * rng.normal(size=16)
        seen = {"probe": {str(step): scores.tolist() for step in STEPS}} if number < prompts / 2 else {}
        made.append({"truth": truth[:16].tolist(), "others": truth[16:].tolist(), "scores": seen})
    return made


def row(rows: list[dict], probe: str, step: int = 5) -> dict:
    return next(row for row in rows if (row["probe"], row["step"]) == (probe, step))


def test_every_step_has_the_probe_and_every_baseline():
    rows = accuracy.rows_of(lines(), STEPS, 25, seed=0)
    names = {"probe", "random", "text-only", "best-of-n", "oracle"}
    assert {(r["probe"], r["step"]) for r in rows} == {(name, step) for name in names for step in STEPS}


def test_baselines_are_where_they_belong():
    rows = accuracy.rows_of(lines(), STEPS, 25, seed=0)
    assert row(rows, "oracle")["within_spearman"] == pytest.approx(1)
    assert row(rows, "oracle")["oracle_share"] == pytest.approx(1)
    for blind in ("random", "text-only"):
        low, high = row(rows, blind)["within_ci"]
        assert low < 0 < high
    assert row(rows, "text-only")["srcc"] > 0.4
    assert 0.4 < row(rows, "probe")["within_spearman"] < 0.9


def test_a_probe_measured_on_some_prompts_says_on_how_many():
    rows = accuracy.rows_of(lines(), STEPS, 25, seed=0)
    assert row(rows, "probe")["prompts"] == 30 and row(rows, "random")["prompts"] == 60


def test_equal_cost_counts_the_candidates_that_are_cut_and_the_one_that_goes_on():
    assert accuracy.equal_cost_n(5, 25) == pytest.approx((8 * 5 + 20) / 25)
    assert accuracy.equal_cost_n(25, 25) == 8
    rows = accuracy.rows_of(lines(), STEPS, 25, seed=0)
    assert row(rows, "best-of-n")["n"] == pytest.approx(2.4)
    assert row(rows, "best-of-n", 1)["oracle_share"] < row(rows, "best-of-n", 5)["oracle_share"]


def test_an_oracle_beats_best_of_n_at_equal_cost_and_a_blind_probe_does_not():
    rows = accuracy.rows_of(lines(noise=0), STEPS, 25, seed=0)
    assert row(rows, "probe")["share_over_best_of_n_ci"][0] > 0
    assert row(rows, "random")["share_over_best_of_n_ci"][1] < 0


def test_probes_are_compared_pairwise_with_the_reference_on_the_prompts_of_both():
    made = lines()
    for line in made[:20]:
        line["scores"]["preview"] = {
            key: (-np.array(values)).tolist() for key, values in line["scores"]["probe"].items()
        }
    rows = accuracy.rows_of(made, STEPS, 25, seed=0)
    assert row(rows, "probe")["within_spearman_over_preview_ci"][0] > 0
    assert row(rows, "probe")["oracle_share_over_preview"] > 0
    assert "within_spearman_over_preview" not in row(rows, "preview")


def test_the_table_leaves_out_what_is_not_known():
    text = accuracy.table([row(accuracy.rows_of(lines(), STEPS, 25, seed=0), "best-of-n")])
    assert text.splitlines()[-1].startswith("| 5 | best-of-n |  | 0.")
