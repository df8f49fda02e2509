"""Every shipped workflow fits the nodes that the server has, and lacks nothing but files that it links to."""

import json

import folder_paths
import pytest

from support.saved import template
from support.workflow_check import FILES, wrong_inputs, wrong_links
from training.client.paths import PACK_ROOT
from training.client.server import PromptError
from training.client.workflow import WorkflowError, to_prompt

SHIPPED = sorted((PACK_ROOT / "workflows").glob("*.json"))
REAL = [path for path in SHIPPED if "no downloads" not in path.stem]
WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt")


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def kinds(workflow):
    return {node["type"] for node in workflow["nodes"]}


def test_the_templates_are_few_and_titled_by_what_they_do():
    assert 10 < len(SHIPPED) <= 16
    assert all(path.stem[0].isupper() and " " in path.stem and path.stem.endswith(")") for path in SHIPPED)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_workflow_fits_the_nodes_of_the_server(client, path):
    info, workflow = client.object_info(), load(path)
    assert list(wrong_links(workflow)) == []
    assert list(wrong_inputs(to_prompt(workflow, info), info)) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_workflow_has_a_thumbnail_and_a_note(path):
    assert path.with_suffix(".jpg").is_file()
    assert [node["title"] for node in load(path)["nodes"] if node["type"] == "MarkdownNote"] == ["Read me"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_workflow_links_to_each_file_that_it_loads(path):
    for node in load(path)["nodes"]:
        values = node.get("widgets_values") or []
        files = {value for value in values if isinstance(value, str) and value.endswith(WEIGHTS)}
        linked = {model["name"]: model for model in node["properties"].get("models", [])}
        assert linked.keys() == {file for file in files if not file.startswith("testbed/")}, node["type"]
        for name, model in linked.items():
            assert model["url"].startswith("https://huggingface.co/") and "/resolve/main/" in model["url"]
            assert model["url"].endswith(f"/{name.split('/')[-1]}")
            assert model["directory"] in {*folder_paths.folder_names_and_paths, "reward_models"}


def test_each_reward_file_in_a_template_is_the_official_one():
    from diffusion_probe.engine.rewards.catalog import REWARDS

    official = {f"{file.folder}/{file.names[0]}": file for entry in REWARDS.values() for file in entry.files}
    linked = [
        model for path in SHIPPED for node in load(path)["nodes"] for model in node["properties"].get("models", [])
    ]
    rewards = [model for model in linked if model["directory"] == "reward_models"]
    assert rewards
    for model in rewards:
        assert model["url"] == official[model["name"]].source


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_workflow_drops_seeds_by_a_reward_only(path):
    found = kinds(load(path))
    assert "DiffusionProbeAttentionFocus" not in found
    if found & {"DiffusionProbeEarlySeedFilter", "DiffusionProbePromptGate"}:
        assert {"DiffusionProbePreviewReward", "DiffusionProbeLoadRewardModel"} <= found


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
    info, workflow = client.object_info(), template("prompt-gate-testbed")
    change, *arguments = fault
    change(workflow, *arguments)
    assert any(says in line for line in wrong_inputs(to_prompt(workflow, info), info))
    assert change is widget or list(wrong_links(workflow))


def test_a_node_that_the_server_does_not_have_is_found(client):
    workflow = template("prompt-gate-testbed")
    workflow["nodes"][-1]["type"] = "NoSuchNode"
    with pytest.raises(WorkflowError, match="NoSuchNode"):
        to_prompt(workflow, client.object_info())


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_a_workflow_for_a_real_model_lacks_nothing_but_the_model_files(client, path):
    with pytest.raises(PromptError) as refusal:
        client.queue(to_prompt(load(path), client.object_info()))
    problems = [error for node in refusal.value.details["node_errors"].values() for error in node["errors"]]
    assert problems and {error["extra_info"]["input_name"] for error in problems} <= FILES
