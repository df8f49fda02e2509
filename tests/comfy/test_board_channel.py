"""Channel of a board whose browser comes and goes, on a server and a clock that the test moves."""

from types import SimpleNamespace

import pytest
from comfy.model_management import InterruptProcessingException
from diffusion_probe.engine.board import address
from diffusion_probe.engine.board import channel as channels
from diffusion_probe.engine.board.address import Address
from diffusion_probe.engine.board.answers import answer
from diffusion_probe.engine.board.channel import Channel, gone_seconds_from
from diffusion_probe.engine.board.schema import Board, Row
from diffusion_probe.engine.core.marks import GO, GONE, NOBODY, TIME

CLIENT, RUN = "a client", ("a prompt", "7")
ROW = {"score": None, "place": None, "rank": None, "kept": None, "at": None, "gone": False, "mark": None}
BOARD = Board(
    kind="search",
    state="running",
    probe="a probe",
    label="quality",
    skilled=True,
    scale="batch",
    rows=(Row(row=0, seed="7", **ROW), Row(row=1, seed="8", **ROW)),
)


class Scene:
    """A server with one client: time passes when the channel waits, and ``at`` has what happens at which second."""

    def __init__(self, monkeypatch):
        self.now, self.at, self.events = 0.0, {}, []
        self.sockets = {CLIENT: None}
        self.says_hello = True
        self.channel = None
        server = SimpleNamespace(sockets=self.sockets, send_sync=self.send)
        monkeypatch.setattr(channels, "server", lambda: server)
        monkeypatch.setattr(channels, "is_connected", self.sockets.__contains__)
        monkeypatch.setattr(channels, "may_show_board", lambda client: True)
        monkeypatch.setattr(channels, "monotonic", lambda: self.now)
        monkeypatch.setattr(Channel, "_wait", self.wait)
        self.channel = Channel(Address(*RUN, "7", "", CLIENT))
        channels.OPEN_CHANNELS[RUN] = self.channel

    def send(self, name, event, client):
        if client in self.sockets:
            self.events.append((round(self.now), event))
            if event["ask"] and self.says_hello:
                self.say("hello", gone_seconds=10)

    def say(self, action, row=None, **more):
        body = {"prompt_id": RUN[0], "node_id": RUN[1], "secret": self.channel.secret, "do": action, "row": row}
        return answer({**body, **more})

    def ask_for_boards(self):
        return answer({"do": "boards", "secrets": [self.channel.secret]})["boards"]

    def close(self):
        self.sockets.clear()

    def open(self):
        self.sockets[CLIENT] = None

    def wait(self, seconds, done):
        if done():
            return
        self.now += max(0.05, seconds)
        for second in [second for second in self.at if second <= self.now]:
            self.at.pop(second)()

    def hold(self, seconds=300):
        return self.channel.hold(seconds, lambda: BOARD)


@pytest.fixture
def scene(monkeypatch):
    scene = Scene(monkeypatch)
    yield scene
    channels.OPEN_CHANNELS.pop(RUN)


def test_a_hold_says_that_the_user_went_on_or_that_the_time_was_up(scene):
    scene.at = {5: lambda: scene.say("go")}
    assert scene.hold() == GO and 5 <= scene.now < 6
    scene.channel._go = False
    assert scene.hold(20) == TIME and 25 <= scene.now < 27


def test_without_a_browser_or_an_answer_nobody_is_waited_for(scene):
    assert Channel(None).hold(300, lambda: BOARD) == NOBODY and scene.now == 0
    scene.says_hello = False
    assert scene.hold() == NOBODY and 10 <= scene.now < 11


def test_a_hold_ends_when_its_browser_is_gone_as_long_as_the_browser_set(scene):
    scene.at = {20: scene.close}
    assert scene.hold() == GONE and 30 <= scene.now < 31


def test_a_page_that_is_loaded_again_in_time_finds_the_hold_and_the_time_left(scene):
    found = []
    scene.at = {20: scene.close, 28: scene.open, 29: lambda: found.extend(scene.ask_for_boards())}
    scene.at |= {60: lambda: scene.say("pin", 1), 61: lambda: scene.say("go")}
    assert scene.hold(100) == GO and scene.channel.marks.pinned == {1}
    (board,) = found
    assert board["state"] == "held" and board["full"] and 70 <= board["seconds"] <= 72


def test_a_browser_that_comes_and_goes_has_its_time_anew(scene):
    scene.at = {5: scene.close, 13: scene.open, 15: scene.close, 23: scene.open, 30: scene.close}
    assert scene.hold() == GONE and 40 <= scene.now < 41


