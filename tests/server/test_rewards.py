"""Reward models in the real server: Preview Reward judges with one, and Score Images picks the best image."""

import pytest
from diffusion_probe.dev.random_rewards import write_image_reward

from support.graphs import node
from training.client.server import PromptError

PROMPT = "a small red circle above a large blue square"
STEPS = {"steps": 6, "cfg": 3.0, "sampler_name": "euler", "scheduler": "simple"}


def graph(reward):
    return {
        "load": node("DiffusionProbeLoadTestbedModel", name="flux"),
        "reward": reward,
        "positive": node("CLIPTextEncode", clip=["load", 1], text=PROMPT),
        "negative": node("CLIPTextEncode", clip=["load", 1], text=""),
        "latent": node("EmptyLatentImage", width=128, height=128, batch_size=3),
        "probe": node("DiffusionProbePreviewReward", vae=["load", 2], reward=["reward", 0], prompt=PROMPT),
        "model": node("DiffusionProbeAttachProbe", model=["load", 0], probe=["probe", 0], moments="step 3"),
        "sampled": node(
            "KSampler", model=["model", 0], positive=["positive", 0], negative=["negative", 0],
            latent_image=["latent", 0], seed=5, denoise=1.0, **STEPS,
        ),
        "scored": node("DiffusionProbeScore", latent=["sampled", 0], model=["model", 0]),
        "best": node("LatentFromBatch", samples=["sampled", 0], batch_index=["scored", 1], length=1),
        "best image": node("VAEDecode", samples=["best", 0], vae=["load", 2]),
        "show best": node("PreviewImage", images=["best image", 0]),
        "images": node("VAEDecode", samples=["sampled", 0], vae=["load", 2]),
        "judged": node("DiffusionProbeScoreImages", images=["images", 0], reward=["reward", 0], prompt=PROMPT),
        "show": node("PreviewImage", images=["judged", 2]),
    }  # fmt: skip


def test_a_reward_model_judges_previews_and_finished_images(client, server_models):
    write_image_reward(server_models / "reward_models")
    outputs = client.run(graph(node("DiffusionProbeLoadRewardModel", name="ImageReward")))
    (report,) = outputs["scored"]["diffusion_probe"]
    assert report["label"] == "ImageReward" and report["moment"] == "step 3" and report["skilled"]
    assert len({row["score"] for row in report["rows"]}) == 3
    (judged,) = outputs["judged"]["diffusion_probe"]
    assert judged["label"] == "ImageReward" and sorted(row["rank"] for row in judged["rows"]) == [1, 2, 3]
    assert len(outputs["show"]["images"]) == len(outputs["show best"]["images"]) == 1


def test_preview_reward_takes_vae_and_prompt_from_the_graph(client, server_models):
    write_image_reward(server_models / "reward_models")
    nodes = graph(node("DiffusionProbeLoadRewardModel", name="ImageReward"))
    scores = []
    for unconnected in ((), ("vae",), ("vae", "prompt")):
        inputs = {name: value for name, value in nodes["probe"]["inputs"].items() if name not in unconnected}
        prompt = {**nodes, "probe": node("DiffusionProbePreviewReward", **{"prompt": "", **inputs})}
        outputs = client.run(prompt)
        scores.append([row["score"] for row in outputs["scored"]["diffusion_probe"][0]["rows"]])
    assert scores[0] == scores[1] == scores[2]


def test_a_missing_reward_model_says_what_to_put_where(client, server_models):
    with pytest.raises(PromptError) as raised:
        client.run(graph(node("DiffusionProbeLoadRewardModel", name="PickScore")))
    message = str(raised.value)
    assert "Load Reward Model: PickScore needs files that are not there" in message
    assert str(server_models / "reward_models" / "PickScore" / "model.safetensors") in message
    assert "3.94 GB" in message
