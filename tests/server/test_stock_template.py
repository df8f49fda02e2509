"""A workflow saved by ComfyUI itself as a prompt for the real server."""

import json

from training.client.workflow import to_prompt


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
