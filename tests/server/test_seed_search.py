"""Seed Search on the real server, compared with the server's own events and a stock KSampler."""

import io

import numpy as np
import pytest
from PIL import Image

from support.graphs import node
from support.saved import template_prompt
from training.client.server import PromptError

PROMPT = "a large red circle left of a small blue square"


@pytest.fixture
def prompt():
    sampling = {
        "model": ["model", 0], "positive": ["positive", 0], "negative": ["negative", 0], "latent_image": ["latent", 0],
        "seed": 100, "steps": 10, "cfg": 2.0, "sampler_name": "dpmpp_2m_sde", "scheduler": "simple", "denoise": 1.0,
    }  # fmt: skip
    search = {"candidates": 6, "survivors": 2, "budget": 4.0, "policy": "one cut", "probe": ["probe", 0]}
    return {
        "model": node("DiffusionProbeLoadTestbedModel", name="flux"),
        "positive": node("CLIPTextEncode", clip=["model", 1], text=PROMPT),
        "negative": node("CLIPTextEncode", clip=["model", 1], text=""),
        "latent": node("EmptySD3LatentImage", width=128, height=128, batch_size=1),
        "judge": node("DiffusionProbeShapesJudge"),
        "probe": node("DiffusionProbePreviewReward", vae=["model", 2], reward=["judge", 0], prompt=PROMPT),
        "search": node("DiffusionProbeSeedSearch", **sampling, **search),
        "decode": node("VAEDecode", samples=["search", 0], vae=["model", 2]),
        "save": node("PreviewImage", images=["decode", 0]),
    }


def images(client, outputs, number):
    return [np.asarray(Image.open(io.BytesIO(client.view(image))), dtype=int) for image in outputs[number]["images"]]


def test_a_seed_it_reports_gives_the_same_image_in_a_stock_ksampler(client, prompt):
    events = []
    prompt["named"] = node(
        "DiffusionProbeSaveSeeds", images=["decode", 0], scores=["search", 5], filename_prefix="test/found"
    )
    outputs = client.run(prompt, events.append)
    (report,) = outputs["search"]["diffusion_probe"]
    finished = [row for row in report["rows"] if row["finished"]]
    assert [row["rank"] for row in finished] == [1, 2] and len(report["rows"]) == 6
    names = [image["filename"] for image in outputs["named"]["images"]]
    assert [name.split("_score_")[0] for name in names] == [f"found_seed_{row['seed']}" for row in finished]
    assert report["model_rows"] == 2 * (6 * 2 + 2 * 8)  # cond and uncond, all to step 2, two to the end
    assert len(outputs["search"]["images"]) == 6 and "Finished 2 of 6" in outputs["search"]["text"][0]
    found = images(client, outputs, "save")
    inputs = {
        name: value
        for name, value in prompt["search"]["inputs"].items()
        if name not in ("candidates", "survivors", "budget", "policy", "probe")
    }
    for place, row in enumerate(finished):
        alone = {
            **{name: given for name, given in prompt.items() if name != "named"},
            "search": node("KSampler", **{**inputs, "seed": int(row["seed"])}),
        }
        (image,) = images(client, client.run(alone), "save")
        assert np.abs(image - found[place]).max() <= 2
    progress = [event["data"] for event in events if event["type"] == "progress" and event["data"]["node"] == "search"]
    assert progress[-1]["value"] == report["model_rows"] == progress[-1]["max"]


def test_several_wordings_are_searched_together_and_the_best_one_goes_on(client, prompt):
    prompt["other"] = node("CLIPTextEncode", clip=["model", 1], text="a small blue square right of a large red circle")
    prompt["search"]["inputs"].update(positive_2=["other", 0], candidates=3, budget=4.0, survivors=1)
    prompt["shown"] = node("PreviewAny", source=["search", 3])
    prompt["prompts"] = node("PreviewAny", source=["search", 6])
    prompt["again"] = node(
        "KSampler",
        **{
            name: prompt["search"]["inputs"][name]
            for name in ("model", "negative", "latent_image", "steps", "cfg", "sampler_name", "scheduler", "denoise")
        },
        positive=["search", 4],
        seed=100,
    )
    prompt["decode"]["inputs"]["samples"] = ["again", 0]
    outputs = client.run(prompt)
    (report,) = outputs["search"]["diffusion_probe"]
    assert sorted((row["seed"], row["prompt"]) for row in report["rows"]) == [
        (str(seed), variant) for seed in (100, 101, 102) for variant in (1, 2)
    ]
    (best,) = [row["prompt"] for row in report["rows"] if row["finished"]]
    assert outputs["prompts"]["text"][0] == str(best) and "of prompt" in outputs["shown"]["text"][0]
    assert len(outputs["save"]["images"]) == 1


