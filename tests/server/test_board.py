"""Seed board on the real server: who receives its events, how long it waits, and which answers count.

A client stands in for the browser; how the real one does is tested in ``tests/browser``.
"""

import json
import time
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from support.graphs import held_search, node
from training.client.server import ComfyClient, PromptError

EVENT, ROUTE = "diffusion_probe.board", "/diffusion_probe/board"


def post(client, body):
    try:
        return client._post(ROUTE, body)
    except HTTPError as refused:
        return refused.code, None


@pytest.fixture
def client(page):
    return page


@pytest.fixture
def prompt():
    return held_search()


class Browser:
    """A client with a board: says hello, and does ``when_held`` once."""

    def __init__(self, client, when_held=(("go", None),)):
        self.client, self.when_held = client, list(when_held)
        self.told, self.answers, self.secret = [], [], None

    def __call__(self, event):
        if event["type"] != EVENT:
            return
        data = event["data"]
        self.told.append(data)
        self.secret = data.get("secret", self.secret)
        if data["ask"]:
            self.answer(data, "hello")
        if data.get("state") == "held":
            for action, row in self.when_held:
                self.answers.append(self.answer(data, action, row))
            self.when_held = []

    def answer(self, data, action, row=None):
        named = {name: data[name] for name in ("prompt_id", "node_id")}
        body = {**named, "secret": self.secret, "do": action, "row": row}
        return post(self.client, body)[0]


def board_of(outputs):
    (board,) = outputs["search"]["diffusion_probe_board"]
    return board


def kept(board):
    return [row["row"] for row in board["rows"] if row["kept"]]


def test_the_board_fills_while_the_search_runs_and_is_among_what_the_node_shows(client, prompt):
    browser = Browser(client)
    events = []
    board = board_of(client.run(prompt, lambda event: (events.append(event["type"]), browser(event))))
    filled = [
        sum("score" in row and row["score"] is not None for row in told["rows"])
        for told in browser.told
        if not told["ask"]
    ]
    assert sum(filled) == 3 and events.index(EVENT) < events.index("execution_success")
    first = browser.told[0]
    assert first["full"] and (first["node_id"], first["display_node_id"]) == ("search", "search")
    assert [told["number"] for told in browser.told if not told["ask"]] == list(range(1, len(filled) + 1))
    assert all(told["prompt_id"] == first["prompt_id"] for told in browser.told)
    pictures = [row["picture"] for row in board["rows"]]
    assert all(picture.startswith("data:image/jpeg;base64,") and len(picture) < 14_000 for picture in pictures)


def test_a_pin_counts_and_the_run_goes_on(client, prompt):
    probed = board_of(
        client.run(
            {
                **prompt,
                "search": node("DiffusionProbeSeedSearch", **{**prompt["search"]["inputs"], "hold_for_me": False}),
            }
        )
    )
    loser = max(probed["rows"], key=lambda row: row["rank"])["row"]
    browser = Browser(client, [("pin", loser), ("go", None)])
    board = board_of(client.run(prompt, browser))
    assert browser.answers == [200, 200] and kept(board) == [loser]
    assert board["rows"][loser]["mark"] == "pinned"


def test_a_program_with_a_websocket_gets_the_board_and_is_not_waited_for(server, prompt):
    with ComfyClient(server.url) as program:
        browser = Browser(program)
        outputs = program.run(prompt, browser)
    assert browser.told and not any(told["ask"] or told.get("state") == "held" for told in browser.told)
    assert kept(board_of(outputs))


