"""Templates as they were shipped before the move into rooms (``tests/saved``) load, with each value in its input."""

import gzip
import json

import pytest

from support.workflow_check import wrong_inputs, wrong_links
from training.client.paths import PACK_ROOT
from training.client.workflow import to_prompt


def saved(name):
    return json.loads(gzip.decompress((PACK_ROOT / "tests" / "saved" / f"{name}.json.gz").read_bytes()))


WORKFLOWS, PROMPTS = saved("workflows"), saved("prompts")
"""The files of then, and what the code of then made of them with the nodes of then, by name."""


@pytest.fixture(scope="module")
def info(server):
    return server.client.object_info()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_an_old_template_fits_the_nodes_of_today(info, name):
    assert not [*wrong_links(WORKFLOWS[name])]
    assert not [*wrong_inputs(to_prompt(WORKFLOWS[name], info), info)]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_value_of_an_old_template_is_in_the_input_it_was_saved_for(info, name):
    today, then = to_prompt(WORKFLOWS[name], info), PROMPTS[name]
    assert {number: node["class_type"] for number, node in today.items()} == {
        number: node["class_type"] for number, node in then.items()
    }
    for number, node in then.items():
        inputs = today[number]["inputs"]
        assert {input: inputs.get(input) for input in node["inputs"]} == node["inputs"], (number, node["class_type"])


def test_a_value_in_another_input_would_be_found(info):
    """Values are saved as a list: a node that gets an input in the middle shifts those after it."""
    workflow = json.loads(json.dumps(WORKFLOWS["seed-search-testbed"]))
    search = next(node for node in workflow["nodes"] if node["type"] == "DiffusionProbeSeedSearch")
    search["widgets_values"].insert(1, 7)
    (number,) = [str(search["id"])]
    today = to_prompt(workflow, info)[number]["inputs"]
    assert today != {**today, **PROMPTS["seed-search-testbed"][number]["inputs"]}
