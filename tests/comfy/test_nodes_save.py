"""Save Seed Images against the files that ComfyUI's own Save Image writes."""

import json

import folder_paths
import numpy as np
import pytest
import torch
from comfy.cli_args import args
from comfy_api.latest import io, ui
from diffusion_probe.engine.core.scores import Scores, SeedName
from diffusion_probe.nodes.save import SaveSeedImages
from PIL import Image

import nodes as comfy_nodes

SCORES = Scores((0.25, 0.75), (SeedName(7), SeedName(8)), "preview reward", "shapes", "20%", 5, True)
PROMPT = {"1": {"class_type": "KSampler", "inputs": {"text": "a “red” circle"}}}
EXTRA = {"workflow": {"nodes": [1, 2]}}


@pytest.fixture
def images():
    return torch.rand(2, 6, 4, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def output(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path / "output"))
    (tmp_path / "output").mkdir()
    return tmp_path / "output"


def save(images, prefix="kept", **labels):
    node = SaveSeedImages.PREPARE_CLASS_CLONE(
        {"hidden_inputs": {io.Hidden.prompt: PROMPT, io.Hidden.extra_pnginfo: EXTRA}}
    )
    return node.execute(images, prefix, **labels).ui.as_dict()["images"]


def test_pixels_and_workflow_are_what_save_image_writes(images, output):
    (stock, _) = comfy_nodes.SaveImage().save_images(images, "stock", PROMPT, EXTRA)["ui"]["images"]
    saved = save(images, scores=SCORES)
    assert [entry["filename"] for entry in saved] == [
        "kept_seed_7_score_0.25_rank_2_00001_.png",
        "kept_seed_8_score_0.75_rank_1_00001_.png",
    ]
    theirs, ours = (Image.open(output / entry["filename"]) for entry in (stock, saved[0]))
    assert np.array_equal(np.asarray(theirs), np.asarray(ours))
    assert ours.text == {
        **theirs.text, "seed": "7", "score": "0.25", "rank": "2", "scored_by": '"preview reward at 20%: shapes"',
    }  # fmt: skip
    assert json.loads(ours.text["workflow"]) == EXTRA["workflow"] and json.loads(ours.text["prompt"]) == PROMPT
    assert Image.open(output / saved[1]["filename"]).text["seed"] == "8"


def test_saving_again_overwrites_nothing_and_tokens_are_those_of_save_image(images, output):
    for number in (1, 2):
        saved = save(images, "%width%x%height%/%batch_num%", seeds="7, 8")
        assert saved[1]["filename"] == f"1_seed_8_0000{number}_.png" and saved[1]["subfolder"] == "4x6"
    assert len(list((output / "4x6").glob("*.png"))) == 4


def test_disabled_metadata_leaves_the_file_bare(images, output, monkeypatch):
    monkeypatch.setattr(args, "disable_metadata", True)
    (entry, _) = save(images, scores=SCORES)
    assert Image.open(output / entry["filename"]).text == {}


@pytest.mark.parametrize("prefix", ["../kept", "a/../../kept", "/kept", "%width%/../../kept"])
def test_a_name_outside_the_output_folder_is_refused_with_the_fix(images, output, prefix):
    says = 'Save Seed Images: .*outside ComfyUI\'s output folder. Give .*without ".."'
    with pytest.raises(ValueError, match=says) as refusal:
        save(images, prefix, scores=SCORES)
    assert str(output) not in str(refusal.value)
    assert not [path for path in output.parent.rglob("*") if path.is_file()]


def test_another_error_in_writing_is_not_taken_for_a_wrong_place(images, monkeypatch):
    def broken(*given):
        raise TypeError("Object of type set is not JSON serializable")

    monkeypatch.setattr(ui.ImageSaveHelper, "save_images", broken)
    with pytest.raises(TypeError, match="not JSON serializable"):
        save(images, scores=SCORES)


def test_another_number_of_scores_than_images_is_refused_before_anything_is_written(images, output):
    with pytest.raises(ValueError, match="Save Seed Images: There are 2 images but 1 scores. Connect .*kept scores"):
        save(images, scores=SCORES.subset([0]))
    assert not any(output.iterdir())
