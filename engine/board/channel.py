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
from torch import Tensor

from ..core.marks import GO, GONE, MARKS, NO_MARKS, NOBODY, TIME, Marks
from ..core.texts import quoted, writable_values
from .address import Address, is_connected, may_show_board, running_address, server
from .large_pictures import LARGE_PICTURES
from .pictures import large_picture
from .schema import BOARD_EVENT, Board, EventHead
from .values import HELD, STOPPED

ANSWER_SECONDS = 10.0
"""Time that a browser has to say that it shows the board."""

POLL_SECONDS = 0.2
"""Time after which a hold notices ComfyUI's Cancel and a closed browser."""

GONE_SECONDS = 30.0
LEAST_GONE_SECONDS, MOST_GONE_SECONDS = 5.0, 3600.0
"""Time after which a hold ends without its browser: the default, and the bounds of what a browser may set."""

MISSING = object()

OPEN_CHANNELS: dict[tuple[str, str], "Channel"] = {}
"""Open channels by prompt and node, as long as the node runs: empty whenever nothing runs."""


class Channel:
    """Connection of one running node to its board. Without an address it sends nothing and never waits.

    Attributes:
        marks: rows that the user has pinned and discarded so far.
        board: the board that was sent last, None before.
        gone_seconds: how long the browser may be gone before a hold ends without it.
        secret: value that an answer has to repeat. The first event carries it to the client that queued the run; the
            client's id would not do, because ComfyUI's list of the queue shows it to everyone.
    """

    def __init__(self, address: Address | None):
        self.address = address
        self.secret = secrets.token_urlsafe()
        self.marks = NO_MARKS
        self.board: Board | None = None
        self.gone_seconds = GONE_SECONDS
        self._sent: dict[str, Any] = {}
        self._number = 0
        self._changed = Condition()
        self._introduced = self._asking = self._answered = self._go = False
        self._seen = monotonic()
        self._hold_end: float | None = None

    def send(self, board: Board) -> None:
        """Send what changed of the board since the last event."""
        values = writable_values(board.values())
        changed = changes(self._sent, values)
        self.board, self._sent = board, values
        if self.address is not None and changed:
            self._number += 1
            self._send_event(changed, full=self._number == 1)

    def _send_event(self, content: dict[str, Any], full: bool = False, ask: bool = False) -> None:
        """Send an event; the first one that a connected client gets carries the secret and the whole board."""
        first = not self._introduced and self._is_connected()
        if first:
            content, full = self._whole_content(), bool(self._sent)
        head = self._head(full, ask, self.secret if first else None)
        self._introduced = self._introduced or first
        server().send_sync(BOARD_EVENT, {**head, **content}, self.address.client_id)

    def _is_connected(self) -> bool:
        """Tell whether the client that queued the run has an open websocket, and note when it was seen last."""
        connected = is_connected(self.address.client_id)
        if connected:
            self._seen = monotonic()
        return connected

    def _head(self, full: bool, ask: bool, secret: str | None = None) -> dict[str, Any]:
        address = {name: value for name, value in self.address._asdict().items() if name != "client_id"}
        return EventHead(**address, number=self._number, full=full, ask=ask, secret=secret).values()

    @property
    def asks(self) -> bool:
        """Whether the node waits for a browser to say that it shows the board."""
        return self._asking

    def whole(self) -> dict[str, Any]:
        """Return an event with the whole board, for a page that was loaded or lost its connection meanwhile."""
        return {**self._head(full=True, ask=self._asking), **self._whole_content()}

    def _whole_content(self) -> dict[str, Any]:
        """Return the values of the board, with the time that a hold has left now."""
        left = {} if self._hold_end is None else {"seconds": self._seconds_left()}
        return {**self._sent, **left} if self._sent else {}

    def _seconds_left(self) -> int:
        return max(0, round(self._hold_end - monotonic()))

    def note_sign_of_life(self) -> None:
        """Note that the browser is there: ComfyUI may forget the socket of one that connected again."""
        self._seen = monotonic()

    def keep_picture(self, row: int, picture: Tensor) -> None:
        """Keep a large picture of a row, ``[height, width, 3]`` float 0 to 1 or uint8, for a page that asks for it."""
        if self.address is not None:
            LARGE_PICTURES.put(self.address[:2], self.secret, row, large_picture(picture))

    def answer(self, action: str, row: Any = None, gone_seconds: Any = None) -> None:
        """Carry out a user's action on the board.

        Args:
            action: its name, see ``engine.board.answers``.
            row: number of the row that it is about.
            gone_seconds: of "hello": the browser's setting of :attr:`gone_seconds`, None to leave it.

        Raises:
            ValueError: the board has no such action, or not for this row; or the setting is no number.
        """
        self.note_sign_of_life()
        with self._changed:
            if action == "hello":
                if gone_seconds is not None:
                    self.gone_seconds = gone_seconds_from(gone_seconds)
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

    def hold(self, seconds: float, board: Callable[[], Board]) -> str:
        """Wait for the user to go on, at most ``seconds``.

        It waits for no program that queued the run over the API, and not on if no page answers within ten seconds.
        A browser that is gone, before the wait or in it, has :attr:`gone_seconds` to come back.

        Args:
            board: returns the board with the marks at the time of the call.

        Returns:
            How the hold ended: ``GO``, ``TIME``, ``GONE`` or ``NOBODY`` of ``core.marks``.

        Raises:
            InterruptProcessingException: the user stopped the prompt.
        """
        if self.address is None or not may_show_board(self.address.client_id):
            return NOBODY
        if not self._is_answered():
            return NOBODY if self._is_connected() else GONE
        self._hold_end = monotonic() + seconds
        try:
            return self._end_of_hold(board)
        finally:
            self._hold_end = None

    def _is_answered(self) -> bool:
        """Ask whether a browser shows the board, and wait for an answer."""
        self._asking = True
        asked, was_gone = monotonic(), False
        self._send_event({}, ask=True)
        while not self._answered:
            was_gone = was_gone or not self._is_connected()
            if monotonic() - asked >= (self.gone_seconds if was_gone else ANSWER_SECONDS):
                break
            self._introduce_again()
            self._wait(POLL_SECONDS, lambda: self._answered)
        self._asking = False
        return self._answered

    def _end_of_hold(self, board: Callable[[], Board]) -> str:
        """Show the held board, anew with each mark, until the hold ends; return how it ended."""
        marks: Marks | None = None
        while not self._go:
            if monotonic() >= self._hold_end:
                return TIME
            if not self._is_connected() and monotonic() - self._seen >= self.gone_seconds:
                return GONE
            if marks is not self.marks:
                marks = self.marks
                self.send(replace(board(), state=HELD, seconds=self._seconds_left()))
            self._introduce_again()
            self._wait(min(POLL_SECONDS, self._hold_end - monotonic()), partial(self._has_news, marks))
        return GO

    def _introduce_again(self) -> None:
        """Send the secret to a client that was gone when it would have got it, and has come back."""
        if not self._introduced and self._is_connected():
            self._send_event({}, ask=self._asking)

    def _has_news(self, marks: Marks | None) -> bool:
        """Tell whether the user went on or marked since the marks were these."""
        return self._go or self.marks is not marks

    def _wait(self, seconds: float, done: Callable[[], bool]) -> None:
        end = monotonic() + seconds
        with self._changed:
            throw_exception_if_processing_interrupted()
            while not done() and (left := end - monotonic()) > 0:
                self._changed.wait(left)


@contextmanager
def open_board() -> Iterator[Channel]:
    """Open the channel of the node that runs now, as long as it runs."""
    channel = Channel(running_address())
    key = channel.address[:2] if channel.address else None
    if key:
        OPEN_CHANNELS[key] = channel
    try:
        yield channel
    except BaseException:
        if channel.board:
            channel.send(replace(channel.board, state=STOPPED))
        raise
    finally:
        OPEN_CHANNELS.pop(key, None)


def gone_seconds_from(value: Any) -> float:
    """Return a browser's setting of how long it may be gone, within its bounds.

    Raises:
        ValueError: it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"gone_seconds {quoted(value)} is no number of seconds")
    return float(min(max(value, LEAST_GONE_SECONDS), MOST_GONE_SECONDS))


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
