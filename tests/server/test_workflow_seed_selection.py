"""A seed selection on the real server, judged by the server's own events."""

import io
import json
import urllib.parse
import urllib.request

import numpy as np
import pytest
from PIL import Image

from support.marks import some_long
from support.saved import template_prompt
from training.client.server import PromptError


class Nodes:
    """The nodes of the workflow by what they do."""

    def __init__(self, prompt):
        by_type = {node["class_type"]: number for number, node in prompt.items()}
        samplers = [number for number, node in prompt.items() if node["class_type"] == "KSamplerAdvanced"]
        self.first = next(number for number in samplers if prompt[number]["inputs"]["add_noise"] == "enable")
        self.second = next(number for number in samplers if number != self.first)
        self.model = by_type["DiffusionProbeLoadTestbedModel"]
        self.seeds = by_type["DiffusionProbeSeedBatch"]
        self.trained = by_type["DiffusionProbeLoadProbe"]
        self.attach = by_type["DiffusionProbeAttachProbe"]
        self.reward = by_type["DiffusionProbePreviewReward"]
        self.score = by_type["DiffusionProbeScore"]
        self.filter = by_type["DiffusionProbeEarlySeedFilter"]
        self.text = by_type["PrimitiveStringMultiline"]
        self.latent = by_type["EmptySD3LatentImage"]
        self.decode = by_type["VAEDecode"]
        self.save = by_type["DiffusionProbeSaveSeeds"]


@pytest.fixture
def prompt(client):
    return template_prompt("seed-selection-testbed", client.object_info())


@pytest.fixture
def nodes(prompt):
    return Nodes(prompt)


def count_decoded(prompt, nodes):
    """Let the server report how many images leave VAE Decode."""
    prompt["size"] = {"class_type": "GetImageSize", "inputs": {"image": [nodes.decode, 0]}}
    prompt["decoded"] = {"class_type": "PreviewAny", "inputs": {"source": ["size", 2]}}


def show_rejected(prompt, nodes):
    """Decode the rejected rows in a branch of their own."""
    prompt["rejects"] = {
        "class_type": "VAEDecode",
        "inputs": {"samples": [nodes.filter, 3], "vae": [nodes.model, 2]},
    }
    prompt["show rejects"] = {"class_type": "PreviewImage", "inputs": {"images": ["rejects", 0]}}


def test_rejected_rows_are_never_sampled_further_and_never_reach_the_vae(run, prompt, nodes):
    # Attention Focus decodes nothing: VAE Decode is the only one that may call the VAE.
    prompt["focus"] = {"class_type": "DiffusionProbeAttentionFocus", "inputs": {}}
    prompt[nodes.attach]["inputs"]["probe"] = ["focus", 0]
    prompt[nodes.filter]["inputs"]["unskilled_scores"] = "use anyway"
    count_decoded(prompt, nodes)
    done = run(prompt)
    assert len(done.images(nodes.score)) == 16
    assert done.text("decoded") == "4"
    assert len(done.images(nodes.save)) == 4
    assert len(done.data("executing", nodes.decode)) == 1
    assert done.data("progress", nodes.first)[-1]["max"] == 5
    assert done.data("progress", nodes.second)[-1]["max"] == 20
    order = [data["node"] for data in done.data("executing")]
    assert order.index(nodes.filter) < order.index(nodes.second) < order.index(nodes.decode)


@pytest.mark.long
def test_the_preview_reward_picks_the_best_seeds_of_the_batch(run, prompt, nodes):
    done = run(prompt)
    (scores,) = done.outputs[nodes.score]["diffusion_probe"]
    (selection,) = done.outputs[nodes.filter]["diffusion_probe"]
    assert [row["seed"] for row in scores["rows"]] == [str(seed) for seed in range(1, 17)]
    assert sorted(row["rank"] for row in selection["kept"]) == [1, 2, 3, 4]
    assert len(selection["dropped"]) == 12 and "Kept 4 of 16" in selection["reason"]
    assert scores["model_rows"] == 16 * 5 * 2  # seeds, steps, prompt and negative prompt
    for image, row in zip(done.images(nodes.save), selection["kept"], strict=True):
        assert f"seed_{row['seed']}_score_{row['score']:.4g}_rank_{row['rank']}_" in image["filename"]


@pytest.mark.long
def test_a_saved_image_opens_as_its_workflow_and_knows_its_seed(client, run, prompt, nodes):
    done = run(prompt)
    image = done.images(nodes.save)[0]
    chunks = Image.open(io.BytesIO(client.view(image))).text
    saved = json.loads(chunks["prompt"])
    for node in saved.values():
        node.pop("is_changed", None)  # ComfyUI's own note beside a node that says whether it has to run again
    assert saved == prompt
    assert f"_seed_{chunks['seed']}_" in image["filename"] and chunks["rank"] in "1234"


@pytest.mark.long
def test_the_same_workflow_runs_on_the_testbed_sdxl(run, prompt, nodes):
    prompt[nodes.model]["inputs"]["name"] = "sdxl"
    prompt[nodes.trained]["inputs"]["name"] = "testbed/sdxl/joint.safetensors"
    done = run(prompt)
    (scores,) = done.outputs[nodes.score]["diffusion_probe"]
    assert len(done.images(nodes.score)) == 16 and len(done.images(nodes.save)) == 4
    assert scores["model_rows"] == 16 * 5 * 2


