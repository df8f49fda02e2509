"""Graphs in ComfyUI's API format."""

import time

SHAPES = "a large red circle left of a small blue square"
"""Prompt for the testbed."""


def node(class_type, **inputs):
    """Return a node of a prompt."""
    return {"class_type": class_type, "inputs": inputs}


def held_search(model=("model", 0), **inputs):
    """Return a prompt of a small search by previews that waits for the user; a new seed each time, so it runs.

    Args:
        model: link to the MODEL that is searched.
        inputs: of Seed Search, in place of those here.
    """
    sampling = {
        "model": list(model), "positive": ["positive", 0], "negative": ["negative", 0], "latent_image": ["latent", 0],
        "seed": time.time_ns() % 10**9, "steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple",
        "denoise": 1.0, "candidates": 3, "survivors": 1, "budget": 0.0, "policy": "one cut", "probe": ["probe", 0],
        "hold_for_me": True, "hold_seconds": 60,
    }  # fmt: skip
    return {
        "model": node("DiffusionProbeLoadTestbedModel", name="flux"),
        "positive": node("CLIPTextEncode", clip=["model", 1], text=SHAPES),
        "negative": node("CLIPTextEncode", clip=["model", 1], text=""),
        "latent": node("EmptySD3LatentImage", width=128, height=128, batch_size=1),
        "judge": node("DiffusionProbeShapesJudge"),
        "probe": node("DiffusionProbePreviewReward", vae=["model", 2], reward=["judge", 0], prompt=SHAPES),
        "search": node("DiffusionProbeSeedSearch", **{**sampling, **inputs}),
        "decode": node("VAEDecode", samples=["search", 0], vae=["model", 2]),
        "save": node("PreviewImage", images=["decode", 0]),
    }