def test_a_page_whose_socket_comfyui_has_forgotten_is_still_there(scene):
    """ComfyUI drops the new socket of a client that connected again, when the old one ends."""
    scene.at = {20: scene.close} | dict.fromkeys((28, 36, 44), scene.ask_for_boards)
    assert scene.hold() == GONE and 54 <= scene.now < 55


def test_answers_with_another_secret_are_no_sign_of_life(scene):
    scene.at = {20: scene.close, 28: lambda: answer({"do": "boards", "secrets": ["another"]})}
    assert scene.hold() == GONE and scene.now < 31


def test_a_browser_that_left_before_the_hold_is_waited_for(scene):
    scene.channel.gone_seconds = 10
    scene.close()
    assert scene.hold() == GONE and 10 <= scene.now < 11


def test_a_page_that_is_being_loaded_when_the_hold_begins_takes_part(scene):
    scene.channel.send(BOARD)
    scene.close()
    seen = []
    scene.at = {4: scene.open, 7: lambda: (seen.extend(scene.ask_for_boards()), scene.say("hello"))}
    scene.at |= {30: lambda: scene.say("go")}
    assert scene.hold() == GO and seen[0]["ask"]


def test_a_client_that_was_gone_at_first_gets_the_secret_when_it_is_back(scene):
    scene.close()
    scene.channel.send(BOARD)
    scene.at = {3: scene.open, 9: lambda: scene.say("go")}
    assert scene.hold() == GO
    (first, *others) = [event for _, event in scene.events]
    assert first["secret"] == scene.channel.secret and first["full"] and first["ask"] and len(first["rows"]) == 2
    assert not [event for event in others if event.get("secret")]


def test_a_client_has_an_address_if_it_was_connected_when_it_queued(monkeypatch):
    sockets = {f"browser {number}": None for number in range(100)}
    flags = {name: {"feature_flags": {"supports_preview_metadata": True}} for name in sockets}
    running = SimpleNamespace(sockets=sockets, sockets_metadata=flags, client_id="", prompt_queue=SimpleNamespace())
    running.prompt_queue.get_current_queue_volatile = lambda: ([], [])
    shown = SimpleNamespace(dynprompt=SimpleNamespace(get_display_node_id=lambda node: node))
    monkeypatch.setattr(address, "server", lambda: running)
    monkeypatch.setattr(address, "get_executing_context", lambda: SimpleNamespace(prompt_id="p", node_id="7"))
    monkeypatch.setattr(address, "get_progress_state", lambda: shown)
    monkeypatch.setattr(address, "_queued", {})

    def has_address(client):
        running.client_id = client
        return address.running_address() is not None

    queued = [{"client_id": name} for name in (*sockets, "a program", 7)] + [{}]
    assert [address.remember_client(data) for data in queued] == queued
    sockets.clear()
    assert has_address("browser 99") and not has_address("a program") and not has_address("browser 1")
    assert len(address._queued) == address.MOST_CLIENTS
    address.remember_client({"client_id": "browser 99"})
    assert not has_address("browser 99"), "this time it was not connected"


def test_a_connected_client_is_a_page_if_it_sent_feature_flags(monkeypatch):
    flags = {"page": {"feature_flags": {"supports_preview_metadata": True}}, "program": {"feature_flags": {}}}
    running = SimpleNamespace(sockets={"page": None, "program": None}, sockets_metadata=flags)
    monkeypatch.setattr(address, "server", lambda: running)
    monkeypatch.setattr(address, "_queued", {})
    for client in (*running.sockets, "gone"):
        address.remember_client({"client_id": client})
    assert [address.may_show_board(client) for client in ("page", "program", "gone")] == [True, False, False]
    running.sockets.clear(), flags.clear()
    assert address.may_show_board("page"), "it may come back"


def test_cancel_ends_a_hold_whose_browser_is_gone(scene, monkeypatch):
    def cancel():
        raise InterruptProcessingException()

    scene.at = {20: scene.close, 22: cancel}
    with pytest.raises(InterruptProcessingException):
        scene.hold()
    assert scene.channel._hold_end is None


@pytest.mark.parametrize(("value", "seconds"), [(0, 5), (30, 30), (1e9, 3600), (10**400, 3600), (-5, 5), (7.5, 7.5)])
def test_a_browsers_setting_is_bounded(value, seconds):
    assert gone_seconds_from(value) == seconds


@pytest.mark.parametrize("value", [True, "30", [30], float("nan"), {}])
def test_a_setting_that_is_no_number_is_refused(scene, value):
    with pytest.raises(ValueError, match="gone_seconds"):
        scene.say("hello", gone_seconds=value)
    assert not scene.channel._answered
