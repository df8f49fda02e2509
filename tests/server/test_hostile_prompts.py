"""What a stranger may send to the real server: each prompt ends in one sentence, the next one runs, nothing is lost."""

import json
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from diffusion_probe.nodes import NODES
from diffusion_probe.nodes.probe_folder import FOLDER

from support import hostile
from support.graphs import node
from training.client.paths import PACK_ROOT
from training.client.server import PromptError

BY_ID = {node.GET_SCHEMA().node_id: node for node in NODES}
NAMES = tuple(f"{node.GET_SCHEMA().display_name}: " for node in NODES)
HALF = "a \ud800 fox"


SETTINGS = {"steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
BASE = {
    "model": node("DiffusionProbeLoadTestbedModel", name="flux"),
    "text": node("CLIPTextEncode", clip=["model", 1], text="a red circle"),
    "latent": node("EmptySD3LatentImage", width=64, height=64, batch_size=2),
    "focus": node("DiffusionProbeAttentionFocus"),
    "attach": node("DiffusionProbeAttachProbe", model=["model", 0], probe=["focus", 0], moments="step 1"),
    "sampled": node(
        "KSampler", model=["attach", 0], positive=["text", 0], negative=["text", 0], latent_image=["latent", 0], seed=1,
        **SETTINGS,
    ),
    "score": node("DiffusionProbeScore", latent=["sampled", 0], model=["attach", 0], moment=""),
    "images": node("EmptyImage", width=16, height=16, batch_size=2, color=3),
    "judge": node("DiffusionProbeShapesJudge"),
    "guider": node("BasicGuider", model=["model", 0], conditioning=["text", 0]),
    "sampler": node("KSamplerSelect", sampler_name="euler"),
    "sigmas": node("BasicScheduler", model=["model", 0], scheduler="simple", steps=1, denoise=1.0),
}  # fmt: skip
LINKS = {
    "MODEL": ["attach", 0], "CLIP": ["model", 1], "VAE": ["model", 2], "LATENT": ["sampled", 0], "IMAGE": ["images", 0],
    "CONDITIONING": ["text", 0], "DIFFUSION_PROBE": ["focus", 0], "DIFFUSION_PROBE_SCORES": ["score", 0],
    "DIFFUSION_PROBE_REWARD": ["judge", 0], "COMFY_MATCHTYPE_V3": ["images", 0],
    "GUIDER": ["guider", 0], "SAMPLER": ["sampler", 0], "SIGMAS": ["sigmas", 0],
}  # fmt: skip
VALUES = {
    **SETTINGS, "name": "kept.safetensors", "dataset": "kept", "output_name": "new", "moments": "step 1", "moment": "",
    "prompt": "a fox", "text": "a fox", "filename_prefix": "new/image", "candidates": 2, "count": 2, "survivors": 1,
    "budget": 0.0, "policy": "one cut", "hold_for_me": False, "device": "cpu", "size": 64,
}  # fmt: skip


def right(each):
    """A right value of an input: a link, or what is written into it."""
    if each.get_io_type() in LINKS:
        return LINKS[each.get_io_type()]
    options = getattr(each, "options", None)
    default = getattr(each, "default", None)
    given = VALUES.get(each.id, options[0] if options and default is None else default)
    return options[0] if options and given not in options else "" if given is None else given


def graph(node_id, inputs):
    """A prompt that runs a node of the pack, and shows whatever it gives."""
    schema = BY_ID[node_id].GET_SCHEMA()
    shown = {} if schema.is_output_node else {
        f"show {number}": node("PreviewAny", source=["node", number]) for number in range(len(schema.outputs))
    }  # fmt: skip
    return {**BASE, "node": node(node_id, **inputs), **shown}


def rightly(node_id):
    return {each.id: right(each) for each in BY_ID[node_id].define_schema().inputs if not each.optional}


@pytest.fixture(scope="session")
def kept(server, server_models, record):
    """What may not be harmed on the server: files of a probe, a dataset and an image."""
    record(server.output_directory / "probe_data" / "kept", prompts=2, rows=2)
    probe = server_models / FOLDER / "kept.safetensors"
    probe.parent.mkdir(exist_ok=True)
    probe.write_bytes((PACK_ROOT / "testbed" / "probes" / "flux" / "attention.safetensors").read_bytes())
    (server.output_directory / "kept_00001_.png").write_bytes(b"an image")
    return [probe.parent, server.output_directory]


def state_of(folders):
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*kept*/**/*") if path.is_file()} | {
        path: path.read_bytes() for folder in folders for path in folder.rglob("kept*") if path.is_file()
    }


@pytest.fixture
def lives(client, kept):
    """Called after what is hostile: the prompt of someone else runs, and what was there is there."""
    before, numbers = state_of(kept), iter(range(10**6))
    assert len(before) > 4

    def check():
        picture = node("EmptyImage", width=8, height=8, batch_size=1, color=next(numbers))
        assert client.run({"1": picture, "2": node("PreviewImage", images=["1", 0])})["2"]["images"]
        assert state_of(kept) == before

    return check


def ended(client, prompt, extra=None):
    """The error with which a prompt ended, None for none; an answer of ComfyUI's own to a prompt that it refuses counts
    as one."""
    body = {"prompt": prompt, "client_id": client.client_id, "extra_data": extra or {}}
    try:
        _, answer = client._post("/prompt", body)
    except HTTPError as refused:
        return f"ComfyUI: {refused.code}"
    if answer.get("node_errors") or "prompt_id" not in answer:
        if "prompt_id" not in answer:
            return "ComfyUI: refused"
    for _ in client.events(answer["prompt_id"]):
        pass
    try:
        client.outputs(answer["prompt_id"])
    except PromptError as error:
        return error.details
    return None


