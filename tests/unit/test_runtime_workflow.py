"""A saved workflow becomes the prompt that the frontend would have sent."""

import pytest

from runtime.workflow import WorkflowError, to_prompt

INFO = {
    "Load": {"display_name": "Load It", "input": {"required": {"name": [["a.safetensors", "b.safetensors"]]}}},
    "Encode": {"input": {"required": {"text": ["STRING", {"multiline": True}], "clip": ["CLIP"]}}},
    "Sampler": {
        "input": {
            "required": {
                "model": ["MODEL"],
                "seed": ["INT", {"default": 0, "control_after_generate": True}],
                "steps": ["INT", {"default": 20}],
                "sampler": ["COMBO", {"options": ["euler", "heun"]}],
                "positive": ["CONDITIONING"],
            },
            "optional": {"eta": ["FLOAT", {"default": 1.0}], "strength": ["FLOAT", {"forceInput": True}]},
        },
        "input_order": {
            "required": ["model", "seed", "steps", "sampler", "positive"],
            "optional": ["eta", "strength"],
        },
    },
    "Save": {"input": {"required": {"images": ["IMAGE"], "prefix": ["STRING", {"default": "out"}]}}},
    "Resize": {
        "input": {
            "required": {
                "how": [
                    "COMFY_DYNAMICCOMBO_V3",
                    {
                        "options": [
                            {"key": "by factor", "inputs": {"required": {"factor": ["FLOAT", {"default": 2.0}]}}},
                            {"key": "to size", "inputs": {"required": {"width": ["INT"], "height": ["INT"]}}},
                        ]
                    },
                ],
                "crop": ["BOOLEAN", {"default": False}],
            }
        }
    },
}


def node(number, kind, values=(), inputs=(), outputs=(), **more):
    """A saved node; an input is (name, type, link), an output is its type."""
    return {
        "id": number,
        "type": kind,
        "widgets_values": list(values),
        "inputs": [{"name": name, "type": type_, "link": link} for name, type_, link in inputs],
        "outputs": [{"name": type_, "type": type_} for type_ in outputs],
        **more,
    }


def graph(*nodes, links=()):
    return {"nodes": list(nodes), "links": [list(link) for link in links], "version": 0.4}


def sampler(values=(7, "randomize", 12, "heun", 0.5), model=1, positive=2, **more):
    inputs = [("model", "MODEL", model), ("positive", "CONDITIONING", positive)]
    return node(3, "Sampler", values, inputs, ["LATENT"], **more)


LINKS = [(1, 1, 0, 3, 0, "MODEL"), (2, 2, 0, 3, 1, "CONDITIONING"), (3, 1, 1, 2, 0, "CLIP")]
LOAD = node(1, "Load", ["b.safetensors"], outputs=["MODEL", "CLIP"])
ENCODE = node(2, "Encode", ["a red circle"], [("clip", "CLIP", 3)], ["CONDITIONING"], title="Prompt")


def test_a_workflow_becomes_the_prompt_of_the_same_graph():
    note = node(9, "MarkdownNote", ["read me"])
    assert to_prompt(graph(LOAD, ENCODE, sampler(), note, links=LINKS), INFO) == {
        "1": {"class_type": "Load", "inputs": {"name": "b.safetensors"}, "_meta": {"title": "Load It"}},
        "2": {
            "class_type": "Encode",
            "inputs": {"text": "a red circle", "clip": ["1", 1]},
            "_meta": {"title": "Prompt"},
        },
        "3": {
            "class_type": "Sampler",
            "inputs": {
                "seed": 7,
                "steps": 12,
                "sampler": "heun",
                "eta": 0.5,
                "model": ["1", 0],
                "positive": ["2", 0],
            },
            "_meta": {"title": "Sampler"},
        },
    }


def test_links_may_be_objects_as_in_the_newer_format():
    objects = [{"id": i, "origin_id": a, "origin_slot": s} for i, a, s, *_ in LINKS]
    lists = graph(LOAD, ENCODE, sampler(), links=LINKS)
    assert to_prompt({**lists, "links": objects}, INFO) == to_prompt(lists, INFO)


