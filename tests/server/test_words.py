"""Encode Words and Attention Preview in the real server, on the testbed."""

import io

import pytest
from PIL import Image

from training.client.server import PromptError

PROMPT = "a small (red:1.2) circle to the left of a large blue square"


def graph(encoder="DiffusionProbeEncodeWords", text=PROMPT):
    return {
        "load": {"class_type": "DiffusionProbeLoadTestbedModel", "inputs": {"name": "flux"}},
        "focus": {"class_type": "DiffusionProbeAttentionFocus", "inputs": {}},
        "attach": {
            "class_type": "DiffusionProbeAttachProbe",
            "inputs": {"model": ["load", 0], "probe": ["focus", 0], "moments": "step 5"},
        },
        "positive": {"class_type": encoder, "inputs": {"clip": ["load", 1], "text": text}},
        "negative": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["load", 1], "text": ""}},
        "latent": {"class_type": "EmptyLatentImage", "inputs": {"width": 128, "height": 128, "batch_size": 2}},
        "sample": {
            "class_type": "KSamplerAdvanced",
            "inputs": {
                "model": ["attach", 0], "positive": ["positive", 0], "negative": ["negative", 0],
                "latent_image": ["latent", 0], "add_noise": "enable", "noise_seed": 3, "steps": 25, "cfg": 2.0,
                "sampler_name": "euler", "scheduler": "simple", "start_at_step": 0, "end_at_step": 5,
                "return_with_leftover_noise": "enable",
            },
        },
        "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sample", 0], "vae": ["load", 2]}},
        "images": {"class_type": "PreviewImage", "inputs": {"images": ["decode", 0]}},
    }  # fmt: skip


def pictures(client, graph, node):
    """Their pixels: the files differ, for each holds its prompt."""
    return [Image.open(io.BytesIO(client.view(image))).tobytes() for image in client.run(graph)[node]["images"]]


def test_images_are_those_of_clip_text_encode_pixel_by_pixel(client):
    ours = pictures(client, graph(), "images")
    assert len(ours) == 2 and ours == pictures(client, graph("CLIPTextEncode"), "images")


def test_the_names_of_the_words_can_be_shown(client):
    shown = {**graph(), "names": {"class_type": "PreviewAny", "inputs": {"source": ["positive", 1]}}}
    words = client.run(shown)["names"]["text"]
    assert words == ["a, small, red, circle, to, the, left, of, a (2), large, blue, square"]


def with_preview(graph, **inputs):
    preview = {"latent": ["sample", 0], "model": ["attach", 0], "words": "red circle, square", "row": -1}
    preview |= {"opacity": 0.75, "size": 128, "captions": True} | inputs
    return {
        **graph,
        "attention": {"class_type": "DiffusionProbeAttentionPreview", "inputs": preview},
        "maps": {"class_type": "PreviewImage", "inputs": {"images": ["attention", 0]}},
        "captions": {"class_type": "PreviewAny", "inputs": {"source": ["attention", 1]}},
    }


def test_attention_preview_gives_a_picture_per_row_and_word(client):
    outputs = client.run(with_preview(graph()))
    assert len(outputs["maps"]["images"]) == 4
    lines = outputs["captions"]["text"][0].splitlines()
    named = [f"row {row}: {word}" for row in (0, 1) for word in ("red circle", "square")]
    assert [line.rsplit(",", 1)[0] for line in lines] == named


def test_a_prompt_of_clip_text_encode_gives_one_map_per_row(client):
    assert len(client.run(with_preview(graph("CLIPTextEncode"), words=""))["maps"]["images"]) == 2


def test_a_wrong_word_is_an_error_that_names_the_node_and_the_words(client):
    with pytest.raises(
        PromptError, match='Attention Preview: "green" is not in the prompt. Its words are: a, small, red'
    ):
        client.run(with_preview(graph(), words="green"))
