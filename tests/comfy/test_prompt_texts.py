"""Texts of prompts in graphs of ComfyUI's own nodes."""

import pytest
from comfy_execution.graph import DynamicPrompt
from comfy_execution.progress import reset_progress_state
from comfy_execution.utils import CurrentNodeContext
from comfy_extras.nodes_flux import CLIPTextEncodeFlux, FluxGuidance
from comfy_extras.nodes_primitive import String, StringMultiline
from comfy_extras.nodes_string import StringConcatenate
from diffusion_probe.engine.board.prompt_texts import MOST_BYTES, prompt_texts, shown_text
from diffusion_probe.engine.capture.prompt.graph_texts import PromptGraph

import nodes as comfy_nodes
from support.graphs import node

ARABIC, CHINESE = "قطة حمراء على كرسي أزرق", "蓝色椅子上的红猫"


@pytest.fixture(autouse=True)
def mappings(monkeypatch):
    """The nodes of ``comfy_extras`` that the graphs use, which no server has loaded here."""
    extras = {
        "CLIPTextEncodeFlux": CLIPTextEncodeFlux, "FluxGuidance": FluxGuidance, "PrimitiveString": String,
        "PrimitiveStringMultiline": StringMultiline, "StringConcatenate": StringConcatenate,
    }  # fmt: skip
    for name, kind in extras.items():
        monkeypatch.setitem(comfy_nodes.NODE_CLASS_MAPPINGS, name, kind)


def encoded(text):
    return node("CLIPTextEncode", clip=["clip", 0], text=text)


def text(graph, name="end", slot=0):
    return shown_text(PromptGraph(graph.get).upstream([name, slot]))


@pytest.mark.parametrize("prompt", ["a red cat", CHINESE, ARABIC, " two\nlines "])
def test_the_text_of_an_encoder_is_found_as_it_is_written(prompt):
    assert text({"end": encoded(prompt)}) == prompt.strip()


def test_a_text_is_found_above_nodes_that_change_conditionings():
    graph = {"text": encoded("a red cat"), "guided": node("FluxGuidance", conditioning=["text", 0], guidance=3.5)}
    graph["end"] = node("ConditioningZeroOut", conditioning=["guided", 0])
    assert text(graph) == "a red cat"


def test_combined_prompts_are_one_text_and_equal_ones_once():
    graph = {"one": encoded("a red cat"), "two": encoded("a blue chair"), "same": encoded("a red cat")}
    graph["both"] = node("ConditioningCombine", conditioning_1=["one", 0], conditioning_2=["two", 0])
    graph["end"] = node("ConditioningConcat", conditioning_to=["both", 0], conditioning_from=["same", 0])
    assert text(graph) == "a red cat\na blue chair"


def test_the_negative_prompt_is_not_taken_for_the_positive():
    graph = {"good": encoded("a red cat"), "bad": encoded("blurry")}
    hint = {"control_net": ["net", 0], "image": ["image", 0], "strength": 1.0, "start_percent": 0, "end_percent": 1}
    graph["end"] = node("ControlNetApplyAdvanced", positive=["good", 0], negative=["bad", 0], **hint)
    assert (text(graph), text(graph, slot=1)) == ("a red cat", "blurry")


def test_an_encoder_with_two_texts_shows_both():
    texts = {"clip_l": "a cat", "t5xxl": "a red cat"}
    assert text({"end": node("CLIPTextEncodeFlux", clip=["clip", 0], **texts, guidance=3.5)}) == "a cat\na red cat"


def test_a_text_that_comes_from_a_primitive_is_found_and_a_computed_one_is_not():
    for kind in ("PrimitiveString", "PrimitiveStringMultiline"):
        assert text({"value": node(kind, value="a red cat"), "end": encoded(["value", 0])}) == "a red cat"
    graph = {
        "joined": node("StringConcatenate", string_a="a", string_b="b", delimiter=""),
        "end": encoded(["joined", 0]),
    }
    assert text(graph) == ""


def test_unknown_nodes_loops_and_broken_nodes_have_no_text(monkeypatch):
    class Broken:
        @classmethod
        def INPUT_TYPES(cls):  # noqa: N802
            raise OSError("no such folder")

    monkeypatch.setitem(comfy_nodes.NODE_CLASS_MAPPINGS, "Broken", Broken)
    assert (
        text({"end": node("AnotherPacksNode", text="a")}) == text({"end": node("Broken", text="a")}) == text({}) == ""
    )
    assert text({"end": node("ConditioningZeroOut", conditioning=["end", 0])}) == ""
    many = {str(n): node("ConditioningZeroOut", conditioning=[str(n + 1), 0]) for n in range(1000)}
    assert text(many | {"1000": encoded("too far")}, "0") == ""


@pytest.mark.parametrize("letter", ["x", "猫", "é", "🐈", "\ud800"])
def test_a_long_text_is_cut_between_characters(letter):
    cut = text({"end": encoded(letter * 10_000)})
    assert MOST_BYTES - 16 < len(cut.encode()) <= MOST_BYTES and cut.endswith("…") and "\ufffd" not in cut


def test_the_running_node_has_the_texts_of_its_connected_prompts_in_order():
    graph = {"one": encoded("a red cat"), "other": encoded(CHINESE), "unknown": node("AnotherPacksNode")}
    links = {"positive": ["one", 0], "negative": ["one", 0], "positive_2": ["unknown", 0], "positive_4": ["other", 0]}
    graph["7"] = node("DiffusionProbeSeedSearch", **links, steps=20)
    reset_progress_state("a prompt", DynamicPrompt(graph))
    inputs = ("positive", "positive_2", "positive_3", "positive_4")
    with CurrentNodeContext("a prompt", "7"):
        assert prompt_texts(inputs) == ("a red cat", "", CHINESE)
    assert prompt_texts(inputs) == ()
