"""Prompt Loop on the real server: what is tried, what is never run, and which wording and seed go on."""

import itertools

import pytest

from support.graphs import node
from training.client.server import PromptError

FIRST = "a large red circle above a small blue square"
STEPS = {"steps": 6, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple"}
CUT = 2
FRESH = itertools.count(900)


def graph(rewrite, threshold=2.0, rounds=2, **loop):
    return {
        "load": node("DiffusionProbeLoadTestbedModel", name="flux"),
        "judge": node("DiffusionProbeShapesJudge"),
        "probe": node("DiffusionProbePreviewReward", vae=["load", 2], reward=["judge", 0], prompt=""),
        "negative": node("CLIPTextEncode", clip=["load", 1], text=""),
        "latent": node("EmptyLatentImage", width=128, height=128, batch_size=1),
        "loop": node(
            "DiffusionProbePromptLoop", model=["load", 0], clip=["load", 1], probe=["probe", 0], cut=CUT / 6,
            negative=["negative", 0], latent_image=["latent", 0], prompt=FIRST, rewrite=rewrite, rounds=rounds,
            threshold=threshold, rows="mean of all seeds", seed=next(FRESH), candidates=2, **STEPS, **loop,
        ),
        "text": node("PreviewAny", source=["loop", 1]),
        "seeds": node("PreviewAny", source=["loop", 2]),
        "report": node("PreviewAny", source=["loop", 6]),
    }  # fmt: skip


def asked(request="{prompt} and a cross {round}"):
    """Return the nodes of a rewrite: a request, and a stock node that changes its text."""
    return {
        "ask": node("DiffusionProbePromptToRewrite", request=request),
        "spelled": node("CaseConverter", string=["ask", 0], mode="lowercase"),
    }


def by_hand(client, texts, seed):
    """Return the scores of the first steps of two seeds of each text, by the nodes of the construction kit."""
    nodes = graph("")
    del nodes["loop"], nodes["text"], nodes["seeds"], nodes["report"]
    nodes["latent"]["inputs"]["batch_size"] = 2
    nodes["probe"]["inputs"]["prompt"] = FIRST
    for number, text in enumerate(texts):
        nodes |= {
            f"seeds {number}": node("DiffusionProbeSeedBatch", model=["load", 0], first_seed=seed, count=2),
            f"attach {number}": node(
                "DiffusionProbeAttachProbe", model=[f"seeds {number}", 1], probe=["probe", 0], moments=f"step {CUT}"
            ),
            f"text {number}": node("CLIPTextEncode", clip=["load", 1], text=text),
            f"sampled {number}": node(
                "KSamplerAdvanced", model=[f"attach {number}", 0], add_noise="enable", noise_seed=seed,
                positive=[f"text {number}", 0], negative=["negative", 0], latent_image=["latent", 0], start_at_step=0,
                end_at_step=CUT, return_with_leftover_noise="enable", **STEPS,
            ),
            f"score {number}": node(
                "DiffusionProbeScore", latent=[f"sampled {number}", 0], model=[f"attach {number}", 0]
            ),
            f"shown {number}": node("PreviewAny", source=[f"score {number}", 1]),
        }  # fmt: skip
    outputs = client.run(nodes)
    reports = [outputs[f"score {number}"]["diffusion_probe"][0] for number in range(len(texts))]
    return [[row["score"] for row in report["rows"]] for report in reports]


def lines_of(outputs):
    head, *lines = outputs["report"]["text"][0].splitlines()
    return head, lines


def test_each_round_rewrites_the_best_wording_and_the_best_goes_on(client):
    nodes = {**graph(["spelled", 0]), **asked()}
    outputs = client.run(nodes)
    head, lines = lines_of(outputs)
    texts = [line.split("): ", 1)[1] for line in lines]
    scores = by_hand(client, texts, nodes["loop"]["inputs"]["seed"])
    means = [sum(each) / 2 for each in scores]
    assert "No round is left." in head and len(texts) == 3
    for number, (line, mean) in enumerate(zip(lines, means, strict=True), start=1):
        assert f"{number}. {mean:.4g} (" in line
    assert texts[0] == FIRST and texts[1] == f"{FIRST} and a cross 1"
    assert texts[2] == f"{texts[means[:2].index(max(means[:2]))]} and a cross 2"
    best = means.index(max(means))
    seed = nodes["loop"]["inputs"]["seed"]
    order = [seed, seed + 1] if scores[best][0] >= scores[best][1] else [seed + 1, seed]
    assert outputs["text"]["text"][0] == texts[best]
    assert outputs["seeds"]["text"][0] == ", ".join(map(str, order))


def test_a_prompt_that_is_good_enough_is_not_rewritten(client):
    outputs = client.run({**graph(["broken", 0], threshold=-1.0), **asked(), "broken": node(
        "RegexExtract", string=["ask", 0], regex_pattern="(", mode="First Match", case_insensitive=False,
        multiline=False, dotall=False, group_index=1,
    )})  # fmt: skip
    head, lines = lines_of(outputs)
    assert "Good enough." in head and len(lines) == 1 and outputs["text"]["text"][0] == FIRST


def test_lines_of_a_text_are_tried_in_their_order_until_none_is_new(client):
    written = f"{FIRST}\n1. a red circle above a blue square\n"
    for rewrite, more in ((written, {}), (["text node", 0], {"text node": node("PrimitiveString", value=written)})):
        head, lines = lines_of(client.run({**graph(rewrite, rounds=5), **more}))
        assert "no wording that was not tried" in head
        assert [line.split("): ", 1)[1] for line in lines] == [FIRST, "a red circle above a blue square"]


def test_a_request_outside_of_a_loop_says_where_it_belongs(client):
    with pytest.raises(PromptError, match='works inside of a loop only. Connect the nodes behind it to "rewrite"'):
        client.run({**asked(), "shown": node("PreviewAny", source=["spelled", 0])})
