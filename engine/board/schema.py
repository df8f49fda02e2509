"""Schema of the seed board: fields of boards, rows and events, shared by Python and JavaScript.

It is the one declaration of what the server sends to the board in the browser. Python makes boards and rows as the
dataclasses below. JavaScript reads ``web/board/schema.js``, which ``python -m dev.board_schema`` generates from them:
its reader (``events.js``) drops every value that is not of its field's type, and its state (``state.js``) starts from
the empty value of each type. A test checks that the two files agree.

To add a field to a tile: declare it in :class:`Row` and run ``python -m dev.board_schema``; compute it where rows are
made (``values.py``, and ``search_board.py`` while a search runs); draw it in ``web/board/tile.js``. A field of the
whole board is declared in :class:`Board` and drawn in ``web/board/head.js`` or ``foot.js``.

This module imports neither torch nor ComfyUI.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

Count = Annotated[int, "count"]
"""Whole number, 0 or more."""

Picture = Annotated[str, "picture"]
"""Data URL of a JPEG, PNG or WebP."""

Kind = Annotated[str, ("score", "filter", "search")]
Progress = Annotated[str, ("running", "held", "done", "stopped")]
Scale = Annotated[str, ("calibration", "batch")]
Mark = Annotated[str, ("pinned", "discarded")]
"""Choice of one of several texts, like the three before."""

BOARD_EVENT = "diffusion_probe.board"
"""Name of the server's events about boards."""

BOARD_ROUTE = "/diffusion_probe/board"
"""Path under which the server takes a user's actions on boards."""

BOARD_OUTPUT = "diffusion_probe_board"
"""Name of the finished board among the values that a node shows."""

MOST_ROWS = 256
"""Bound of the rows on a board, so that a page's memory stays bounded; of more rows the first are shown."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One tile of a board.

    Attributes:
        row: number of the row.
        seed: name of its noise, as text because JavaScript rounds 64-bit numbers.
        prompt: number of its prompt, from 1; None where all rows have one prompt.
        score: score of the probe.
        place: position of the score on the bars' scale, 0 to 100. Browsers keep boards, so names of fields stay.
        rank: 1 for the best; None while it has none.
        kept: whether it continues or survives; None while nothing is decided.
        at: moment of its score, or at which it was dropped.
        gone: whether nothing can continue it, so that no mark changes anything.
        mark: the user's mark.
        note: error or remark of the row.
        finished: whether its image was sampled to the last step.
        picture: preview.
        heats: map of attention by the number of the word in the board's ``words``.
    """

    row: Count
    seed: str
    prompt: Count | None = None
    score: float | None
    place: float | None
    rank: Count | None
    kept: bool | None
    at: str | None
    gone: bool
    mark: Mark | None
    note: str = ""
    finished: bool = False
    picture: Picture | None = None
    heats: Mapping[str, Picture] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """Return the fields as values that JSON can carry."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Board:
    """A whole board.

    Attributes:
        kind: the node's question: score, filter, or search.
        state: progress of the run.
        probe: name of the probe.
        label: unit of the scores.
        skilled: whether the probe has measured skill.
        scale: scale of the bars: percentiles of the probe's calibration, or worst to best of the batch.
        line: position of the threshold on that scale.
        reason: sentences about the decision.
        words: words that have maps of attention.
        hidden: how many rows are not shown because there are too many.
        seconds: how long a held run still waits.
        chooses: whether the user alone decides who continues, because there is no probe.
        wanted: how many finished images are wanted.
        prompts: texts of the prompts, as far as they are known.
        next_seed: first seed after those of this run, as text because JavaScript rounds 64-bit numbers; empty: none.
        adds: whether this run finished candidates of the board before, so that other rows of that one stay.
        elapsed: seconds that the run has taken so far, without holds.
        left: seconds that it is expected to take still; None while that is unknown.
        all_seconds: seconds that finishing all candidates would have taken, estimated from this run; None: unknown.
        rows: the rows that are shown.
    """

    kind: Kind
    state: Progress
    probe: str
    label: str
    skilled: bool
    scale: Scale
    line: float | None = None
    reason: str = ""
    words: tuple[str, ...] = ()
    hidden: Count = 0
    seconds: float = 0
    chooses: bool = False
    wanted: Count = 0
    prompts: tuple[str, ...] = ()
    next_seed: str = ""
    adds: bool = False
    elapsed: float = 0
    left: float | None = None
    all_seconds: float | None = None
    rows: tuple[Row, ...] = ()

    def values(self) -> dict[str, Any]:
        """Return the fields as values that JSON can carry."""
        lists = {"words": list(self.words), "prompts": list(self.prompts)}
        return {**vars(self), **lists, "rows": [row.values() for row in self.rows]}


@dataclass(frozen=True, kw_only=True)
class EventHead:
    """Fields of an event besides those of the board, of which an event has any that changed.

    Attributes:
        prompt_id: id of the run, as ComfyUI's own events name it.
        node_id: id of the node in the run.
        display_node_id: id of the node that shows it: of a subgraph's node, for example.
        workflow_id: id of the open workflow, empty if unknown.
        number: number of the event; a client that misses one asks for the whole board.
        full: whether the event carries the whole board.
        ask: whether a client that shows the board is to say so.
        secret: value that answers have to repeat; sent once, to the client that queued the run.
    """

    prompt_id: str
    node_id: str
    display_node_id: str
    workflow_id: str
    number: Count
    full: bool
    ask: bool
    secret: str | None = None

    def values(self) -> dict[str, Any]:
        """Return the fields as values that JSON can carry, without a secret that is not to be sent."""
        return {name: value for name, value in vars(self).items() if name != "secret" or value is not None}


SIMPLE_TYPES: dict[Any, str] = {
    str: "text",
    bool: "flag",
    Count: "count",
    float: "number",
    Picture: "picture",
    tuple[str, ...]: "texts",
    Mapping[str, Picture]: "pictures",
}
"""Names of the field types in the schema that JavaScript reads; a choice is "choice"."""


def schema_of(kind: type) -> dict[str, dict[str, Any]]:
    """Return the fields of a dataclass by name: their type, whether they may be null, and the choices of a choice.

    A board's field ``rows`` is left out: rows have a schema of their own.

    Raises:
        TypeError: a field has a type that the schema has no name for.
    """
    hints = get_type_hints(kind, include_extras=True)
    return {each.name: _described(hints[each.name]) for each in fields(kind) if each.name != "rows"}


def _described(hint: Any) -> dict[str, Any]:
    options = get_args(hint)
    if NoneType in options:
        (kind,) = (option for option in options if option is not NoneType)
        return {**_described(kind), "nullable": True}
    if hasattr(hint, "__metadata__") and isinstance(hint.__metadata__[0], tuple):
        return {"type": "choice", "choices": list(hint.__metadata__[0])}
    if hint not in SIMPLE_TYPES:
        raise TypeError(f"the board's schema has no name for the type {hint}. Add it to SIMPLE_TYPES and schema.js.")
    return {"type": SIMPLE_TYPES[hint]}
