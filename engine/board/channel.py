"""Channel of an open board: events from a running node to the browser that queued it, and that browser's answers."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Condition
from time import monotonic
from typing import Any

from comfy.model_management import throw_exception_if_processing_interrupted

from ..core.marks import MARKS, NO_MARKS, Marks
from ..core.texts import quoted, writable_values
from .address import Address, running_address, server
from .schema import BOARD_EVENT, Board, EventHead
from .values import HELD, STOPPED

ANSWER_SECONDS = 2.0
"""Time that a browser has to say that it shows the board."""

POLL_SECONDS = 0.2
"""Time after which a hold notices ComfyUI's Cancel."""

MOST_SECRETS = 64
"""Bound of the boards that one answer may ask for."""

MISSING = object()

_open: dict[tuple[str, str], "Channel"] = {}
"""Open channels by prompt and node, as long as the node runs: empty whenever nothing runs."""


class Channel:
    """Connection of one running node to its board. Without an address it sends nothing and never waits.

    Attributes:
        marks: rows that the user has pinned and discarded so far.
        board: the board that was sent last, None before.
        secret: value that an answer has to repeat. The first event carries it to the client that queued the run; the
            client's id would not do, because ComfyUI's list of the queue shows it to everyone.
    """

    def __init__(self, address: Address | None):
        self.address = address
        self.secret = secrets.token_urlsafe()
        self.marks = NO_MARKS
        self.board: Board | None = None
        self._sent: dict[str, Any] = {}
        self._number = 0
        self._changed = Condition()
        self._introduced = self._asking = self._answered = self._go = False

    def send(self, board: Board) -> None:
        """Send what changed of the board since the last event."""
        values = writable_values(board.values())
        changed = changes(self._sent, values)
        self.board, self._sent = board, values
        if self.address is not None and changed:
            self._number += 1
            self._send_event(changed, full=self._number == 1)

    def _send_event(self, content: dict[str, Any], full: bool = False, ask: bool = False) -> None:
        head = self._head(full, ask, None if self._introduced else self.secret)
        self._introduced = True
        server().send_sync(BOARD_EVENT, {**head, **content}, self.address.client_id)

    def _head(self, full: bool, ask: bool, secret: str | None = None) -> dict[str, Any]:
        address = {name: value for name, value in self.address._asdict().items() if name != "client_id"}
        return EventHead(**address, number=self._number, full=full, ask=ask, secret=secret).values()

    def whole(self) -> dict[str, Any]:
        """Return an event with the whole board, for a page that was loaded or lost its connection meanwhile."""
        return {**self._head(full=True, ask=self._asking), **self._sent}

    def answer(self, action: str, row: Any = None) -> None:
        """Carry out a user's action on the board.

        Raises:
            ValueError: the board has no such action, or not for this row.
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

    def _can_be_marked(self, number: int) -> bool:
        return self.board is not None and any(row.row == number and not row.gone for row in self.board.rows)

    def hold(self, seconds: float, board: Callable[[], Board]) -> None:
        """Wait for the user to go on, at most ``seconds``; not at all if no browser answers within two seconds.

        Args:
            board: returns the board with the marks at the time of the call.

        Raises:
            InterruptProcessingException: the user stopped the prompt.
        """
        if self.address is None:
            return
        self._asking = True
        self._send_event({}, ask=True)
        self._wait(ANSWER_SECONDS, lambda: self._answered)
        self._asking = False
        if not self._answered:
            return
        end = monotonic() + seconds
        marks: Marks | None = None
        while not self._go and (left := end - monotonic()) > 0:
            if marks is not self.marks:
                marks = self.marks
                self.send(replace(board(), state=HELD, seconds=round(left)))
            self._wait(left, partial(self._has_news, marks))

    def _has_news(self, marks: Marks | None) -> bool:
        """Tell whether the user went on or marked since the marks were these."""
        return self._go or self.marks is not marks

    def _wait(self, seconds: float, done: Callable[[], bool]) -> None:
        end = monotonic() + seconds
        with self._changed:
            while not done() and (left := end - monotonic()) > 0:
                throw_exception_if_processing_interrupted()
                self._changed.wait(min(left, POLL_SECONDS))


@contextmanager
def open_board() -> Iterator[Channel]:
    """Open the channel of the node that runs now, as long as it runs."""
    channel = Channel(running_address())
    key = channel.address[:2] if channel.address else None
    if key:
        _open[key] = channel
    try:
        yield channel
    except BaseException:
        if channel.board:
            channel.send(replace(channel.board, state=STOPPED))
        raise
    finally:
        _open.pop(key, None)


def changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return what differs in ``new``: fields of a board, and of each row its number and its fields that differ.

    Args:
        old: values of a board, empty for none.
        new: values of a board.
    """
    before = {row["row"]: row for row in old.get("rows", ())}
    changed = [(row["row"], _changed(before.get(row["row"], {}), row)) for row in new["rows"]]
    rows = [{"row": number, **fields} for number, fields in changed if fields]
    fields = _changed({**old, "rows": None}, {**new, "rows": None})
    return {**fields, "rows": rows} if fields or rows else {}


def _changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in new.items() if old.get(name, MISSING) != value}


def answer(data: Any) -> list[dict[str, Any]]:
    """Carry out an answer of a browser, and return the boards that it asks for, whole.

    Args:
        data: ``{"prompt_id", "node_id", "secret", "do", "row"}``, where ``do`` is "hello" (a board shows the run),
            "go" (go on), or "pin", "discard" or "clear" (of ``row``); or ``{"do": "boards", "secrets"}``, which asks
            for all boards with these secrets.

    Raises:
        ValueError: it is neither.
        KeyError: no such board is open, or it has another secret.
    """
    if not isinstance(data, dict) or not isinstance(data.get("do"), str):
        raise ValueError('a board\'s answer is an object with "do"')
    if data["do"] == "boards":
        known = data.get("secrets")
        if not isinstance(known, list) or len(known) > MOST_SECRETS:
            raise ValueError(f"an answer asks for boards by a list of at most {MOST_SECRETS} secrets")
        return [channel.whole() for channel in list(_open.values()) if channel.board and _knows(channel, known)]
    channel = _open[str(data.get("prompt_id")), str(data.get("node_id"))]
    if not _knows(channel, [data.get("secret")]):
        raise KeyError("another secret")
    channel.answer(data["do"], data.get("row"))
    return []


def _knows(channel: Channel, known: list[Any]) -> bool:
    """Tell whether a browser knows the channel's secret."""
    texts = (each for each in known if isinstance(each, str) and each.isascii())
    return any(secrets.compare_digest(channel.secret, each) for each in texts)
