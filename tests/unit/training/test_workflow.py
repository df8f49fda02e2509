"""A saved workflow becomes the prompt that the frontend would have sent."""

from datetime import datetime

import pytest

from training.client.workflow import WorkflowError, to_prompt

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
    "Save": {"input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "out"}]}}},
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


def test_values_saved_by_name_keep_their_names_inside_of_a_choice_too():
    saved = {**node(1, "Resize"), "widgets_values": {"crop": True, "how": "to size", "how.height": 4, "how.width": 3}}
    values = {"how": "to size", "how.width": 3, "how.height": 4, "crop": True}
    assert to_prompt(graph(saved), INFO)["1"]["inputs"] == values


def test_a_list_as_a_value_is_not_taken_for_a_link():
    prompt = to_prompt(graph(node(1, "Load", [["a", 0]])), INFO)
    assert prompt["1"]["inputs"]["name"] == {"__value__": ["a", 0]}


def test_a_node_type_that_is_not_installed_is_named_with_its_node():
    with pytest.raises(WorkflowError, match=r"Upscaler \(node 4\).*Install"):
        to_prompt(graph(node(4, "Upscaler")), INFO)


def test_a_muted_node_may_be_of_a_type_that_is_not_installed():
    assert to_prompt(graph(node(4, "Upscaler", mode=2)), INFO) == {}


def test_the_seed_control_of_2023_is_true_or_false_and_shifts_nothing():
    for control in (True, False):
        saved = sampler((7, control, 12, "heun", 0.5))
        inputs = to_prompt(graph(LOAD, ENCODE, saved, links=LINKS), INFO)["3"]["inputs"]
        assert (inputs["seed"], inputs["steps"], inputs["sampler"], inputs["eta"]) == (7, 12, "heun", 0.5)


def test_a_seed_inside_of_a_choice_has_no_control():
    choice = {"key": "on", "inputs": {"required": {"seed": ["INT", {"default": 0}]}}}
    info = {
        "Chat": {"input": {"required": {"mode": ["COMFY_DYNAMICCOMBO_V3", {"options": [choice]}], "on": ["BOOLEAN"]}}}
    }
    inputs = to_prompt(graph(node(1, "Chat", ["on", 5, True])), info)["1"]["inputs"]
    assert inputs == {"mode": "on", "mode.seed": 5, "on": True}


def test_values_saved_for_inputs_that_became_sockets_are_left_out():
    info = {"Mix": {"input": {"required": {"a": ["INT"], "b": ["FLOAT", {"forceInput": True}], "c": ["INT"]}}}}
    assert to_prompt(graph(node(1, "Mix", [1, 0.5, 3])), info)["1"]["inputs"] == {"a": 1, "c": 3}


SUB = "11111111-2222-4333-8444-555555555555"


def slot(name, type_, *links):
    return {"name": name, "type": type_, "linkIds": list(links)}


def inside(number, nodes, links, inputs=(), outputs=()):
    ends = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
    links = [dict(zip(ends, link)) for link in links]
    return {"id": number, "nodes": nodes, "links": links, "inputs": list(inputs), "outputs": list(outputs)}


ENCODER = inside(
    SUB,
    [node(5, "Encode", ["inside"], [("clip", "CLIP", 1), ("text", "STRING", 2)], ["CONDITIONING"])],
    [(1, -10, 0, 5, 0), (2, -10, 1, 5, 1), (3, 5, 0, -20, 0)],
    [slot("clip", "CLIP", 1), slot("words", "STRING", 2)],
    [slot("CONDITIONING", "CONDITIONING", 3)],
)


def use(number, values=(), clip=None, **more):
    return node(number, SUB, values, [("clip", "CLIP", clip), ("words", "STRING", None)], ["CONDITIONING"], **more)


def with_subgraphs(*definitions, nodes, links):
    return {**graph(*nodes, links=links), "definitions": {"subgraphs": list(definitions)}}


def test_each_use_of_a_subgraph_has_its_own_nodes_and_values():
    links = [LINKS[0], (2, 7, 0, 3, 1, "CONDITIONING"), (3, 1, 1, 7, 0, "CLIP"), (4, 1, 1, 8, 0, "CLIP")]
    nodes = [LOAD, use(7, ["of seven"], 3), use(8, [], 4), sampler()]
    prompt = to_prompt(with_subgraphs(ENCODER, nodes=nodes, links=links), INFO)
    assert prompt["7:5"]["inputs"] == {"text": "of seven", "clip": ["1", 1]}
    assert prompt["8:5"]["inputs"] == {"text": "inside", "clip": ["1", 1]}
    assert prompt["3"]["inputs"]["positive"] == ["7:5", 0] and prompt.keys() == {"1", "3", "7:5", "8:5"}


def test_a_subgraph_in_a_subgraph_is_named_by_the_way_to_it():
    outer = inside(
        "outer",
        [use(7, ["of the middle"], 1)],
        [(1, -10, 0, 7, 0), (2, 7, 0, -20, 0)],
        [slot("clip", "CLIP", 1)],
        [slot("CONDITIONING", "CONDITIONING", 2)],
    )
    around = node(12, "outer", [], [("clip", "CLIP", 3)], ["CONDITIONING"])
    links = [LINKS[0], (2, 12, 0, 3, 1, "CONDITIONING"), (3, 1, 1, 12, 0, "CLIP")]
    prompt = to_prompt(with_subgraphs(ENCODER, outer, nodes=[LOAD, around, sampler()], links=links), INFO)
    assert prompt["12:7:5"]["inputs"] == {"text": "of the middle", "clip": ["1", 1]}
    assert prompt["3"]["inputs"]["positive"] == ["12:7:5", 0]


def test_values_of_shown_widgets_are_in_the_order_of_the_property_that_shows_them():
    shows = {"properties": {"proxyWidgets": [["6", "steps"], ["5", "text"]]}}
    definition = inside(
        SUB, [*ENCODER["nodes"], node(6, "Sampler", [1, "fixed", 5])], [(2, -10, 1, 5, 1)], ENCODER["inputs"]
    )
    prompt = to_prompt(with_subgraphs(definition, nodes=[use(7, [33, "shown"], **shows)], links=[]), INFO)
    assert (prompt["7:6"]["inputs"]["steps"], prompt["7:5"]["inputs"]["text"]) == (33, "shown")


@pytest.mark.parametrize("mode", [2, 4])
def test_a_muted_or_bypassed_subgraph_has_no_nodes(mode):
    links = [LINKS[0], (2, 7, 0, 3, 1, "CONDITIONING"), (3, 1, 1, 7, 0, "CLIP")]
    prompt = to_prompt(with_subgraphs(ENCODER, nodes=[LOAD, use(7, [], 3, mode=mode), sampler()], links=links), INFO)
    assert prompt.keys() == {"1", "3"} and "positive" not in prompt["3"]["inputs"]


def test_a_subgraph_inside_of_itself_is_one_sentence():
    inner = inside(SUB, [node(5, SUB)], [])
    with pytest.raises(WorkflowError, match="go in a circle"):
        to_prompt(with_subgraphs(inner, nodes=[node(1, SUB)], links=[]), INFO)


def test_reroutes_in_a_circle_are_one_sentence():
    circle = [node(number, "Reroute", inputs=[("", "*", number)], outputs=["*"]) for number in (6, 7)]
    links = [(1, 6, 0, 3, 0, "MODEL"), (6, 7, 0, 6, 0, "*"), (7, 6, 0, 7, 0, "*")]
    with pytest.raises(WorkflowError, match="go in a circle"):
        to_prompt(graph(*circle, sampler(positive=None), links=links), INFO)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("a {red|blue} circle // not this", "a red circle "),
        ("{a {b|c} d|e} /* nor\nthis */f", "a b d f"),
        (r"\{kept|so\}", "{kept|so}"),
        ("{open", "open"),
        ("nothing", "nothing"),
    ],
)
def test_choices_and_comments_in_a_prompt_are_resolved_as_it_is_sent(text, sent):
    info = {"Encode": {"input": {"required": {"text": ["STRING", {"dynamicPrompts": True}]}}}}
    assert to_prompt(graph(node(1, "Encode", [text])), info)["1"]["inputs"]["text"] == sent


