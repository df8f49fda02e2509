"""Encode Words in the real server, on the testbed."""

import io

from PIL import Image

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
