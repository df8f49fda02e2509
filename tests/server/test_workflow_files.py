"""Every shipped workflow fits the nodes that the server has, and those for the testbed run."""

import copy
import json

import pytest

from support.workflow_check import FILES, wrong_inputs, wrong_links
from training.client.paths import PACK_ROOT
from training.client.server import PromptError
from training.client.workflow import WorkflowError, to_prompt

SHIPPED = sorted((PACK_ROOT / "workflows").glob("*.json"))
ON_TESTBED = [path for path in SHIPPED if "testbed" in path.stem or "no downloads" in path.stem]
TESTBED = [path for path in ON_TESTBED if not path.stem.startswith("record")]
ON_DATASETS = {"train-probe", "evaluate-probe"}
"""They need what was recorded, and no model."""

REAL = [path for path in SHIPPED if path not in ON_TESTBED and path.stem not in ON_DATASETS]


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_workflow_fits_the_nodes_of_the_server(client, path):
    info, workflow = client.object_info(), load(path)
    assert list(wrong_links(workflow)) == []
    assert list(wrong_inputs(to_prompt(workflow, info), info)) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_workflow_has_a_thumbnail_and_a_note(path):
    assert path.with_suffix(".jpg").is_file()
    assert [node["title"] for node in load(path)["nodes"] if node["type"] == "MarkdownNote"] == ["Read me"]


def widget(workflow, kind, place, value):
    next(node for node in workflow["nodes"] if node["type"] == kind)["widgets_values"][place] = value


def cut(workflow, kind, name):
    node = next(node for node in workflow["nodes"] if node["type"] == kind)
    next(slot for slot in node["inputs"] if slot["name"] == name)["link"] = None


def source(workflow, kind, name, output):
    node = next(node for node in workflow["nodes"] if node["type"] == kind)
    wanted = next(slot for slot in node["inputs"] if slot["name"] == name)["link"]
    next(link for link in workflow["links"] if link[0] == wanted)[2] = output


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ((widget, "DiffusionProbePromptGate", 0, "any row"), "rows: 'any row' is none of"),
        ((widget, "DiffusionProbeSeedBatch", 0, "1"), "first_seed: takes INT, has '1'"),
        ((cut, "DiffusionProbePromptGate", "passing"), "passing: missing"),
        ((cut, "VAEDecode", "samples"), "samples: missing"),
        ((source, "DiffusionProbePromptGate", "scores", 1), "scores: takes DIFFUSION_PROBE_SCORES, gets INT"),
        ((source, "DiffusionProbePromptGate", "otherwise", 9), "otherwise: takes COMFY_MATCHTYPE_V3, gets None"),
        ((source, "VAEDecode", "samples", 1), "samples: takes LATENT, gets BOOLEAN"),
    ],
)
def test_a_fault_in_a_workflow_is_found(client, fault, says):
    info, workflow = client.object_info(), copy.deepcopy(load(PACK_ROOT / "workflows" / "prompt-gate-testbed.json"))
    change, *arguments = fault
    change(workflow, *arguments)
    assert any(says in line for line in wrong_inputs(to_prompt(workflow, info), info))
    assert change is widget or list(wrong_links(workflow))


def test_a_node_that_the_server_does_not_have_is_found(client):
    workflow = load(PACK_ROOT / "workflows" / "prompt-gate-testbed.json")
    workflow["nodes"][-1]["type"] = "NoSuchNode"
    with pytest.raises(WorkflowError, match="NoSuchNode"):
        to_prompt(workflow, client.object_info())


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_a_workflow_for_a_real_model_lacks_nothing_but_the_model_files(client, path):
    with pytest.raises(PromptError) as refusal:
        client.queue(to_prompt(load(path), client.object_info()))
    problems = [error for node in refusal.value.details["node_errors"].values() for error in node["errors"]]
    assert problems and {error["extra_info"]["input_name"] for error in problems} <= FILES


@pytest.mark.parametrize("path", TESTBED, ids=lambda path: path.stem)
def test_a_workflow_for_the_testbed_runs_and_saves_images_by_seed(run, client, path):
    prompt = to_prompt(load(path), client.object_info())
    (save,) = [number for number, node in prompt.items() if node["class_type"] == "DiffusionProbeSaveSeeds"]
    done = run(prompt)
    images = done.outputs[save]["images"]
    kept = 1 if path.stem.startswith(("seed-search", "Choose")) else 4
    assert len(images) == kept and len({image["filename"].split("_score")[0] for image in images}) == kept
    assert all(client.view(image).startswith(b"\x89PNG") for image in images)
