"""Prune in Flight in the real server: a batch in one KSampler, of which only the best rows become images."""

import io

import numpy as np
from diffusion_probe.testbed import sample
from PIL import Image

PROMPT = "a small red circle to the left of a large blue square"
SEEDS = (21, 22, 23, 24, 25)
KEPT = 2


def run_of(model, batch_size, seed):
    return {
        "load": {"class_type": "DiffusionProbeLoadTestbedModel", "inputs": {"name": "flux"}},
        "positive": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["load", 1], "text": PROMPT}},
        "negative": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["load", 1], "text": ""}},
        "latent": {"class_type": "EmptyLatentImage", "inputs": {"width": 128, "height": 128, "batch_size": batch_size}},
        "sample": {
            "class_type": "KSampler",
            "inputs": {
                "model": model, "positive": ["positive", 0], "negative": ["negative", 0], "latent_image": ["latent", 0],
                "seed": seed, "steps": sample.STEPS, "cfg": sample.CFG["FLUX"],
                "sampler_name": "dpmpp_2m", "scheduler": sample.SCHEDULER, "denoise": 1.0,
            },
        },
    }  # fmt: skip


def pictured(graph, latent):
    decode = {"class_type": "VAEDecode", "inputs": {"samples": latent, "vae": ["load", 2]}}
    images = {"class_type": "PreviewImage", "inputs": {"images": ["decode", 0]}}
    return {**graph, "decode": decode, "images": images}


def pruned():
    """Many seeds, a sampler with history, one node: pruned, scored, filtered, decoded."""
    nodes = run_of(["prune", 0], len(SEEDS), SEEDS[0]) | {
        "judge": {"class_type": "DiffusionProbeShapesJudge", "inputs": {}},
        "probe": {
            "class_type": "DiffusionProbePreviewReward",
            "inputs": {"vae": ["load", 2], "reward": ["judge", 0], "prompt": PROMPT},
        },
        "seeds": {
            "class_type": "DiffusionProbeSeedBatch",
            "inputs": {"model": ["load", 0], "first_seed": SEEDS[0], "count": len(SEEDS), "seeds": ""},
        },
        "prune": {
            "class_type": "DiffusionProbePruneInFlight",
            "inputs": {
                "model": ["seeds", 1], "probe": ["probe", 0], "moment": "30%", "top_k": KEPT,
                "threshold_on": "off", "threshold": 0.5, "unskilled_scores": "keep all",
            },
        },
        "score": {
            "class_type": "DiffusionProbeScore",
            "inputs": {"latent": ["sample", 0], "model": ["prune", 0], "moment": ""},
        },
        "filter": {
            "class_type": "DiffusionProbeEarlySeedFilter",
            "inputs": {
                "latent": ["sample", 0], "scores": ["score", 0], "top_k": 0,
                "threshold_on": "off", "threshold": 0.5, "unskilled_scores": "keep all",
            },
        },
    }  # fmt: skip
    return pictured(nodes, ["filter", 0])


def pictures(client, outputs):
    views = [client.view(image) for image in outputs["images"]["images"]]
    return [np.asarray(Image.open(io.BytesIO(view)).convert("RGB"), dtype=int) for view in views]


def test_only_kept_rows_become_images_and_each_is_the_stock_ksamplers_of_its_seed(client):
    outputs = client.run(pruned())
    report = outputs["filter"]["diffusion_probe"][0]
    kept, dropped = ([int(row["seed"]) for row in report[part]] for part in ("kept", "dropped"))
    assert len(kept) == KEPT and sorted(kept + dropped) == list(SEEDS)
    scores = {part: [row["score"] for row in report[part]] for part in ("kept", "dropped")}
    assert min(scores["kept"]) >= max(scores["dropped"])
    finished = pictures(client, outputs)
    assert len(finished) == KEPT
    for seed, image in zip(kept, finished, strict=True):
        (alone,) = pictures(client, client.run(pictured(run_of(["load", 0], 1, seed), ["sample", 0])))
        assert np.abs(image - alone).max() <= 2, seed


def test_the_runs_cost_is_that_of_the_rows_that_went_on(client):
    report = client.run(pruned() | {"again": {"class_type": "PreviewAny", "inputs": {"source": ["filter", 1]}}})
    steps, looked, cond_and_uncond = sample.STEPS, report["score"]["diffusion_probe"][0]["step"], 2
    least = cond_and_uncond * (len(SEEDS) * looked + KEPT * (steps - looked))
    assert report["score"]["diffusion_probe"][0]["model_rows"] == least