def test_a_run_over_the_api_alone_sends_no_question(server, client, prompt):
    prompt_id = client.queue(prompt, client_id="nobody is connected under this name")
    deadline = time.monotonic() + 120
    while not (entry := client.history(prompt_id)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert entry["status"]["status_str"] == "success" and kept(board_of(entry["outputs"]))


def test_a_hold_ends_by_itself_with_the_automatic_choice(client, prompt):
    prompt["search"]["inputs"]["hold_seconds"] = 1
    browser = Browser(client, when_held=[])
    board = board_of(client.run(prompt, browser))
    assert any(told.get("state") == "held" for told in browser.told)
    assert kept(board) == [min(board["rows"], key=lambda row: row["rank"])["row"]]


def test_cancel_works_while_it_holds_and_the_board_shows_it(client, prompt):
    def cancel(event):
        browser(event)
        if event["data"].get("state") == "held":
            client.interrupt(event["data"]["prompt_id"])

    browser = Browser(client, when_held=[])
    with pytest.raises(PromptError) as stopped:
        client.run(prompt, cancel)
    assert stopped.value.interrupted and browser.told[-1]["state"] == "stopped"
    assert browser.answer(browser.told[0], "go") == 404, "nothing is left open"


def test_only_the_client_that_queued_gets_events_whoever_knows_the_queue(server, client, prompt):
    with ComfyClient(server.url) as other:

        def meddle(event):
            browser(event)
            if event["data"].get("state") == "held":
                queue = other._get("/queue").decode()
                assert client.client_id in queue and browser.secret not in queue
                known = {name: event["data"][name] for name in ("prompt_id", "node_id")}
                known |= {"client_id": client.client_id, "do": "go"}
                tried = [{}, {"secret": None}, {"secret": ""}, {"secret": "é"}, {"secret": [browser.secret]}]
                refused.extend(post(other, {**known, **each})[0] for each in tried)
                asked = {"do": "boards", "client_id": client.client_id}
                refused.append(post(other, asked)[0])
                refused.append(post(other, {**asked, "secrets": [client.client_id, None, browser.secret[:-1]]}))

        refused, browser = [], Browser(client, when_held=[])
        prompt["search"]["inputs"]["hold_seconds"] = 2
        client.run(prompt, meddle)
        assert refused == [404] * 5 + [400, (200, {"boards": []})]
        assert [told.get("secret") for told in browser.told[1:]] == [None] * (len(browser.told) - 1), "told once"
        heard = [other._events.get_nowait() for _ in range(other._events.qsize())]
        assert not [event for event in heard if event["type"] == EVENT]


def test_what_is_no_answer_is_refused_and_a_lost_page_gets_the_whole_board(client, prompt):
    def try_all(event):
        browser(event)
        if event["data"].get("state") == "held" and not found:
            wrong = [("explode", None), ("pin", 99), ("pin", "0"), ("pin", True), ("pin", None)]
            found["refused"] = [browser.answer(event["data"], *each) for each in wrong]
            found["not json"] = [post(client, body)[0] for body in ([], "pin", {"do": 3})]
            found["whole"] = post(client, {"do": "boards", "secrets": [browser.secret]})[1]["boards"]
            browser.answer(event["data"], "go")

    found, browser = {}, Browser(client, when_held=[])
    client.run(prompt, try_all)
    assert found["refused"] == [400] * 5 and found["not json"] == [400] * 3
    (whole,) = found["whole"]
    assert whole["full"] and whole["state"] == "held" and len(whole["rows"]) == 3
    assert json.dumps(whole) and "client_id" not in whole and browser.secret not in json.dumps(whole)


RAW = {
    "nested": (b"[" * 50_000, "application/json"),
    "an unknown charset": (b'{"do": "hello"}', "application/json; charset=nonsense"),
    "no text": (b"\xff\xfe\xfd", "application/json"),
    "half a character": (b'{"do": "\\ud800", "prompt_id": "\\ud800", "node_id": {}}', "application/json"),
    "a long number": (b'{"do": "pin", "row": ' + b"9" * 5000 + b"}", "application/json"),
    "nothing": (b"", "application/json"),
    "a megabyte": (b'"' + b"x" * 2**20 + b'"', "application/json"),
}


@pytest.mark.parametrize("kind", RAW)
def test_a_body_that_is_no_answer_is_refused_with_a_sentence(server, kind):
    body, charset = RAW[kind]
    request = Request(server.url + ROUTE, body, {"Content-Type": charset})
    with pytest.raises(HTTPError) as refused:
        build_opener(ProxyHandler({})).open(request, timeout=30)
    assert refused.value.code in (400, 404) and json.loads(refused.value.read())["error"]


@pytest.fixture
def filtering(prompt):
    """The same seeds, sampled to the cut, scored and filtered."""
    sampling = {name: prompt["search"]["inputs"][name] for name in ("cfg", "sampler_name", "scheduler", "positive")}
    prompt = {name: prompt[name] for name in ("model", "positive", "negative", "judge", "probe")}
    return prompt | {
        "seeds": node("DiffusionProbeSeedBatch", model=["model", 0], first_seed=time.time_ns() % 10**9, count=3),
        "latent": node("EmptySD3LatentImage", width=128, height=128, batch_size=["seeds", 3]),
        "attach": node("DiffusionProbeAttachProbe", model=["seeds", 1], probe=["probe", 0], moments="step 2"),
        "first": node(
            "KSamplerAdvanced", model=["attach", 0], negative=["negative", 0], latent_image=["latent", 0], **sampling,
            add_noise="enable", noise_seed=0, steps=4, start_at_step=0, end_at_step=2,
            return_with_leftover_noise="enable",
        ),
        "score": node("DiffusionProbeScore", latent=["first", 0], model=["attach", 0]),
        "search": node(
            "DiffusionProbeEarlySeedFilter", latent=["first", 0], scores=["score", 0], top_k=1, threshold_on="off",
            threshold=0.5, unskilled_scores="keep all", hold_for_me=True, hold_seconds=60,
        ),
        "save": node("PreviewAny", source=["search", 1]),
    }  # fmt: skip


def test_the_filter_holds_too_and_asks_anew_in_each_run(client, filtering):
    first = Browser(client, [("discard", 0), ("discard", 1), ("go", None)])
    outputs = client.run(filtering, first)
    board = board_of(outputs)
    assert kept(board) == [2] and all(row["picture"] for row in board["rows"])
    assert outputs["save"]["text"] == [board["rows"][2]["seed"]]
    again = Browser(client, [("pin", 0), ("go", None)])
    assert kept(board_of(client.run(filtering, again))) == [0]
    (scored,) = outputs["score"]["diffusion_probe_board"]
    assert [row["kept"] for row in scored["rows"]] == [None] * 3


def test_without_hold_the_filter_is_not_run_again_and_says_the_same(client, filtering):
    filtering["search"]["inputs"]["hold_for_me"] = False
    events = []
    first = board_of(client.run(filtering))
    second = board_of(client.run(filtering, events.append))
    assert first == second and len(kept(first)) == 1
    cached = {name for event in events if event["type"] == "execution_cached" for name in event["data"]["nodes"]}
    assert "search" in cached


def test_previews_that_the_user_has_turned_off_are_not_sent(client, prompt):
    prompt["search"]["inputs"]["hold_for_me"] = False
    extra = {"preview_method": "none"}
    body = {"prompt": prompt, "client_id": client.client_id, "extra_data": extra}
    prompt_id = client._post("/prompt", body)[1]["prompt_id"]
    browser = Browser(client)
    for event in client.events(prompt_id):
        browser(event)
    assert browser.told and not [row for told in browser.told for row in told["rows"] if row.get("picture")]
    assert {row["picture"] for row in board_of(client.outputs(prompt_id))["rows"]} == {None}
