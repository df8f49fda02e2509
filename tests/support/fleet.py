"""Recording on several servers or workers, as its command does it: a small workflow, prompts and the command line."""

import argparse
import json

from diffusion_probe.training.fleet import record

from .graphs import node

PROMPTS = ("a large red circle to the left of a small blue square", "a small green triangle above a large blue circle")


def recording(name):
    """Return a workflow that records one seed of a prompt in four steps into the dataset ``name``."""
    return {
        "model": node("DiffusionProbeLoadTestbedModel", name="flux"),
        "text": node("PrimitiveStringMultiline", value=PROMPTS[0]),
        "positive": node("DiffusionProbeEncodeWords", clip=["model", 1], text=["text", 0]),
        "negative": node("CLIPTextEncode", clip=["model", 1], text=""),
        "attach": node("DiffusionProbeAttachRecorder", model=["model", 0], moments="50%"),
        "latent": node("EmptySD3LatentImage", width=128, height=128, batch_size=1),
        "sampler": node(
            "KSampler", model=["attach", 0], positive=["positive", 0], negative=["negative", 0],
            latent_image=["latent", 0], seed=0, steps=4, cfg=2.0, sampler_name="euler", scheduler="simple",
            denoise=1.0,
        ),
        "images": node("VAEDecode", samples=["sampler", 0], vae=["model", 2]),
        "judge": node("DiffusionProbeShapesJudge"),
        "record": node(
            "DiffusionProbeRecord", model=["attach", 0], latent=["sampler", 0], images=["images", 0],
            reward=["judge", 0], prompt=["text", 0], dataset=name,
        ),
    }  # fmt: skip


def record_by_command(folder, workflow, *options, seeds=4):
    """Run ``python -m training record`` in process, with a workflow's prompts written to ``folder``."""
    (folder / "workflow.json").write_text(json.dumps(workflow))
    (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    parser = argparse.ArgumentParser()
    record.add_arguments(parser)
    files = (str(folder / "workflow.json"), "--prompts", str(folder / "prompts.txt"))
    parsed = parser.parse_args([*files, "--seeds", str(seeds), "--yes", *options])
    parsed.run(parsed)
