"""The benchmark of what probes learn from: ever more prompts, measured on others, and not twice."""

import json

import pytest
from diffusion_probe.training.dataset.folder import Dataset, is_validation

from benchmarks import probe_learning


@pytest.fixture
def command(tmp_path, record):
    folder = record(tmp_path / "data", prompts=40)
    return [str(folder), "--labels", "reward", "--seed", "1", "--out", str(tmp_path / "out.json")]


def test_probes_learn_from_ever_more_images_and_are_measured_on_validation_prompts(command, tmp_path, capsys):
    arguments = [*command, "--what", "images", "--steps", '{"activation ranker": 2}']
    assert probe_learning.main(arguments) == 0
    found = json.loads((tmp_path / "out.json").read_text())["trainings"]
    dataset = Dataset(tmp_path / "data")
    kept_apart = [run for run in dataset.runs if is_validation(run.prompt)]
    images = [row["images"] for row in found.values()]
    assert images == sorted(set(images)) and len(images) == len(probe_learning.SHARES)
    assert images[-1] == sum(len(run.seeds) for run in dataset.runs) - sum(len(run.seeds) for run in kept_apart)
    assert {rho["prompts"] for row in found.values() for rho in row["moments"].values()} == {len(kept_apart)}
    capsys.readouterr()
    assert probe_learning.main(arguments) == 0 and capsys.readouterr().out == ""


def test_every_ablation_takes_one_thing_away_from_a_probe_that_is_measured_whole(command, tmp_path):
    dataset = Dataset(tmp_path / "data")
    recipes = {kind: probe_learning.Recipe(kind, ("reward", "other")) for kind in probe_learning.STEPS}
    found = probe_learning.without_parts(dataset, dataset.runs, recipes)
    for name, (recipe, _) in found.items():
        whole = found[name.split(", ")[0]][0]
        different = {part for part in vars(whole) if getattr(whole, part) != getattr(recipe, part)}
        assert (name in recipes) == (not different) and len(different - {"others"} or different) <= 1


def test_an_attention_cnn_is_measured_on_another_family_with_as_many_blocks(command, tmp_path, record):
    record(tmp_path / "other", prompts=40, seed=1, family="SDXL")
    arguments = [*command, "--what", "families", "--onto", str(tmp_path / "other")]
    small = ["--steps", '{"attention cnn": 2}', "--networks", '{"attention cnn": {"widths": [16, 32], "layers": 1}}']
    assert probe_learning.main([*arguments, *small]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    row = found["trainings"]["attention cnn"]
    assert found["settings"]["onto"] == "SDXL" and row["moments"].keys() == row["onto"].keys()
    assert row["moments"] != row["onto"]
    assert probe_learning.evenly(4, 6) == (0, 2, 3, 5) and probe_learning.evenly(4, 4) == (0, 1, 2, 3)


def test_another_family_without_its_dataset_is_refused(command):
    with pytest.raises(SystemExit):
        probe_learning.main([*command, "--what", "families"])