def require_sentence(error, node_id, note):
    """An error of one of the pack's nodes is a ValueError that names it."""
    if isinstance(error, dict) and str(error["node_type"]).startswith("DiffusionProbe"):
        said = error["exception_message"].strip()
        assert error["exception_type"] == "ValueError" and said.startswith(NAMES), (note, error)
        assert hostile.is_sentence(said), (note, said)


TEXTS = [
    (node_id, each.id)
    for node_id, kind in BY_ID.items()
    for each in kind.define_schema().inputs
    if each.get_io_type() == "STRING"
]


def test_half_a_character_in_any_text_ends_in_one_sentence_and_the_next_prompt_runs(client, lives):
    for node_id, name in TEXTS:
        error = ended(client, graph(node_id, {**rightly(node_id), name: HALF}))
        assert error, (node_id, name)
        require_sentence(error, node_id, name)
        if isinstance(error, dict):
            assert "half a character" in error["exception_message"], (node_id, name)
    lives()


def test_a_list_of_forty_thousand_digits_is_refused_at_once(client, lives):
    inputs = {**rightly("DiffusionProbeSeedBatch"), "seeds": "9" * 40_000}
    error = ended(client, graph("DiffusionProbeSeedBatch", inputs))
    assert "out of range" in error["exception_message"] and len(error["exception_message"]) < 300
    lives()


@pytest.mark.parametrize("name", ["budget", "cfg", "target", "denoise"])
def test_a_number_that_is_none_is_refused_by_the_node(client, lives, name):
    """ComfyUI compares it with least and most, and NaN is neither below nor above."""
    inputs = {**rightly("DiffusionProbeSeedSearch"), "model": ["model", 0], name: float("nan")}
    error = ended(client, graph("DiffusionProbeSeedSearch", inputs))
    assert error["exception_message"].startswith(f'Seed Search: "{name}" is nan. It takes numbers from')
    lives()


@pytest.mark.parametrize("prefix", ["a\x00b", HALF, "../kept", "a" * 300])
def test_a_name_that_no_file_can_have_is_refused_before_anything_is_sampled(client, lives, prefix):
    inputs = {**rightly("DiffusionProbeSaveSeeds"), "filename_prefix": prefix, "seeds": "1, 2"}
    with pytest.raises(PromptError, match="filename_prefix - "):
        client.queue(graph("DiffusionProbeSaveSeeds", inputs))
    lives()


@pytest.mark.parametrize("extra", [[], "text", 3, {"workflow": []}, {"workflow": {"id": [1]}}, {"\ud800": 1, "é": 2}])
def test_a_workflow_that_is_no_object_stops_no_node_that_reads_it(client, lives, extra):
    inputs = {**rightly("DiffusionProbeSaveSeeds"), "filename_prefix": f"new/{len(str(extra))}", "scores": ["score", 0]}
    search = {**rightly("DiffusionProbeSeedSearch"), "model": ["model", 0], "unskilled_scores": "use anyway"}
    search |= {"latent_image": ["one", 0], "seed": len(str(extra)), "steps": 2}
    prompt = graph("DiffusionProbeSaveSeeds", inputs) | {
        "one": node("EmptySD3LatentImage", width=64, height=64, batch_size=1),
        "search": node("DiffusionProbeSeedSearch", **search),
        "shown": node("PreviewAny", source=["search", 1]),
    }
    assert ended(client, prompt, {"extra_pnginfo": extra}) is None
    lives()


def drawn(rng, each):
    """What is written into an input, or which output is linked to it."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(sorted(LINKS.values()))
    if kind == 1:
        return ["any", 0]
    if each.get_io_type() == "STRING":
        return hostile.text(rng)
    given = hostile.value(rng)
    # A list of two is a link to ComfyUI, whatever it holds, and one to nowhere ends its own worker.
    return {"__value__": [*given, 0] if len(given) == 2 else given} if isinstance(given, list) else given


@pytest.mark.parametrize("node_id", BY_ID)
def test_hostile_prompts_end_in_one_sentence_and_the_next_one_runs(client, lives, draws, node_id):
    inputs = BY_ID[node_id].define_schema().inputs
    for rng in draws:
        given = {each.id: right(each) for each in inputs if not each.optional or rng.random() < 0.5}
        for each in rng.sample(inputs, min(len(inputs), rng.choice((1, 2)))):
            given[each.id] = drawn(rng, each)
        anything = hostile.value(rng)
        anything = rng.choice(sorted(LINKS.values())) if isinstance(anything, list) else anything
        prompt = graph(node_id, given)
        prompt["any"] = node("ComfySwitchNode", switch=True, on_true=anything, on_false=0)
        error = ended(client, prompt, {"extra_pnginfo": hostile.value(rng)})
        require_sentence(error, node_id, json.dumps([given, anything])[:400])
    lives()


def test_hostile_answers_to_boards_are_refused(server, draws):
    opener = build_opener(ProxyHandler({}))
    for rng in draws:
        right = {"do": "pin", "prompt_id": "p", "node_id": "n", "secret": "s", "row": 1, "secrets": ["a"]}
        body = json.dumps(hostile.changed(rng, right, rng.choice((1, 3)))).encode()
        kind = rng.choice(["application/json", "application/json; charset=nonsense", "text/plain", "\tx"])
        request = Request(f"{server.url}/diffusion_probe/board", body, {"Content-Type": kind.strip()})
        try:
            with opener.open(request, timeout=30) as answer:
                assert json.loads(answer.read()) == {"boards": []}
        except HTTPError as refused:
            assert refused.code in (400, 404) and json.loads(refused.read())["error"], body[:200]
