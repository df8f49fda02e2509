"""Text of a prompt from its conditioning, or from the graph of the running prompt."""

from types import SimpleNamespace

import comfy_extras.nodes_flux
import pytest
from comfy_execution.graph import DynamicPrompt
from comfy_execution.utils import CurrentNodeContext
from diffusion_probe.engine.capture.prompt import graph_texts as module
from diffusion_probe.engine.capture.prompt.sampled_text import KEY, sampled_text

import nodes as comfy_nodes
from support.graphs import node

CAT = "a cat on a mat"


@pytest.fixture
def text_in(monkeypatch):
    """``text_in(**nodes)``: the text found from the node "here", as if it ran in a prompt of these nodes."""
    extras = {kind.GET_SCHEMA().node_id: kind for kind in (comfy_extras.nodes_flux.FluxGuidance,
                                                           comfy_extras.nodes_flux.CLIPTextEncodeFlux)}  # fmt: skip
    for name, kind in extras.items():
        monkeypatch.setitem(comfy_nodes.NODE_CLASS_MAPPINGS, name, kind)

    def found(entries=(), inputs=None, **nodes):
        monkeypatch.setattr(module, "get_progress_state", lambda: SimpleNamespace(dynprompt=DynamicPrompt(nodes)))
        with CurrentNodeContext("prompt", "here"):
            return sampled_text(list(entries), *([inputs] if inputs else []))

    return found


def encode(text):
    return node("CLIPTextEncode", clip=["clip", 0], text=text)


HERE = node("KSampler", positive=["text", 0], negative=["other", 0])


def test_a_text_written_in_its_node_is_that_of_the_positive_input(text_in):
    assert text_in(here=HERE, text=encode(CAT), other=encode("blurry")) == CAT


def test_a_text_node_and_nodes_on_the_conditioning_are_followed(text_in):
    nodes = {
        "text": node("FluxGuidance", conditioning=["encoded", 0], guidance=3.5),
        "encoded": encode(["written", 0]),
        "written": node("PrimitiveStringMultiline", value=CAT),
    }
    assert text_in(here=HERE, **nodes) == CAT


def test_a_node_of_both_conditionings_is_followed_by_the_name_of_the_output(text_in):
    for kind in ("ControlNetApplyAdvanced", "InpaintModelConditioning"):
        both = node(kind, positive=["good", 0], negative=["bad", 0])
        assert text_in(here=HERE, text=both, good=encode(CAT), bad=encode("blurry")) == CAT


def test_a_guider_leads_to_its_conditioning(text_in):
    here, guider = node("SamplerCustomAdvanced", guider=["guider", 0]), node("BasicGuider", conditioning=["text", 0])
    assert text_in(here=here, guider=guider, text=encode(CAT)) == CAT


@pytest.mark.parametrize(
    "nodes",
    [
        {"text": encode(["joined", 0]), "joined": node("StringConcatenate", string_a="a", string_b="b")},
        {"text": node("ConditioningCombine", conditioning_1=["a", 0], conditioning_2=["b", 0]),
         "a": encode("a cat"), "b": encode("a dog")},
        {"text": node("CLIPTextEncodeFlux", clip=["clip", 0], clip_l="a cat", t5xxl="a long text", guidance=3.5)},
        {"text": node("NoSuchNode", text=CAT)},
        {"text": encode("  ")},
        {"text": node("FluxGuidance", conditioning=["text", 0], guidance=1.0)},
        {"text": node("FluxGuidance", conditioning=["0", 0], guidance=1.0), "2000": encode(CAT),
         **{f"{n}": node("FluxGuidance", conditioning=[f"{n + 1}", 0], guidance=1.0) for n in range(2000)}},
        {},
    ],
    ids=["computed", "two texts", "two encoders", "unknown node", "blank", "in a circle", "too far", "no node"],
)  # fmt: skip
def test_what_is_no_single_written_text_is_not_known(text_in, nodes):
    assert text_in(here=HERE, **nodes) == ""


def test_equal_texts_of_several_encoders_or_conditionings_count_as_one(text_in):
    flux = node("CLIPTextEncodeFlux", clip=["clip", 0], clip_l=["c", 0], t5xxl=["c", 0], guidance=3.5)
    both = node("ConditioningCombine", conditioning_1=["a", 0], conditioning_2=["b", 0])
    assert text_in(here=HERE, text=both, a=flux, b=encode(CAT), c=node("PrimitiveString", value=CAT)) == CAT


def test_a_graph_that_joins_one_text_many_times_is_read_once(text_in):
    """Thirty combinations, each of the one before with itself, lead to the text in 2 ** 30 ways."""
    both = {f"{n}": node("ConditioningCombine", conditioning_1=[f"{n + 1}", 0], conditioning_2=[f"{n + 1}", 0])
            for n in range(30)}  # fmt: skip
    assert text_in(here=node("KSampler", positive=["0", 0]), **both, **{"30": encode(CAT)}) == CAT


def test_the_conditioning_itself_comes_first_and_has_to_agree(text_in):
    graph = {"here": HERE, "text": encode("another")}
    assert text_in([{KEY: CAT}, {KEY: CAT}, {}], **graph) == CAT
    assert text_in([{KEY: CAT}, {KEY: "a dog"}], **graph) == ""
    assert text_in([{KEY: 5}], **graph) == "another"


def test_a_note_that_stands_for_one_of_two_joined_texts_is_not_trusted(text_in):
    """Concat keeps the dict of the first, whose tokens are a part of the prompt."""
    joined = node("ConditioningConcat", conditioning_to=["a", 0], conditioning_from=["b", 0])
    assert text_in([{KEY: CAT}], here=HERE, text=joined, a=encode(["c", 0]), b=encode("a dog")) == ""
    assert text_in([{KEY: CAT}], here=HERE, text=joined, a=encode(CAT), b=encode(CAT)) == CAT
    assert text_in([{KEY: CAT}], here=HERE, text=encode(["c", 0])) == CAT


def test_outside_of_a_running_prompt_nothing_is_known():
    assert sampled_text([{}]) == ""
