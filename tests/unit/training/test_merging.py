"""``python -m training merge``: datasets of one kind become one, each run once."""

import json
import shutil

import pytest
import torch
from diffusion_probe.training import command
from diffusion_probe.training.dataset.checking import check_dataset
from diffusion_probe.training.dataset.folder import Dataset
from diffusion_probe.training.dataset.merging import MODELS, merge_datasets

from support.recorded import record


@pytest.fixture
def two(tmp_path):
    """Two datasets of one projection: prompts 0 to 3, and others 0 to 3."""
    one, two = record(tmp_path / "one", prompts=4, rows=2), tmp_path / "two"
    two.mkdir()
    shutil.copy(one / "projection.safetensors", two)
    return [one, record(two, prompts=4, rows=2, seed=1, name="other")]


def test_all_runs_of_both_are_there_tensor_by_tensor_and_once(two, tmp_path):
    merged = merge_datasets(two, tmp_path / "all")
    assert (merged.copied, merged.there) == (8, 0)
    joined = Dataset(tmp_path / "all")
    assert sorted(run.key for run in joined.runs) == sorted(run.key for each in two for run in Dataset(each).runs)
    for each in map(Dataset, two):
        for run in each.runs:
            (same,) = (other for other in joined.runs if other.key == run.key)
            kept, expected = joined.load(same), each.load(run)
            assert kept.keys() == expected.keys() and all(torch.equal(kept[name], expected[name]) for name in kept)
    assert check_dataset(tmp_path / "all").unlisted == 0 and not joined.damaged
    assert (merge_datasets(two, tmp_path / "all").copied, len(Dataset(tmp_path / "all").runs)) == (0, 8)


def test_a_run_of_both_comes_once_and_a_damaged_one_not_at_all(two, tmp_path, capsys):
    first, second = sorted((two[0] / "runs").iterdir())[:2]
    shutil.copy(first, two[1] / "runs")
    second.write_bytes(b"damaged")
    command.main(["merge", *map(str, two), "--out", str(tmp_path / "all")])
    assert "7 runs copied, 1 were there already, 1 files" in capsys.readouterr().out
    assert len(Dataset(tmp_path / "all").runs) == 7


def test_datasets_of_another_model_or_projection_are_refused_and_nothing_is_written(two, tmp_path):
    others = {"family": record(tmp_path / "sdxl", 2, family="SDXL"), "two ways": record(tmp_path / "own", 2, seed=5)}
    for says, other in others.items():
        with pytest.raises(SystemExit, match=says):
            command.main(["merge", str(two[0]), str(other), "--out", str(tmp_path / "all")])
    for folder, digest in zip(two, ("a1", "b2")):
        (folder / MODELS).write_text(json.dumps({"flux.safetensors": digest}))
    with pytest.raises(ValueError, match="another file flux.safetensors than the others"):
        merge_datasets(two, tmp_path / "all")
    assert not (tmp_path / "all").exists()
