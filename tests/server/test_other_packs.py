"""Previews scored by stock nodes, and prompts that Preview Reward finds by itself, in the real server."""

import pytest

from support.graphs import node
from training.client.server import PromptError

PROMPT = "a small red circle above a large blue square"
STEPS = {"steps": 6, "cfg": 3.0, "sampler_name": "euler", "scheduler": "simple"}


def on_testbed(**nodes):
    return {
        "load": node("DiffusionProbeLoadTestbedModel", name="flux"),
        "reward": node("DiffusionProbeShapesJudge"),
        "positive": node("CLIPTextEncode", clip=["load", 1], text=PROMPT),
        "negative": node("CLIPTextEncode", clip=["load", 1], text=""),
        "latent": node("EmptyLatentImage", width=128, height=128, batch_size=1),
        "probe": node("DiffusionProbePreviewReward", vae=["load", 2], reward=["reward", 0], prompt=""),
        **nodes,
    }


def attached(probe=("probe", 0), positive=("positive", 0)):
    """Three seeds, sampled for three of six steps with a probe."""
    return on_testbed(
        seeds=node("DiffusionProbeSeedBatch", first_seed=5, count=3, seeds="", model=["load", 0]),
        batch=node("RepeatLatentBatch", samples=["latent", 0], amount=3),
        model=node("DiffusionProbeAttachProbe", model=["seeds", 1], probe=list(probe), moments="step 3"),
        sampled=node(
            "KSamplerAdvanced", model=["model", 0], positive=list(positive), negative=["negative", 0],
            latent_image=["batch", 0], add_noise="enable", noise_seed=0, start_at_step=0, end_at_step=3,
            return_with_leftover_noise="enable", **STEPS,
        ),
        scored=node("DiffusionProbeScore", latent=["sampled", 0], model=["model", 0]),
        best=node("PreviewAny", source=["scored", 1]),
    )  # fmt: skip


def scores(outputs, name):
    (report,) = outputs[name]["diffusion_probe"]
    return [row["score"] for row in report["rows"]], report


def test_previews_go_through_stock_nodes_and_come_back_as_scores(client):
    """The judge's list goes number by number through Math Expression, which prefers the worst."""
    given = {"latent": ["sampled", 0], "model": ["model", 0]}
    outputs = client.run({
        **attached(),
        "previews": node("DiffusionProbePreviewImages", vae=["load", 2], **given),
        "small": node("ImageScale", image=["previews", 0], upscale_method="area", width=64, height=64, crop="center"),
        "truth": node("DiffusionProbeScoreImages", images=["previews", 0], reward=["reward", 0], prompt=PROMPT),
        "worst": node("ComfyMathExpression", expression="10 - 10 * a", **{"values.a": ["truth", 0]}),
        "own": node("DiffusionProbeScoresFromValues", values=["worst", 0], label="badness", **given),
        "kept": node(
            "DiffusionProbeEarlySeedFilter", latent=["sampled", 0], scores=["own", 0], top_k=1, threshold_on="off",
            threshold=0.0, unskilled_scores="keep all",
        ),
        "decoded": node("VAEDecode", samples=["kept", 0], vae=["load", 2]),
        "show": node("DiffusionProbeSaveSeeds", images=["decoded", 0], scores=["kept", 2], filename_prefix="own"),
        "typed": node("PrimitiveStringMultiline", value="0.1, 0.9\n0.5"),
        "written": node("DiffusionProbeScoresFromValues", values=["typed", 0], label="", **given),
        "show previews": node("PreviewImage", images=["small", 0]),
        "show written": node("DiffusionProbePromptGate", scores=["written", 0], passing=["previews", 0],
                             rows="best row", threshold_on="raw score", threshold=0.8, unskilled_scores="pass"),
        "show gate": node("PreviewImage", images=["show written", 0]),
    })  # fmt: skip
    truth, _ = scores(outputs, "truth")
    own, report = scores(outputs, "own")
    assert own == pytest.approx([10 - 10 * value for value in truth]) and len(set(own)) > 1
    assert report["label"] == "badness" and [row["seed"] for row in report["rows"]] == ["5", "6", "7"]
    worst = 5 + min(range(3), key=lambda row: truth[row])
    (image,) = outputs["show"]["images"]
    assert f"seed{worst}" in image["filename"].replace("_", "")
    assert scores(outputs, "written")[0] == [0.1, 0.9, 0.5]
    assert len(outputs["show previews"]["images"]) == len(outputs["show gate"]["images"]) == 3


def search(**changes):
    inputs = {
        "model": ["load", 0], "probe": ["probe", 0], "judge": ["probe", 0], "positive": ["positive", 0],
        "negative": ["negative", 0], "latent_image": ["latent", 0], "seed": 5, "candidates": 3, "survivors": 1,
        "budget": 0.0, "policy": "one cut", "denoise": 1.0, **STEPS, **changes,
    }  # fmt: skip
    return {"search": node("DiffusionProbeSeedSearch", **inputs), "show": shown("search")}


