"""Scores and selections as the user reads them."""

import json

from diffusion_probe.engine.core.scores import Scores, SeedName
from diffusion_probe.engine.core.seed_list import seed_list
from diffusion_probe.engine.selection.report import (
    image_scores_report,
    image_scores_text,
    score_report,
    score_text,
    seeds_text,
    selection_report,
    selection_text,
)
from diffusion_probe.engine.selection.select import select

SCORES = Scores(
    (0.25, 0.75, 0.5),
    (SeedName(2**63 + 1), SeedName(8), SeedName(9)),
    "preview",
    "quality",
    "20%",
    5,
    skilled=True,
    exact_continuation=False,
    sampler="sample_dpmpp_2m",
    model_rows=30,
)


def test_the_report_is_json_and_keeps_64_bit_seeds_exact():
    report = json.loads(json.dumps(score_report(SCORES)))
    assert report["rows"][0] == {
        "row": 0, "seed": "9223372036854775809", "score": 0.25, "rank": 3, "percentile_in_batch": 0.0,
    }  # fmt: skip
    assert (report["probe"], report["label"], report["moment"], report["step"]) == ("preview", "quality", "20%", 5)
    assert report["model_rows"] == 30


def test_the_text_lists_the_best_first():
    lines = score_text(SCORES).splitlines()
    assert "higher is better" in lines[0]
    assert lines[1] == "1. 0.75  seed 8  (row 1)"


def test_an_unskilled_score_says_so_in_the_text():
    unskilled = Scores((0.5,), (SeedName(1),), "focus", "focus", "20%", 5, skilled=False)
    assert "no measured skill" in score_text(unskilled)


def test_the_filter_warns_where_a_cut_run_ends_elsewhere():
    chosen = select(SCORES, top_k=1)
    assert "dpmpp_2m does not continue exactly" in selection_text(chosen, SCORES)
    assert selection_report(chosen, SCORES)["kept"][0]["seed"] == "8"
    assert "dpmpp_2m" in selection_report(chosen, SCORES)["continuation"]


def test_no_warning_for_exact_or_unknown_samplers():
    for exact in (True, None):
        scores = Scores((0.5,), (SeedName(1),), "p", "q", "20%", 5, True, exact_continuation=exact)
        assert "exactly" not in selection_text(select(scores), scores)


def test_seeds_can_be_pasted_into_seed_batch():
    assert seed_list(0, 1, seeds_text(SCORES)) == [2**63 + 1, 8, 9]


def test_scores_of_finished_images_are_listed_best_first():
    assert image_scores_text([0.5, -1.25, 2.0], "ImageReward").splitlines() == [
        "ImageReward, higher is better",
        "1. 2  (image 2)",
        "2. 0.5  (image 0)",
        "3. -1.25  (image 1)",
    ]
    report = image_scores_report([0.5, -1.25, 2.0], "ImageReward")
    assert [row["rank"] for row in report["rows"]] == [2, 3, 1] and report["label"] == "ImageReward"
