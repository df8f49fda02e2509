"""Browser that goes and comes back while a search waits for it, large pictures, and texts in nodes, on the real server.

A client stands in for the browser; how the real one does is tested in ``tests/browser``.
"""

import base64
import io
import struct
import time
from urllib.error import HTTPError

import aiohttp
import pytest
from PIL import Image

from support.graphs import SHAPES, held_search, node
from support.server_fixtures import PAGE_FLAGS
from training.client.server import ComfyClient

EVENT, ROUTE = "diffusion_probe.board", "/diffusion_probe/board"
PROGRESS_TEXT = 3
"""Kind of a binary message of ComfyUI that has a text for a node."""


class Page(ComfyClient):
    """A page with a board: says hello with ``gone_seconds``, and remembers the secret and binary texts for nodes."""

    def __init__(self, url, client_id=None, secret=None, gone_seconds=None):
        self.wanted, self.secret, self.gone_seconds = client_id, secret, gone_seconds
        self.told, self.texts = [], []
        super().__init__(url, feature_flags=PAGE_FLAGS)

    async def _listen(self, connected):
        self.client_id = self.wanted or self.client_id
        address = f"{self.url}/ws?clientId={self.client_id}"
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as stream:
            await self._introduce(stream)
            connected.set()
            async for message in stream:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._events.put(message.json())
                elif struct.unpack_from(">I", message.data)[0] == PROGRESS_TEXT:
                    (length,) = struct.unpack_from(">I", message.data, 4)
                    self.texts.append((message.data[8 : 8 + length].decode(), message.data[8 + length :].decode()))

    def until_held(self, prompt_id):
        """Follow a prompt until its board is held, and return that event."""
        for event in self.events(prompt_id):
            if event["type"] == EVENT and self.receive(event["data"]).get("state") == "held":
                return event["data"]
        raise AssertionError("the run ended without a hold")

    def receive(self, data):
        self.told.append(data)
        self.secret = data.get("secret", self.secret)
        if data["ask"]:
            self.answer(data, "hello", gone_seconds=self.gone_seconds)
        return data

    def answer(self, data, action, row=None, **more):
        """Return the status and the values of the server's reply."""
        named = {name: data[name] for name in ("prompt_id", "node_id")}
        try:
            return self._post(ROUTE, {**named, "secret": self.secret, "do": action, "row": row, **more})
        except HTTPError as refused:
            return refused.code, None

    def wait_for(self, prompt_id, seconds=60):
        """Wait for the end of a prompt without a websocket; return its entry in the history."""
        deadline = time.monotonic() + seconds
        while not (entry := self.history(prompt_id)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return entry


@pytest.fixture
def prompt():
    cache = {
        "preset": "quality",
        "damping": 0.0,
        "veto": 1.0,
        "space": "output",
        "predictor": "pade11",
        "interval": 2,
        "start": 0.0,
        "end": 1.0,
        "phases": "off",
        "beta": 0.0,
        "trust": 1.0,
    }
    cached = node("DiffusionProbeTCPadeCache", model=["model", 0], **cache)
    return {**held_search(("cache", 0), steps=12), "cache": cached}


def test_a_page_that_is_loaded_again_goes_on_with_the_hold_and_its_time(server, prompt):
    with Page(server.url) as before:
        prompt_id = before.queue(prompt)
        held = before.until_held(prompt_id)
    time.sleep(3)
    with Page(server.url, before.client_id, before.secret) as after:
        (board,) = after._post(ROUTE, {"do": "boards", "secrets": [after.secret]})[1]["boards"]
        assert board["state"] == "held" and board["full"] and board["seconds"] <= held["seconds"] - 2
        assert board["prompts"] == [SHAPES] and 0 < board["elapsed"] and board["left"] is not None
        loser = max(board["rows"], key=lambda row: row["rank"])["row"]
        assert [after.answer(board, "pin", loser)[0], after.answer(board, "go")[0]] == [200, 200]
        entry = after.wait_for(prompt_id)
    (board,) = entry["outputs"]["search"]["diffusion_probe_board"]
    assert [row["row"] for row in board["rows"] if row["kept"]] == [loser]
    assert board["elapsed"] < 60 and board["all_seconds"] > 0 and board["left"] == 0


def test_when_the_browser_is_gone_the_queue_goes_on(server, prompt):
    prompt["search"]["inputs"]["hold_seconds"] = 600
    with Page(server.url, gone_seconds=0) as page:  # five seconds, the least
        prompt_id = page.queue(prompt)
        page.until_held(prompt_id)
    began = time.monotonic()
    entry = page.wait_for(prompt_id)
    assert entry and 4 < time.monotonic() - began < 60


def test_a_large_picture_is_sent_when_asked_for_also_after_the_run(server, prompt):
    with Page(server.url) as page, Page(server.url) as stranger:
        prompt_id = page.queue(prompt)
        held = page.until_held(prompt_id)
        status, reply = page.answer(held, "picture", 1)
        assert status == 200 and reply["boards"] == []
        head, data = reply["picture"].split(",")
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        assert head == "data:image/jpeg;base64" and image.size == (128, 128), "not enlarged"
        assert page.answer(held, "picture", 99) == (200, {"boards": [], "picture": None})
        assert [page.answer(held, "picture", row)[0] for row in (None, "1", True)] == [400] * 3
        page.answer(held, "go")
        page.wait_for(prompt_id)
        assert page.answer(held, "picture", 1)[1]["picture"], "the run is over"
        assert page.answer(held, "go")[0] == 404
        assert stranger.answer(held, "picture", 1)[0] == 404, "without the secret"


def test_the_cache_shows_in_its_node_what_it_saved_to_the_browser_alone(server, prompt):
    inputs = prompt["search"]["inputs"]
    names = ("model", "positive", "negative", "latent_image", "seed", "steps", "cfg", "sampler_name", "scheduler")
    sampler = node("KSampler", **{name: inputs[name] for name in names}, denoise=1.0)
    prompt |= {"search": sampler}
    prompt = {name: each for name, each in prompt.items() if name not in ("judge", "probe")}
    with Page(server.url) as page, Page(server.url) as other:
        page.run(prompt)
        ((shown, text),) = page.texts
        assert shown == "cache" and " of 12 evaluations predicted: " in text and " s instead of " in text
        sampler["inputs"]["seed"] += 1
        other.wait_for(other.queue(prompt, client_id="nobody is connected under this name"))
        assert len(page.texts) == 1 and not other.texts