def test_an_interrupt_stops_it_within_a_model_call_and_the_next_search_is_as_ever(client, prompt):
    (before,) = client.run(prompt)["search"]["diffusion_probe"]
    long = {**prompt, "search": node("DiffusionProbeSeedSearch", **{**prompt["search"]["inputs"], "steps": 400})}
    prompt_id = client.queue(long)
    rows = []
    for event in client.events(prompt_id):
        if event["type"] == "progress":
            rows.append(event["data"]["value"])
            if len(rows) == 3:
                client.interrupt(prompt_id)
    with pytest.raises(PromptError) as stopped:
        client.outputs(prompt_id)
    assert stopped.value.interrupted and rows[-1] < 6 * 80 * 2
    prompt["search"]["inputs"]["seeds"] = "100, 101, 102, 103, 104, 105"  # the same, but not cached
    (after,) = client.run(prompt)["search"]["diffusion_probe"]
    times = ("seconds", "look_seconds")
    assert {**after, **dict.fromkeys(times)} == {**before, **dict.fromkeys(times)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"budget": 0.5}, 'Seed Search: "budget" is 0.5 images, and the survivors alone cost 2'),
        ({"seeds": "7, 7"}, "Seed Search: Seed 7 is in the list more than once"),
        ({"probe": ["focus", 0]}, "has no measured skill in ranking seeds.*Connect Preview Reward"),
        ({"judge": ["focus", 0]}, "Attention focus can't judge finished images"),
        ({"latent_image": ["batch", 0]}, "The latent has 4 rows.*set batch_size"),
        ({"model": ["seeded", 1]}, "This MODEL brings seeds.*before the seeds are set"),
        ({"denoise": 0.0}, "Denoise is 0.*Set denoise above 0"),
        ({"model": ["attached", 0]}, "A probe is attached to this MODEL.*before the probe was attached"),
    ],
)
def test_bad_input_is_an_error_with_node_cause_and_fix(client, prompt, change, says):
    prompt["focus"] = node("DiffusionProbeAttentionFocus")
    prompt["batch"] = node("EmptySD3LatentImage", width=128, height=128, batch_size=4)
    prompt["attached"] = node("DiffusionProbeAttachProbe", model=["model", 0], probe=["probe", 0], moments="auto")
    prompt["seeded"] = node("DiffusionProbeSeedBatch", model=["model", 0], first_seed=7, count=3)
    prompt["search"]["inputs"].update(change)
    with pytest.raises(PromptError, match=says):
        client.run(prompt)


def test_a_search_of_sixteen_finishes_one_within_its_budget(client):
    prompt = template_prompt("seed-search-testbed", client.object_info())
    (search,) = (number for number, given in prompt.items() if given["class_type"] == "DiffusionProbeSeedSearch")
    outputs = client.run(prompt)
    (report,) = outputs[search]["diffusion_probe"]
    assert len(report["rows"]) == 16 and [row["finished"] for row in report["rows"]].count(True) == 1
    assert report["model_rows"] <= 4 * 25 * 2


def test_lines_of_a_text_are_wordings_with_the_guidance_of_the_prompt(client, prompt):
    other = "a small blue square"
    prompt["search"]["inputs"].update(candidates=2, budget=0.0, sampler_name="euler", steps=6, positive=["guided", 0])
    prompt["guided"] = node("FluxGuidance", conditioning=["positive", 0], guidance=1.5)
    prompt["other"] = node("CLIPTextEncode", clip=["model", 1], text=other)
    prompt["other guided"] = node("FluxGuidance", conditioning=["other", 0], guidance=1.5)
    reports = []
    for more in ({"positive_2": ["other guided", 0]}, {"clip": ["model", 1], "variants": f"1. {other}\n"}):
        search = node("DiffusionProbeSeedSearch", **prompt["search"]["inputs"], **more)
        (report,) = client.run({**prompt, "search": search})["search"]["diffusion_probe"]
        reports.append([(row["seed"], row["prompt"], str(row["scores"])) for row in report["rows"]])
    assert reports[0] == reports[1] and {row[1] for row in reports[0]} == {1, 2} and len(reports[0]) == 4


def test_lines_without_a_text_encoder_are_refused_before_sampling(client, prompt):
    prompt["search"]["inputs"]["variants"] = "a small blue square"
    with pytest.raises(PromptError, match='nothing encodes them. Connect the CLIP of CLIP Text Encode to "clip"'):
        client.run(prompt)
