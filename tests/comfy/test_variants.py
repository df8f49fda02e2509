"""Conditionings of other wordings, with what nodes added to the first one."""

import torch
from diffusion_probe.engine.capture.prompt.sampled_text import KEY
from diffusion_probe.engine.capture.prompt.variants import encoded_like
from diffusion_probe.testbed.load import load_testbed

import nodes as comfy_nodes


def test_a_wording_is_what_clip_text_encode_gives_with_what_was_added():
    clip = load_testbed("flux")[1]
    (first,) = comfy_nodes.CLIPTextEncode().encode(clip, "a red circle")
    (stock,) = comfy_nodes.CLIPTextEncode().encode(clip, "a blue square")
    pattern = [[first[0][0], {**first[0][1], "guidance": 1.5, "control": "a net", KEY: "a red circle"}]]
    ((context, entry),) = encoded_like(clip, "a blue square", pattern)
    assert torch.equal(context, stock[0][0]) and torch.equal(entry["pooled_output"], stock[0][1]["pooled_output"])
    assert entry["guidance"] == 1.5 and entry["control"] == "a net" and entry[KEY] == "a blue square"
    ((_, alone),) = encoded_like(clip, "a blue square", None)
    assert "guidance" not in alone