def test_a_file_name_is_filled_with_the_date_and_with_other_nodes_values():
    now = datetime.now()
    save = node(4, "Save", ["%date:yy-MM%/%Sampler.steps%_%Mine.text%_%Nobody.text%"])
    mine = {**ENCODE, "title": "Mine"}
    prefix = to_prompt(graph(LOAD, mine, sampler(), save, links=LINKS), INFO)["4"]["inputs"]["filename_prefix"]
    assert prefix == f"{now:%y-%m}/12_a red circle_%Nobody.text%"


@pytest.mark.parametrize("kind", ["workflow/Mine", "workflow>Mine"])
def test_a_group_node_is_told_how_it_becomes_a_subgraph(kind):
    with pytest.raises(WorkflowError, match="Node 4 is a group node.*makes a subgraph of it, and save it again"):
        to_prompt(graph(node(4, kind)), INFO)


@pytest.mark.parametrize(
    "damage",
    [
        {"nodes": [None]},
        {"nodes": [{"id": 1}]},
        {"nodes": 7},
        {"links": [[1, 2]]},
        {"links": 5},
        {"definitions": [1]},
        {"definitions": {"subgraphs": [{"id": "x"}]}},
        {"nodes": [{"id": 1, "type": "Load", "inputs": [{}]}]},
        {"nodes": [{"id": 1, "type": "Load", "widgets_values": 3}]},
        {"nodes": [{"id": 1, "type": ["Load"]}]},
    ],
    ids=str,
)
def test_a_damaged_file_is_one_sentence(damage):
    with pytest.raises(WorkflowError, match=r"^The workflow's file is damaged .*save it again\.$"):
        to_prompt({**graph(LOAD), **damage}, INFO)
