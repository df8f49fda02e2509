"""Load Probe on the real server: files and names that it refuses, and the right one afterwards."""

import pytest
import torch
from diffusion_probe.nodes.probe_folder import FOLDER

from training.client.server import PromptError

NAME = "faces.safetensors"


def prompt(name):
    """The testbed FLUX looked into by a probe of that name."""
    kinds = {
        "load": ("DiffusionProbeLoadTestbedModel", {"name": "flux"}),
        "probe": ("DiffusionProbeLoadProbe", {"name": name}),
        "model": ("DiffusionProbeAttachProbe", {"model": ["load", 0], "probe": ["probe", 0], "moments": "step 2"}),
        "text": ("CLIPTextEncode", {"clip": ["load", 1], "text": "a small red circle"}),
        "latent": ("EmptyLatentImage", {"width": 128, "height": 128, "batch_size": 2}),
        "sampled": (
            "KSampler",
            {"model": ["model", 0], "positive": ["text", 0], "negative": ["text", 0], "latent_image": ["latent", 0],
             "seed": 5, "denoise": 1.0, "steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"},
        ),
        "scored": ("DiffusionProbeScore", {"latent": ["sampled", 0], "model": ["model", 0]}),
        "best": ("LatentFromBatch", {"samples": ["sampled", 0], "batch_index": ["scored", 1], "length": 1}),
        "image": ("VAEDecode", {"samples": ["best", 0], "vae": ["load", 2]}),
        "show": ("PreviewImage", {"images": ["image", 0]}),
    }  # fmt: skip
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in kinds.items()}


def test_the_server_refuses_bad_probe_files_and_then_runs_the_right_one(client, server_models, write_probe):
    folder = server_models / FOLDER
    folder.mkdir(exist_ok=True)
    write_probe(folder / NAME, blocks=("double 0",))
    write_probe(folder / "sdxl.safetensors", family="SDXL")
    write_probe(folder / "large.safetensors", blocks=("single 13",))
    (folder / "half.safetensors").write_bytes((folder / NAME).read_bytes()[:3000])
    torch.save({}, folder / "old.pt")
    for name, says in {
        "sdxl.safetensors": 'Attach Probe: The probe "sdxl" was trained for SDXL, and this MODEL is FLUX',
        "large.safetensors": 'Attach Probe: The probe "large" reads layers that are not captured',
        "half.safetensors": "Load Probe: Half.safetensors is cut off",
        "old.pt": "Load Probe: Old.pt is a pickled file",
        "../faces.safetensors": "not in list",
        str(folder / NAME): "not in list",
    }.items():
        with pytest.raises(PromptError) as refused:
            client.run(prompt(name))
        assert says in str(refused.value)
    (report,) = client.run(prompt(NAME))["scored"]["diffusion_probe"]
    assert report["label"] == "ImageReward" and len(report["rows"]) == 2