def test_a_value_saved_without_the_control_widget_is_not_shifted():
    inputs = to_prompt(graph(LOAD, ENCODE, sampler((7, 12, "heun", 0.5)), links=LINKS), INFO)["3"]["inputs"]
    assert (inputs["seed"], inputs["steps"], inputs["sampler"]) == (7, 12, "heun")


def test_values_that_were_not_saved_are_the_defaults():
    inputs = to_prompt(graph(LOAD, ENCODE, sampler((7, "fixed")), links=LINKS), INFO)["3"]["inputs"]
    assert (inputs["steps"], inputs["sampler"], inputs["eta"]) == (20, "euler", 1.0)


def test_a_linked_widget_takes_the_link_and_the_others_keep_their_place():
    joined = sampler()
    joined["inputs"].append({"name": "steps", "type": "INT", "link": 4, "widget": {"name": "steps"}})
    links = [*LINKS, (4, 5, 0, 3, 2, "INT")]
    primitive = node(5, "PrimitiveNode", [30, "fixed"], outputs=["INT"])
    inputs = to_prompt(graph(LOAD, ENCODE, joined, primitive, links=links), INFO)["3"]["inputs"]
    assert (inputs["steps"], inputs["sampler"]) == (30, "heun")


def test_a_reroute_is_followed_to_what_feeds_it():
    links = [(1, 6, 0, 3, 0, "MODEL"), *LINKS[1:], (5, 1, 0, 6, 0, "*")]
    reroute = node(6, "Reroute", inputs=[("", "*", 5)], outputs=["MODEL"])
    assert to_prompt(graph(LOAD, ENCODE, sampler(), reroute, links=links), INFO)["3"]["inputs"]["model"] == ["1", 0]


def test_a_muted_node_is_left_out_with_the_links_from_it():
    prompt = to_prompt(graph(LOAD, {**ENCODE, "mode": 2}, sampler(), links=LINKS), INFO)
    assert "2" not in prompt and "positive" not in prompt["3"]["inputs"]


def test_a_bypassed_node_passes_its_input_of_the_same_type_through():
    links = [(1, 6, 0, 3, 0, "MODEL"), *LINKS[1:], (5, 1, 0, 6, 1, "MODEL")]
    patch = node(6, "Sampler", [], [("clip", "CLIP", None), ("model", "MODEL", 5)], ["MODEL"], mode=4)
    prompt = to_prompt(graph(LOAD, ENCODE, sampler(), patch, links=links), INFO)
    assert "6" not in prompt and prompt["3"]["inputs"]["model"] == ["1", 0]


def test_the_inputs_of_the_chosen_option_follow_its_combo():
    prompt = to_prompt(graph(node(1, "Resize", ["to size", 640, 480, True])), INFO)
    assert prompt["1"]["inputs"] == {"how": "to size", "how.width": 640, "how.height": 480, "crop": True}


def test_a_list_as_a_value_is_not_taken_for_a_link():
    prompt = to_prompt(graph(node(1, "Load", [["a", 0]])), INFO)
    assert prompt["1"]["inputs"]["name"] == {"__value__": ["a", 0]}


def test_a_node_type_that_is_not_installed_is_named_with_its_node():
    with pytest.raises(WorkflowError, match=r"Upscaler \(node 4\).*Install"):
        to_prompt(graph(node(4, "Upscaler")), INFO)


def test_a_muted_node_may_be_of_a_type_that_is_not_installed():
    assert to_prompt(graph(node(4, "Upscaler", mode=2)), INFO) == {}


def test_a_subgraph_is_refused_with_what_to_do():
    with pytest.raises(WorkflowError, match="Node 4 is a subgraph. Unpack it"):
        to_prompt({**graph(node(4, "abc-def")), "definitions": {"subgraphs": [{"id": "abc-def"}]}}, INFO)
