"""An open board: what a running node sends to the browser that queued it, and what that browser answers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition
from time import monotonic
from typing import Any, NamedTuple

from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

from ..outside.texts import quoted
from ..search.marks import MARKS, NO_MARKS
from .values import HELD, STOPPED, Board

EVENT = "diffusion_probe.board"
ANSWER_SECONDS = 2.0
POLL_SECONDS = 0.2
"""How soon a hold notices ComfyUI's Cancel."""
MISSING = object()


class Place(NamedTuple):
    """Where a board belongs: run and node as ComfyUI's own events name them, the open workflow's own id, the client."""

    prompt_id: str
    node_id: str
    display_node_id: str
    workflow_id: str
    client_id: str


_open: dict[tuple[str, str], "Channel"] = {}
"""By prompt and node, as long as the node runs: empty whenever nothing runs."""


def server() -> Any:
    """ComfyUI's server, None outside of it."""
    try:
        from server import PromptServer
    except ImportError:
        return None
    return getattr(PromptServer, "instance", None)


def running_place() -> Place | None:
    """Of the node that runs now; None where no browser listens: outside of the server, or over the API alone."""
    running, context = server(), get_executing_context()
    if running is None or context is None or running.client_id not in running.sockets:
        return None
    shown = get_progress_state().dynprompt.get_display_node_id(context.node_id)
    workflow = ((_queued_with().get("extra_pnginfo") or {}).get("workflow") or {}).get("id", "")
    return Place(context.prompt_id, context.node_id, shown, workflow, running.client_id)


def previews_off() -> bool:
    """Whether the user has set ComfyUI's live preview method to none. Its default doesn't count: that is none too,
    for the sake of sampling speed."""
    return _queued_with().get("preview_method") == "none"


def _queued_with() -> dict[str, Any]:
    """The extra data that the running prompt was queued with; empty outside of the server."""
    running, context = server(), get_executing_context()
    if running is None or context is None:
        return {}
    queue = running.prompt_queue.get_current_queue_volatile()[0]
    return next((item[3] for item in queue if item[1] == context.prompt_id), {})


class Channel:
    """See the module. Without a place it sends nothing and never waits.

    Attributes:
        marks: what the user has pinned and discarded so far.
        board: as it was sent last.
    """

    def __init__(self, place: Place | None):
        self.place = place
        self.marks = NO_MARKS
        self.board: Board = {}
        self._number = 0
        self._changed = Condition()
        self._asking = self._answered = self._go = False

    def send(self, board: Board) -> None:
        """To the browser, as far as it changed."""
        changed = changes(self.board, board)
        self.board = board
        if self.place is not None and changed:
            self._number += 1
            self._send({**changed, "full": self._number == 1, "ask": False})

    def _send(self, content: dict[str, Any]) -> None:
        server().send_sync(EVENT, {**self._named(), **content}, self.place.client_id)

    def _named(self) -> dict[str, Any]:
        names = {name: value for name, value in self.place._asdict().items() if name != "client_id"}
        return {**names, "number": self._number}

    def whole(self) -> dict[str, Any]:
        """The event that tells all: for a page that was loaded or lost its connection on the way."""
        return {**self._named(), **self.board, "full": True, "ask": self._asking}

    def answer(self, action: str, row: Any = None) -> None:
        """What a user did on the board.

        Raises:
            ValueError: nothing that can be done on it.
        """
        with self._changed:
            if action == "hello":
                self._answered = True
            elif action == "go":
                self._go = True
            elif action in MARKS and type(row) is int and self._can_be_marked(row):
                self.marks = MARKS[action](self.marks, row)
            else:
                raise ValueError(f"this board takes no {quoted(action)} of row {quoted(row)}")
            self._changed.notify_all()

    def _can_be_marked(self, row: int) -> bool:
        return any(shown["row"] == row and not shown["gone"] for shown in self.board.get("rows", ()))

    def hold(self, seconds: float, board: Callable[[], Board]) -> None:
        """Wait for the user to go on, at most ``seconds``; not at all if no board answers within two seconds.

        Args:
            board: as it is with the marks made so far.

        Raises:
            InterruptProcessingException: the user stopped the prompt.
        """
        if self.place is None:
            return
        self._asking = True
        self._send({"ask": True})
        self._wait(ANSWER_SECONDS, lambda: self._answered)
        self._asking = False
        if not self._answered:
            return
        end, marks = monotonic() + seconds, None
        while not self._go and (left := end - monotonic()) > 0:
            if marks is not self.marks:
                marks = self.marks
                self.send({**board(), "state": HELD, "seconds": round(left)})
            self._wait(left, lambda seen=marks: self._go or self.marks is not seen)

    def _wait(self, seconds: float, done: Callable[[], bool]) -> None:
        end = monotonic() + seconds
        with self._changed:
            while not done() and (left := end - monotonic()) > 0:
                throw_exception_if_processing_interrupted()
                self._changed.wait(min(left, POLL_SECONDS))


@contextmanager
def open_board() -> Iterator[Channel]:
    """The board of the node that runs now, as long as it runs."""
    channel = Channel(running_place())
    key = channel.place[:2] if channel.place else None
    if key:
        _open[key] = channel
    try:
        yield channel
    except BaseException:
        if channel.board:
            channel.send({**channel.board, "state": STOPPED})
        raise
    finally:
        _open.pop(key, None)


def changes(old: Board, new: Board) -> Board:
    """What of ``new`` isn't in ``old``: fields, and of each row its number and the fields that changed."""
    before = {row["row"]: row for row in old.get("rows", ())}
    rows = [(row["row"], _changed(before.get(row["row"], {}), row)) for row in new["rows"]]
    rows = [{"row": number, **fields} for number, fields in rows if fields]
    fields = _changed({**old, "rows": None}, {**new, "rows": None})
    return {**fields, "rows": rows} if fields or rows else {}


def _changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in new.items() if old.get(name, MISSING) != value}


def answer(data: Any) -> list[dict[str, Any]]:
    """What a browser sent: ``{"client_id", "prompt_id", "node_id", "do", "row"}``; the boards it asked for.

    ``do`` is "hello" (a board is there), "go" (go on), "pin", "discard", "clear" (of ``row``), or "boards": all
    that are open for this client, whole.

    Raises:
        ValueError: it is none of these.
        KeyError: no such board is open for this client.
    """
    if not isinstance(data, dict) or not isinstance(data.get("do"), str):
        raise ValueError("a board's answer is an object with “do”")
    mine = {key: channel for key, channel in list(_open.items()) if channel.place.client_id == data.get("client_id")}
    if data["do"] == "boards":
        return [channel.whole() for channel in mine.values() if channel.board]
    mine[str(data.get("prompt_id")), str(data.get("node_id"))].answer(data["do"], data.get("row"))
    return []
