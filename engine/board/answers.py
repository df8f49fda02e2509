"""Answers of a browser to the boards of running nodes, and what it may ask of runs that are over."""

import secrets
from typing import Any

from ..core.texts import quoted
from .channel import OPEN_CHANNELS
from .large_pictures import LARGE_PICTURES
from .pictures import jpeg_url

MOST_SECRETS = 64
"""Bound of the boards that one answer may ask for."""


def answer(data: Any) -> dict[str, Any]:
    """Carry out an answer of a browser, and return the values of the server's reply.

    Args:
        data: ``{"prompt_id", "node_id", "secret", "do", "row", "gone_seconds"}``, where ``do`` is "hello" (a board
            shows the run; ``gone_seconds`` is how long its browser may be gone while the run waits, optional), "go"
            (go on), "pin", "discard" or "clear" (of ``row``), or "picture" (asks for the large picture of ``row``,
            also some time after the run); or ``{"do": "boards", "secrets"}``, which asks for all open boards with
            these secrets.

    Returns:
        ``boards``, those that were asked for, whole; and ``picture``, a data URL or None, if one was asked for.

    Raises:
        ValueError: it is neither.
        KeyError: no such board is open, or it has another secret; or of "picture", none is kept of the run.
    """
    if not isinstance(data, dict) or not isinstance(data.get("do"), str):
        raise ValueError('a board\'s answer is an object with "do"')
    if data["do"] == "boards":
        return {"boards": _boards(data.get("secrets"))}
    run = str(data.get("prompt_id")), str(data.get("node_id"))
    channel = OPEN_CHANNELS.get(run)
    if data["do"] == "picture":
        _require_secret(channel.secret if channel else LARGE_PICTURES.secret_of(run), data)
        return {"boards": [], "picture": _picture(run, data.get("row"))}
    if channel is None:
        raise KeyError("no such board is open")
    _require_secret(channel.secret, data)
    channel.answer(data["do"], data.get("row"), data.get("gone_seconds"))
    return {"boards": []}


def _boards(known: Any) -> list[dict[str, Any]]:
    """Return the open boards with these secrets."""
    if not isinstance(known, list) or len(known) > MOST_SECRETS:
        raise ValueError(f"an answer asks for boards by a list of at most {MOST_SECRETS} secrets")
    shown = [channel for channel in list(OPEN_CHANNELS.values()) if _is_known(channel.secret, known)]
    for channel in shown:
        channel.note_sign_of_life()
    return [channel.whole() for channel in shown if channel.board or channel.asks]


def _picture(run: tuple[str, str], row: Any) -> str | None:
    if type(row) is not int:
        raise ValueError(f"a board has no picture of row {quoted(row)}")
    data = LARGE_PICTURES.picture(run, row)
    return None if data is None else jpeg_url(data)


def _require_secret(secret: str, data: dict[str, Any]) -> None:
    if not _is_known(secret, [data.get("secret")]):
        raise KeyError("another secret")


def _is_known(secret: str, known: list[Any]) -> bool:
    """Tell whether a secret is among the values that a browser sent."""
    texts = (each for each in known if isinstance(each, str) and each.isascii())
    return any(secrets.compare_digest(secret, each) for each in texts)
