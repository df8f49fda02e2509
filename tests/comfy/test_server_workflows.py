"""Saved workflows, the pack's own and one of ComfyUI's, as prompts for the real server."""

import json

import pytest

from runtime.paths import PACK_ROOT
from runtime.workflow import load_prompt, to_prompt

SHIPPED = sorted((PACK_ROOT / "workflows").glob("*.json"))


def test_a_template_of_comfyui_converts_to_the_prompt_one_would_write(client):
    import comfyui_workflow_templates_json as templates

    folder = next(iter(templates.__path__))
    saved = json.loads(open(f"{folder}/templates/default.json", encoding="utf-8").read())
    prompt = to_prompt(saved, client.object_info())
    assert {number: node["class_type"] for number, node in prompt.items()} == {
        "3": "KSampler",
        "4": "CheckpointLoaderSimple",
        "5": "EmptyLatentImage",
        "6": "CLIPTextEncode",
        "7": "CLIPTextEncode",
        "8": "VAEDecode",
        "9": "SaveImage",
    }
    assert prompt["3"]["inputs"] == {
        "seed": 685468484323813,
        "steps": 20,
        "cfg": 8,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1,
        "model": ["4", 0],
        "positive": ["6", 0],
        "negative": ["7", 0],
        "latent_image": ["5", 0],
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_workflow_fills_every_required_input(client, path):
    info = client.object_info()
    for number, node in load_prompt(path, info).items():
        required = info[node["class_type"]]["input"].get("required", {})
        absent = {name for name, spec in required.items() if not str(spec[0]).startswith("COMFY_AUTOGROW")}
        assert not absent - set(node["inputs"]), f"{node['class_type']} (node {number})"
