"""Seed Search without a probe on the real server: choosing on a board, and finishing later by ``finish``.

A client stands in for the browser.
"""

import io
import time

import numpy as np
import pytest
from PIL import Image

from support.graphs import node
from training.client.server import PromptError

EVENT, ROUTE = "diffusion_probe.board", "/diffusion_probe/board"


@pytest.fixture
def client(page):
    return page


@pytest.fixture
def prompt():
    sampling = {
        "model": ["model", 0], "positive": ["positive", 0], "negative": ["negative", 0], "latent_image": ["latent", 0],
        "seed": time.time_ns() % 10**9, "steps": 5, "cfg": 2.0, "sampler_name": "euler_ancestral",
        "scheduler": "simple", "denoise": 1.0,
    }  # fmt: skip
    search = {"candidates": 3, "survivors": 1, "budget": 4.0, "policy": "sequential", "hold_seconds": 60, "max_rows": 1}
    return {
        "model": node("DiffusionProbeLoadTestbedModel", name="flux"),
        "positive": node("CLIPTextEncode", clip=["model", 1], text="a large red circle left of a small blue square"),
        "negative": node("CLIPTextEncode", clip=["model", 1], text=""),
        "latent": node("EmptySD3LatentImage", width=128, height=128, batch_size=1),
        "search": node("DiffusionProbeSeedSearch", **sampling, **search),
        "decode": node("VAEDecode", samples=["search", 0], vae=["model", 2]),
        "save": node("PreviewImage", images=["decode", 0]),
        "named": node(
            "DiffusionProbeSaveSeeds", images=["decode", 0], scores=["search", 5], filename_prefix="t/chosen"
        ),
    }


class Browser:
    """A client with a board that does ``when_held`` once."""

    def __init__(self, client, *when_held):
        self.client, self.when_held, self.boards, self.secret = client, list(when_held), [], None

    def __call__(self, event):
        if event["type"] != EVENT:
            return
        data = event["data"]
        self.boards.append(data)
        self.secret = data.get("secret") or self.secret
        if data["ask"]:
            self.answer(data, "hello")
        if data.get("state") == "held":
            for action, row in self.when_held:
                self.answer(data, action, row)
            self.when_held = []

    def answer(self, data, action, row=None):
        named = {name: data[name] for name in ("prompt_id", "node_id")}
        self.client._post(ROUTE, {**named, "secret": self.secret, "do": action, "row": row})


def images(client, outputs):
    return [np.asarray(Image.open(io.BytesIO(client.view(image))), dtype=int) for image in outputs["save"]["images"]]


def stock(client, prompt, number):
    """The stock KSampler's image of a candidate."""
    inputs = prompt["search"]["inputs"]
    kept = ("model", "positive", "negative", "latent_image", "steps", "cfg", "sampler_name", "scheduler", "denoise")
    sampler = node("KSampler", seed=inputs["seed"] + number, **{name: inputs[name] for name in kept})
    graph = {**{name: each for name, each in prompt.items() if name != "named"}, "search": sampler}
    (image,) = images(client, client.run(graph))
    return image


def with_inputs(prompt, **inputs):
    return {**prompt, "search": node("DiffusionProbeSeedSearch", **{**prompt["search"]["inputs"], **inputs})}


def board_of(outputs):
    (board,) = outputs["search"]["diffusion_probe_board"]
    return board


def finished(outputs):
    (report,) = outputs["search"]["diffusion_probe"]
    return [int(row["seed"]) for row in report["rows"] if row["finished"]]


