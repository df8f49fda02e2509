"""Measurement of a user's own model: what it finds on a testbed, and that its file holds no prompt and no path."""

import json

import pytest
import torch

from benchmarks.lib import user_workflow
from benchmarks.lib.pages.tested_on import NAME, row
from training.client.paths import PACK_ROOT

PROMPT = "a large red circle to the left of a blue square"
RESULTS = sorted((PACK_ROOT / "benchmarks" / "results" / NAME).glob("*.json"))


def workflow(**search):
    own = {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0], "seed": 1,
           "steps": 4, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple", **search}  # fmt: skip
    nodes = {
        "1": ("DiffusionProbeLoadTestbedModel", {"name": "flux"}),
        "2": ("CLIPTextEncode", {"text": PROMPT, "clip": ["1", 1]}),
        "3": ("CLIPTextEncode", {"text": "", "clip": ["1", 1]}),
        "4": ("EmptySD3LatentImage", {"width": 64, "height": 96, "batch_size": 2}),
        "5": ("DiffusionProbeShapesJudge", {}),
        "6": ("DiffusionProbePreviewReward", {"reward": ["5", 0], "prompt": PROMPT, "vae": ["1", 2]}),
        "7": ("KSampler", own),
        "8": ("VAEDecode", {"samples": ["7", 0], "vae": ["1", 2]}),
    }
    return {number: {"class_type": kind, "inputs": inputs} for number, (kind, inputs) in nodes.items()}


def test_a_workflow_is_measured_and_its_file_holds_no_prompt_and_no_path(tmp_path):
    from benchmarks import on_your_model

    given, out = tmp_path / "my secret workflow.json", tmp_path / "out.json"
    given.write_text(json.dumps(workflow()))
    assert on_your_model.main([str(given), "--out", str(out), "--candidates", "4", "--seed", "7"]) == 0
    text = out.read_text()
    found = json.loads(text)
    assert found["exactness"]["search"] < 1e-4 and found["exactness"]["batch"] < 1e-4
    assert (found["family"], found["size"], found["steps"], found["candidates"]) == ("FLUX", [64, 96], 4, 4)
    assert [each["evaluation"] for each in found["previews"]] == [1, 2, 3]
    assert all(-1 <= each["rho"] <= 1 for each in found["previews"])
    assert found["model_rows"] == 2 * (4 * 1 + 3)
    assert_without_prompts_and_paths(text, [PROMPT, "circle", "secret", str(tmp_path)])
    assert row(found)[0] == "testbed FLUX" and PROMPT not in " ".join(row(found))


def assert_without_prompts_and_paths(text, words):
    assert not [word for word in words if word in text]
    values = [value for value in strings(json.loads(text)) if "/" in value or "\\" in value]
    assert not values, values


def strings(value):
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(each)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_file_that_was_sent_in_holds_no_prompt_and_no_path(path):
    assert_without_prompts_and_paths(path.read_text(), ["circle", "square", "/home", "Users", "safetensors"])
    assert json.loads(path.read_text())["command"].split()[3] == "WORKFLOW.json"


def test_a_saved_workflow_is_run_as_far_as_its_search():
    found = user_workflow.load(PACK_ROOT / "workflows" / "Choose from 16 seeds (no downloads).json")
    assert found.latent["samples"].shape[0] == 1 and found.settings[2] == "euler"
    assert isinstance(found.positive[0][0], torch.Tensor) and found.probe is None


def test_a_workflow_without_a_sampler_says_what_to_give(tmp_path):
    path = tmp_path / "none.json"
    path.write_text(json.dumps({"1": {"class_type": "EmptyLatentImage", "inputs": {}}}))
    with pytest.raises(SystemExit, match="samples by KSampler"):
        user_workflow.load(path)
