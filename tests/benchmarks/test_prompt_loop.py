"""Benchmark of the prompt loop: its wordings, its page, and a short run."""

import json
import random
import subprocess
import sys

import pytest
from diffusion_probe.testbed.scenes import parse_prompt

from benchmarks.lib.pages.prompt_loop import loop_reading, loop_table
from benchmarks.prompt_loop import METHODS, Wording, new_wording, rows_of
from training.client.paths import PACK_ROOT

SCENE = parse_prompt("a small red circle above a large blue square and to the left of a small green cross")
WHOLE = Wording((True, True, True))


def test_a_wording_says_a_part_of_the_scene_or_all_of_it():
    assert WHOLE.text(SCENE) == SCENE.prompt
    assert Wording((True, False, True), (True, True), True).text(SCENE) == (
        "a small red circle to the left of a small green cross and above a blue square"
    )
    assert Wording((False,) * 3, (False, True)).text(SCENE) == (
        "a red circle and a blue square and to the left of a green cross"
    )


def test_a_rewrite_is_one_change_away_and_new():
    rng = random.Random(0)
    known, wording = {WHOLE.text(SCENE)}, WHOLE
    for _ in range(20):
        wording = new_wording(WHOLE, SCENE, known, rng)
        assert wording.text(SCENE) not in known
        known.add(wording.text(SCENE))
    differences = [WHOLE.changed(rng) for _ in range(50)]
    for each in differences:
        changed = sum(a != b for a, b in zip((*WHOLE.sizes, *WHOLE.relations, WHOLE.swapped),
                                             (*each.sizes, *each.relations, each.swapped)))  # fmt: skip
        assert changed == 1


def test_gains_are_differences_within_scenes_and_the_page_reads_their_intervals():
    lines = [dict(zip(METHODS, (0.5 + n / 100, 0.4 + n / 100, 0.7 + n / 100, 0.5 + n / 100))) for n in range(10)]
    rows = rows_of(lines, 1)
    assert [row["loop_over_it"] for row in rows] == pytest.approx([0.0, 0.1, -0.2, 0.0])
    better, worse, same = loop_reading({"rows": rows})
    assert "better than that of *random wordings*" in better and "worse than" in worse and "not shown" in same
    assert "| random wordings | 0.445" in str(loop_table({"rows": rows}))


@pytest.mark.benchmark
def test_a_short_run_measures_every_method(tmp_path):
    command = [sys.executable, "-m", "benchmarks.prompt_loop", "--seed", "1", "--scenes", "2", "--rounds", "1"]
    command += ["--seeds", "2", "--out", str(tmp_path / "out.json")]
    done = subprocess.run(command, cwd=PACK_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out.json").read_text())
    assert [row["method"] for row in record["rows"]] == list(METHODS) and 1 <= record["tried"] <= 2
