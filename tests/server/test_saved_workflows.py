"""Templates of earlier versions (``tests/saved``) load, with each value in its input, and most still run.

What the frontend makes of these files is compared in ``tests/browser/test_frontend.py``, in the long run.
"""

import pytest

from support.saved import TEMPLATES, saved, template
from support.workflow_check import wrong_inputs, wrong_links
from training.client.server import PromptError
from training.client.workflow import to_prompt

FIRST, FIRST_PROMPTS = saved("workflows"), saved("prompts")
"""The files before the move into rooms, and what the code of then made of them with the nodes of then, by name."""

OLD = {
    **{f"{name}, first": (workflow, FIRST_PROMPTS[name]) for name, workflow in FIRST.items()},
    **{f"{name}, 0.2": (each["workflow"], each["prompt"]) for name, each in TEMPLATES.items()},
}


@pytest.fixture(scope="module")
def info(server):
    return server.client.object_info()


@pytest.mark.parametrize("name", OLD)
def test_an_old_template_fits_the_nodes_of_today(info, name):
    workflow = OLD[name][0]
    assert not [*wrong_links(workflow)]
    assert not [*wrong_inputs(to_prompt(workflow, info), info)]


@pytest.mark.parametrize("name", OLD)
def test_every_value_of_an_old_template_is_in_the_input_it_was_saved_for(info, name):
    workflow, then = OLD[name]
    today = to_prompt(workflow, info)
    assert {number: node["class_type"] for number, node in today.items()} == {
        number: node["class_type"] for number, node in then.items()
    }
    for number, node in then.items():
        inputs = today[number]["inputs"]
        assert {input: inputs.get(input) for input in node["inputs"]} == node["inputs"], (number, node["class_type"])


def test_a_value_in_another_input_would_be_found(info):
    """Values are saved as a list: a node that gets an input in the middle shifts those after it."""
    workflow = template("seed-search-testbed")
    search = next(node for node in workflow["nodes"] if node["type"] == "DiffusionProbeSeedSearch")
    search["widgets_values"].insert(1, 7)
    number = str(search["id"])
    today = to_prompt(workflow, info)[number]["inputs"]
    assert today != {**today, **TEMPLATES["seed-search-testbed"]["prompt"][number]["inputs"]}


@pytest.mark.long
@pytest.mark.parametrize("name", OLD)
def test_an_old_template_runs_or_ends_in_one_sentence(client, run, info, name):
    prompt = to_prompt(OLD[name][0], info)
    if "testbed" in name or "no downloads" in name:
        assert run(prompt).data("execution_success")
        return
    with pytest.raises(PromptError) as refusal:
        client.run(prompt)
    assert len(str(refusal.value)) < 3000