def test_a_kept_image_is_the_one_that_its_seed_alone_gives(client, run, prompt, nodes):
    done = run(prompt)
    kept = done.outputs[nodes.filter]["diffusion_probe"][0]["kept"][-1]
    alone = {number: dict(node) for number, node in prompt.items() if number not in (nodes.score, nodes.filter)}
    steps = {"add_noise": "enable", "start_at_step": 0, "noise_seed": int(kept["seed"])}
    inputs = {**prompt[nodes.second]["inputs"], **steps, "latent_image": [nodes.latent, 0]}
    alone[nodes.second] = {**prompt[nodes.second], "inputs": inputs}
    alone[nodes.latent] = {**prompt[nodes.latent], "inputs": {**prompt[nodes.latent]["inputs"], "batch_size": 1}}
    alone[nodes.save] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "alone", "images": [nodes.decode, 0]}}
    (whole,) = run(alone).images(nodes.save)
    first, second = (
        np.asarray(Image.open(io.BytesIO(client.view(image))), dtype=int)
        for image in (done.images(nodes.save)[-1], whole)
    )
    assert np.abs(first - second).max() <= 2


def test_nothing_passes_and_the_run_succeeds_without_sampling_or_decoding(run, prompt, nodes):
    prompt[nodes.filter]["inputs"].update(threshold_on="raw score", threshold=1.5)
    count_decoded(prompt, nodes)
    done = run(prompt)
    assert done.data("execution_success") and not done.data("execution_error")
    assert "Dropped all 16 (raw score ≥ 1.5 and best 4)" in done.text(nodes.filter)
    assert not done.data("progress", nodes.second)
    assert not done.data("executed", nodes.save) and nodes.save not in done.outputs
    assert not done.data("executed", "decoded")


@pytest.mark.long
def test_the_rejected_rows_can_go_their_own_way(run, prompt, nodes):
    show_rejected(prompt, nodes)
    done = run(prompt)
    assert len(done.images("show rejects")) == 12 and len(done.images(nodes.save)) == 4


def test_nothing_rejected_skips_the_branch_of_the_rejected(run, prompt, nodes):
    show_rejected(prompt, nodes)
    prompt[nodes.filter]["inputs"]["top_k"] = 0
    prompt[nodes.seeds]["inputs"]["count"] = 3
    done = run(prompt)
    assert len(done.images(nodes.save)) == 3 and not done.data("executed", "show rejects")


def test_a_second_run_is_cached_and_a_new_limit_runs_only_what_follows(run, prompt, nodes):
    prompt[nodes.seeds]["inputs"]["first_seed"] = 100
    run(prompt)
    again = run(prompt)
    assert again.cached() == set(prompt) and not again.data("progress")
    assert "Kept 4 of 16" in again.text(nodes.filter)  # shown again, though it did not run
    prompt[nodes.filter]["inputs"]["top_k"] = 2
    changed = run(prompt)
    assert {nodes.first, nodes.score} <= changed.cached()
    assert not changed.data("progress", nodes.first) and changed.data("progress", nodes.second)
    assert len(changed.images(nodes.save)) == 2


CASES = ["rows", "twice", "moment", "late", "prompt", "testbed prompt", "unprobed", "name"]


@pytest.mark.parametrize("case", some_long(CASES, set(CASES) - {"moment", "unprobed"}))
def test_bad_input_is_an_error_with_node_cause_and_fix_and_the_next_run_works(client, run, prompt, nodes, case):
    inputs = {name: prompt[number]["inputs"] for name, number in vars(nodes).items()}
    inputs["seeds"]["count"] = 2
    wrong, says = {
        "rows": (("latent", "batch_size", 5), ["Seed Batch", "2 seeds", "5 rows", "Set batch_size"]),
        "twice": (("seeds", "seeds", "7, 7"), ["Seed Batch", "Seed 7", "more than once", "Give each seed once"]),
        "moment": (("attach", "moments", "early"), ["Attach Probe", '"early" is no moment', "Accepted"]),
        "late": (("attach", "moments", "80%"), ["Probe Score", "80% lies after its end", "Ask for an earlier moment"]),
        "prompt": (("text", "value", " "), ["Preview Reward", "The prompt is empty", "Write or connect"]),
        "testbed prompt": (
            ("text", "value", "a cat"),
            ["Preview Reward", '"a cat" names no testbed object', "Write"],
        ),
        "unprobed": (("first", "model", [nodes.model, 0]), ["Probe Score", "were not sampled with the probed MODEL"]),
        "name": (("filter", "top_k", -1), ["EarlySeedFilter", "top_k", "smaller than min"]),
    }[case]
    node, name, value = wrong
    right = inputs[node][name]
    inputs[node][name] = value
    with pytest.raises(PromptError) as failure:
        client.run(prompt)
    for part in says:
        assert part in str(failure.value)
    inputs[node][name] = right
    assert len(run(prompt).images(nodes.save)) == 2


def test_the_server_finds_template_thumbnail_help_pages_and_translations(server):
    loopback = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(path: str) -> bytes:
        with loopback.open(server.url + path, timeout=60) as answer:
            return answer.read()

    name, templates = "Choose from 16 seeds (no downloads)", json.loads(get("/workflow_templates"))
    (pack,) = (pack for pack, names in templates.items() if name in names)
    thumbnail = get(f"/api/workflow_templates/{pack}/{urllib.parse.quote(name)}.jpg")
    assert Image.open(io.BytesIO(thumbnail)).width >= 256
    assert b"# Probe Score" in get(f"/extensions/{pack}/docs/DiffusionProbeScore.md")
    assert f"/extensions/{pack}/result_text.js" in json.loads(get("/extensions"))
    for language in ("en", "zh"):
        assert "DiffusionProbeScore" in json.loads(get("/i18n"))[language]["nodeDefs"]
