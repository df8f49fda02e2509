"""Probe files and a dataset written before the move into rooms (``tests/saved``) are read as they were then."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.core.prompt_words import Word
from diffusion_probe.engine.core.skill import Skill
from diffusion_probe.probe_models.probe_file import KINDS, load_probe
from diffusion_probe.training.dataset.folder import Dataset, is_validation
from diffusion_probe.training.evaluation import evaluate_probe
from diffusion_probe.training.fitting.probe_training import train_probe
from diffusion_probe.training.fitting.published import RECIPES
from diffusion_probe.training.fitting.recipe import recipe_for
from safetensors import safe_open

from support.networks import SMALL

SAVED = Path(__file__).resolve().parents[1] / "saved"
SCORES = json.loads((SAVED / "scores.json").read_text())
"""What the code of then gave for ``features.safetensors``, by probe file."""


def saved_features() -> list[Features]:
    with safe_open(str(SAVED / "features.safetensors"), "pt") as file:
        plain = json.loads(file.metadata()["rows"])
        tensors = [{} for _ in plain]
        for name in file.keys():
            number, field = name.split()
            tensors[int(number)][field] = file.get_tensor(name)
    words = [tuple(Word(name, tuple(positions)) for name, positions in row.pop("words")) for row in plain]
    return [
        Features(**{**row, "blocks": tuple(row["blocks"])}, words=named, **values)
        for row, named, values in zip(plain, words, tensors, strict=True)
    ]


@pytest.mark.parametrize("name", SCORES)
def test_an_old_probe_file_scores_as_the_code_that_wrote_it(name):
    probe, rows = load_probe(SAVED / name), saved_features()
    assert (probe.score(rows) - torch.tensor(SCORES[name])).abs().max() <= 1e-6
    changed = [Features(**{**vars(row), "percent": 0.5}) for row in rows]
    assert (probe.score(changed) - torch.tensor(SCORES[name])).abs().max() > 1e-3, "the score depends on what it reads"


def test_there_is_an_old_file_of_every_kind_of_then():
    assert {load_probe(SAVED / name).card.kind for name in SCORES} == set(KINDS) - {*RECIPES}


@pytest.mark.parametrize("name", SCORES)
def test_an_old_probe_file_says_of_its_probe_what_was_written(name):
    probe = load_probe(SAVED / name)
    assert (probe.family, probe.blocks, probe.label, probe.skilled) == (
        "FLUX", ("double 1", "single 0"), "ImageReward", True,
    )  # fmt: skip
    assert probe.calibration == (-1.5, 0.0, 0.5, 2.0) and probe.prompts == frozenset({1, 22, 333})
    card = probe.card
    assert card.moments == ("10%", "20%") and card.heads == ("ImageReward", "Aesthetic Score")
    assert card.label_quantiles == (-2.0, 0.25, 1.75) and card.held_out == {"SRCC": 0.5}
    assert (card.prompts, card.images, card.command) == (3, 12, "train …")
    assert probe.search_skill == Skill((0.1, 0.2), (0.3, 0.5), source="made")
    assert (probe.projection is None) == (card.kind == "attention cnn")


@pytest.fixture
def folder(tmp_path):
    """A copy of the dataset, as reading may write into it."""
    return Path(shutil.copytree(SAVED / "dataset", tmp_path / "dataset"))


def test_an_old_dataset_is_read_whole(folder):
    dataset = Dataset(folder)
    assert not dataset.damaged and dataset.header.family == "FLUX"
    prompts = {run.prompt: run for run in dataset.runs}
    assert sorted(prompts) == [
        "a large green square to the left of a small yellow triangle",
        "a large purple square to the left of a red circle",
        "a small cyan triangle to the right of a small yellow cross and above a small purple triangle",
    ]
    for run in dataset.runs:
        assert len(run.seeds) == 4 and [moment.step for moment in run.moments] == [3, 8]
        assert run.words == tuple(words_of(run.prompt))
        assert set(run.labels) == {"truth", "structure", "appearance", "brightness"}
        assert all(len(values) == 4 for values in run.labels.values()) and len(set(run.labels["brightness"])) == 4


def words_of(prompt):
    """The words as Encode Words names them: one that comes again is numbered."""
    seen = []
    for word in prompt.split():
        seen.append(word)
        yield word if seen.count(word) == 1 else f"{word} ({seen.count(word)})"


@pytest.mark.parametrize("kind", KINDS)
def test_an_old_dataset_trains_a_probe_of_every_kind_and_measures_it(folder, tmp_path, kind):
    dataset, losses = Dataset(folder), []
    recipe = recipe_for(dataset, kind, "brightness", steps=2, prompts=2, network=SMALL[kind])
    out = tmp_path / "probe.safetensors"
    train_probe(folder, out, recipe, watch=lambda progress: losses.append(progress.losses[-1]))
    assert len(losses) == 2
    held_out = [run for run in dataset.runs if is_validation(run.prompt)]
    evaluation = evaluate_probe(load_probe(out), folder)
    assert len(held_out) == 1 and evaluation.label == "brightness" and evaluation.rows
