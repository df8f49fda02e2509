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


def files_not_there(prompt, info):
    """Return what a prompt names of the files that no loader lists, by node and input."""
    found = {}
    for number, node in prompt.items():
        inputs = info[node["class_type"]]["input"]
        for name, kind in {**inputs.get("required", {}), **inputs.get("optional", {})}.items():
            value, options = node["inputs"].get(name), kind[1].get("options") if kind[0] == "COMBO" else kind[0]
            if isinstance(value, str) and isinstance(options, list) and value not in options:
                found[number, name] = value
    return found


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
    missing = files_not_there(prompt, info)
    if not missing:
        try:
            assert run(prompt).data("execution_success")
        except PromptError as failure:  # a dataset that nobody recorded here
            node, said = info[failure.details["node_type"]], failure.details["exception_message"].strip()
            assert said.startswith(f"{node['display_name']}: ") and "dataset" in said and "\n" not in said, said
        return
    with pytest.raises(PromptError) as refusal:
        client.run(prompt)
    refused = refusal.value.details["node_errors"]
    errors = {(number, each["extra_info"]["input_name"]) for number in refused for each in refused[number]["errors"]}
    assert errors == missing.keys(), "what is wrong is that files are not there, and nothing else"
    assert all(file in str(refusal.value) for file in missing.values())
