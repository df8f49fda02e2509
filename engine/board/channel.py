"""An open board: what a running node sends to the browser that queued it, and what that browser answers."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition
from time import monotonic
from typing import Any

from comfy.model_management import throw_exception_if_processing_interrupted

from ..core.marks import MARKS, NO_MARKS
from ..core.texts import quoted, writable_values
from .place import Place, running_place, server
from .values import HELD, STOPPED, Board

EVENT = "diffusion_probe.board"
ANSWER_SECONDS = 2.0
POLL_SECONDS = 0.2
"""How soon a hold notices ComfyUI's Cancel."""
MISSING = object()
MOST_SECRETS = 64


_open: dict[tuple[str, str], "Channel"] = {}
"""By prompt and node, as long as the node runs: empty whenever nothing runs."""


class Channel:
    """See the module. Without a place it sends nothing and never waits.

    Attributes:
        marks: what the user has pinned and discarded so far.
        board: as it was sent last.
        secret: what an answer has to hold. The first event tells it to the client that queued the run; the client's
            id would not do, because ComfyUI's list of the queue shows it to everyone.
    """

    def __init__(self, place: Place | None):
        self.place = place
        self.secret = secrets.token_urlsafe()
        self.marks = NO_MARKS
        self.board: Board = {}
        self._number = 0
        self._changed = Condition()
        self._introduced = self._asking = self._answered = self._go = False

    def send(self, board: Board) -> None:
        """To the browser, as far as it changed."""
        board = writable_values(board)
        changed = changes(self.board, board)
        self.board = board
        if self.place is not None and changed:
            self._number += 1
            self._send({**changed, "full": self._number == 1, "ask": False})

    def _send(self, content: dict[str, Any]) -> None:
        told = {} if self._introduced else {"secret": self.secret}
        self._introduced = True
        server().send_sync(EVENT, {**self._named(), **told, **content}, self.place.client_id)

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
    """What a browser sent: ``{"prompt_id", "node_id", "secret", "do", "row"}``; the boards it asked for.

    ``do`` is "hello" (a board is there), "go" (go on), "pin", "discard", "clear" (of ``row``), or "boards": all
    whose secrets are in ``secrets``, whole.

    Raises:
        ValueError: it is none of these.
        KeyError: no such board is open, or it has another secret.
    """
    if not isinstance(data, dict) or not isinstance(data.get("do"), str):
        raise ValueError("a board's answer is an object with “do”")
    if data["do"] == "boards":
        known = data.get("secrets")
        if not isinstance(known, list) or len(known) > MOST_SECRETS:
            raise ValueError(f"boards are asked for by a list of at most {MOST_SECRETS} secrets")
        return [channel.whole() for channel in list(_open.values()) if channel.board and _knows(channel, known)]
    channel = _open[str(data.get("prompt_id")), str(data.get("node_id"))]
    if not _knows(channel, [data.get("secret")]):
        raise KeyError("another secret")
    channel.answer(data["do"], data.get("row"))
    return []


def _knows(channel: Channel, known: list[Any]) -> bool:
    texts = (each for each in known if isinstance(each, str) and each.isascii())
    return any(secrets.compare_digest(channel.secret, each) for each in texts)