def shown(name):
    return node("DiffusionProbeSaveSeeds", images=["decoded", 0], seeds=[name, 1], filename_prefix="found")


DECODED = node("VAEDecode", samples=["search", 0], vae=["load", 2])


def test_a_search_scores_by_the_text_of_its_prompt_without_a_wire(client):
    """The prompt goes through a text node and a node on the conditioning, as FLUX's guidance."""
    prompt = on_testbed(
        text=node("PrimitiveStringMultiline", value=PROMPT),
        encoded=node("CLIPTextEncode", clip=["load", 1], text=["text", 0]),
        guided=node("FluxGuidance", conditioning=["encoded", 0], guidance=3.5),
        decoded=DECODED,
        **search(positive=["guided", 0]),
    )
    found = scores_of_search(client.run(prompt))
    prompt["probe"]["inputs"]["prompt"] = PROMPT
    assert len(found) == 3 and found == scores_of_search(client.run(prompt))


def scores_of_search(outputs):
    (report,) = outputs["search"]["diffusion_probe"]
    return {row["seed"]: (row["scores"], row["final"]) for row in report["rows"]}


@pytest.mark.parametrize("encoder", ["CLIPTextEncode", "DiffusionProbeEncodeWords"])
def test_probe_score_uses_the_text_that_the_sampler_node_was_given(client, encoder):
    graph = attached()
    graph["positive"] = node(encoder, clip=["load", 1], text=PROMPT)
    taken, _ = scores(client.run(graph), "scored")
    graph["probe"]["inputs"]["prompt"] = PROMPT
    assert taken == scores(client.run(graph), "scored")[0] and len(set(taken)) == 3


def test_a_changed_text_is_scored_by_the_new_text(client):
    """Preview Reward itself is not run again then: it is the run that knows its prompt."""
    graph = attached()
    first, _ = scores(client.run(graph), "scored")
    graph["positive"]["inputs"]["text"] = "a large green triangle"
    second, _ = scores(client.run(graph), "scored")
    graph["probe"]["inputs"]["prompt"] = "a large green triangle"
    assert second == scores(client.run(graph), "scored")[0] and second != first


def joined():
    """A prompt that no graph shows: it is computed."""
    return {
        "joined": node("StringConcatenate", string_a="a red circle", string_b="a blue square", delimiter=" above "),
        "encoded": node("CLIPTextEncode", clip=["load", 1], text=["joined", 0]),
    }


@pytest.mark.parametrize("how", ["search", "attached"])
def test_a_computed_prompt_is_an_error_that_names_the_input_before_sampling(client, how):
    if how == "search":
        graph = on_testbed(decoded=DECODED, **joined(), **search(positive=["encoded", 0]))
    else:
        graph = {**attached(positive=("encoded", 0)), **joined()}
    events = []
    with pytest.raises(PromptError) as raised:
        client.run(graph, events.append)
    assert 'Write or connect "prompt" of Preview Reward' in str(raised.value)
    assert not [event for event in events if event["type"] == "progress"]


def test_encode_words_knows_a_computed_prompt(client):
    graph = on_testbed(decoded=DECODED, **joined(), **search(positive=["encoded", 0]))
    graph["encoded"]["class_type"] = "DiffusionProbeEncodeWords"
    assert len(scores_of_search(client.run(graph))) == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"survivors": 5}, '"survivors" is 5, and there are 3 candidates'),
        ({"budget": 0.5}, '"budget" is 0.5 images, and the survivors alone cost 1'),
        ({"steps": 1, "judge": None}, '"steps" is 1, so no candidate can be scored'),
        ({"probe": ["other", 0]}, '"vae" decodes latents of 4 channels, and those of this MODEL have 16'),
        ({"positive": ["cat", 0]}, "names no testbed object"),
    ],
)
def test_a_search_that_can_not_work_is_refused_before_sampling(client, changes, says):
    graph = on_testbed(
        decoded=DECODED,
        sdxl=node("DiffusionProbeLoadTestbedModel", name="sdxl"),
        other=node("DiffusionProbePreviewReward", vae=["sdxl", 2], reward=["reward", 0], prompt=PROMPT),
        cat=node("CLIPTextEncode", clip=["load", 1], text="a cat"),
        **search(**changes),
    )
    graph["search"]["inputs"] = {name: value for name, value in graph["search"]["inputs"].items() if value is not None}
    events = []
    with pytest.raises(PromptError, match=says):
        client.run(graph, events.append)
    assert not [event for event in events if event["type"] == "progress"]
