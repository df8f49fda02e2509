"""The testbed SDXL in the real server: stock nodes only around Load Testbed Model."""

import io

import numpy as np
import pytest
import torch
from diffusion_probe.testbed import sample
from diffusion_probe.testbed.load import load_testbed
from PIL import Image

PROMPT = "a small red circle to the left of a large blue square"
SEEDS = (11, 12)


def graph(text_node="CLIPTextEncode", seed=SEEDS[0], **text):
    return {
        "load": {"class_type": "DiffusionProbeLoadTestbedModel", "inputs": {"name": "sdxl"}},
        "positive": {"class_type": text_node, "inputs": {"clip": ["load", 1], **(text or {"text": PROMPT})}},
        "negative": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["load", 1], "text": ""}},
        "latent": {"class_type": "EmptyLatentImage", "inputs": {"width": 128, "height": 128, "batch_size": 1}},
        "sample": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["load", 0], "positive": ["positive", 0], "negative": ["negative", 0],
                "latent_image": ["latent", 0], "seed": seed, "steps": sample.STEPS, "cfg": sample.CFG["SDXL"],
                "sampler_name": sample.SAMPLER, "scheduler": sample.SCHEDULER, "denoise": 1.0,
            },
        },
        "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sample", 0], "vae": ["load", 2]}},
        "images": {"class_type": "PreviewImage", "inputs": {"images": ["decode", 0]}},
    }  # fmt: skip


def picture(client, graph):
    (image,) = client.run(graph)["images"]["images"]
    return np.asarray(Image.open(io.BytesIO(client.view(image))).convert("RGB"), dtype=int)


@pytest.fixture(scope="module")
def headless():
    """The same two seeds as one batch, sampled in this process."""
    with torch.inference_mode():
        images = sample.sample_images(*load_testbed("sdxl"), PROMPT, SEEDS)
    return (images.numpy() * 255).clip(0, 255).astype(int)


@pytest.mark.parametrize("row", [0, 1])
def test_stock_nodes_give_the_image_that_the_benchmarks_judge(client, headless, row):
    assert np.abs(picture(client, graph(seed=SEEDS[row])) - headless[row]).max() <= 2


def test_the_text_node_of_sdxl_gives_the_same_image(client, headless):
    sizes = {"width": 1024, "height": 1024, "crop_w": 0, "crop_h": 0, "target_width": 1024, "target_height": 1024}
    special = picture(client, graph("CLIPTextEncodeSDXL", text_g=PROMPT, text_l=PROMPT, **sizes))
    assert np.abs(special - headless[0]).max() <= 2