def test_the_pinned_one_is_finished_and_others_later_as_ksampler_would(client, prompt):
    first = prompt["search"]["inputs"]["seed"]
    browser = Browser(client, ("pin", 1), ("go", None))
    outputs = client.run(prompt, browser)
    held = next(board for board in browser.boards if board.get("state") == "held")
    everything = {}
    for board in browser.boards[: browser.boards.index(held) + 1]:
        for row in board.get("rows", ()):
            everything.setdefault(row["row"], {}).update(row)
    assert browser.boards[0]["chooses"] and browser.boards[0]["probe"] == ""
    assert all(row["picture"].startswith("data:image/") and row["score"] is None for row in everything.values())
    assert finished(outputs) == [first + 1] and len(everything) == 3
    (image,) = images(client, outputs)
    assert np.array_equal(image, stock(client, prompt, 1))
    assert outputs["named"]["images"][0]["filename"].startswith(f"chosen_seed_{first + 1}_")

    later = client.run(with_inputs(prompt, finish=f"{first + 2}, {first}"), Browser(client))
    (report,) = later["search"]["diffusion_probe"]
    board = board_of(later)
    assert finished(later) == [first + 2, first] and board["adds"] and not board["chooses"]
    assert report["model_rows"] == 2 * 2 * 4, "one of five steps was kept of each"
    for image, number in zip(images(client, later), (2, 0), strict=True):
        assert np.abs(image - stock(client, prompt, number)).max() <= 1, "the VAE decodes two at once"


def test_nothing_chosen_is_no_error_nothing_runs_behind_it_and_it_runs_again(client, prompt):
    outputs = client.run(prompt, Browser(client, ("go", None)))
    assert "save" not in outputs and "named" not in outputs
    assert finished(outputs) == [] and "Nothing was picked" in outputs["search"]["text"][0]
    board = board_of(outputs)
    assert "nothing was finished" in board["reason"] and [row["finished"] for row in board["rows"]] == [False] * 3
    again = client.run(prompt, Browser(client, ("pin", 0), ("go", None)))
    assert finished(again) == [prompt["search"]["inputs"]["seed"]] and len(images(client, again)) == 1
    cached = Browser(client)
    client.run(prompt, cached)
    assert not cached.boards, "what was chosen is not chosen anew"


def test_the_node_for_custom_samplers_runs_again_after_nothing_was_chosen(client, prompt):
    inputs, sigmas = prompt["search"]["inputs"], {"scheduler": "simple", "steps": 5, "denoise": 1.0}
    kept = ("latent_image", "seed", "candidates", "survivors", "budget", "policy", "hold_seconds")
    links = {name: [name, 0] for name in ("guider", "sampler", "sigmas")}
    prompt = {name: each for name, each in prompt.items() if name not in ("save", "named", "decode")} | {
        "guider": node("BasicGuider", model=["model", 0], conditioning=["positive", 0]),
        "sampler": node("KSamplerSelect", sampler_name="euler"),
        "sigmas": node("BasicScheduler", model=["model", 0], **sigmas),
        "search": node("DiffusionProbeSeedSearchCustom", **links, **{name: inputs[name] for name in kept}),
        "shown": node("PreviewAny", source=["search", 1]),
    }
    outputs = client.run(prompt, Browser(client, ("go", None)))
    assert finished(outputs) == [] and "shown" not in outputs
    again = client.run(prompt, Browser(client, ("pin", 2), ("go", None)))
    assert finished(again) == [inputs["seed"] + 2] and again["shown"]["text"] == [str(inputs["seed"] + 2)]


def test_over_the_api_nobody_can_choose_and_named_seeds_come_first(client, prompt):
    first = prompt["search"]["inputs"]["seed"]
    prompt = with_inputs(prompt, seeds=f"{first + 50}, {first + 7}, {first}", survivors=2)
    prompt_id = client.queue(prompt, client_id="nobody is connected under this name")
    deadline = time.monotonic() + 240
    while not (entry := client.history(prompt_id)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert entry["status"]["status_str"] == "success"
    assert finished(entry["outputs"]) == [first + 50, first + 7]
    assert "Nobody could choose" in entry["outputs"]["search"]["text"][0]


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"finish": "7 prompt 2"}, "names 7 prompt 2, and the prompts that are there: 1"),
        ({"finish": "seven"}, "is not a whole number"),
        ({"finish": "7, 7"}, "more than once"),
        ({"steps": 1}, "With 1 step there is no moment at which you could choose"),
    ],
)
def test_what_can_not_be_finished_or_chosen_is_an_error(client, prompt, inputs, says):
    with pytest.raises(PromptError, match=says):
        client.run(with_inputs(prompt, **inputs))
