"""The accuracy benchmark: what it takes up again, and what it doesn't."""

import json

import pytest

from benchmarks import probe_accuracy


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Runs the command on one prompt, looking at one evaluation; the steps of its rows."""
    monkeypatch.setattr(probe_accuracy, "OUTPUT", tmp_path)
    monkeypatch.setattr(probe_accuracy.scoring_cost, "measure", lambda *given: {"probes": {}})
    out = tmp_path / "out.json"

    def run(step):
        arguments = ["--model", "flux", "--seed", "3", "--prompts", "1", "--seeds", "8", "--previews-on", "0"]
        assert probe_accuracy.main([*arguments, "--steps", str(step), "--out", str(out)]) == 0
        return {row["step"] for row in json.loads(out.read_text())["rows"]}

    return run


@pytest.mark.benchmark
def test_a_run_with_other_evaluations_is_measured_anew_and_the_same_one_is_not(measured, capsys):
    assert measured(1) == {1}
    assert measured(2) == {2}
    assert "already measured" not in capsys.readouterr().out
    assert measured(2) == {2}
    assert "1 prompts were already measured" in capsys.readouterr().out
