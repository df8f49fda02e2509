"""A board as the browser gets it: plain values that JSON can carry. No ComfyUI, no torch.

Header: ``kind`` (score, filter, search), ``state`` (running, held, done, stopped), ``probe``, ``label``, ``skilled``,
``scale`` (what the bars are drawn on: calibration or batch), ``line`` (where the threshold lies on it), ``reason``,
``words`` (that have maps), ``rows``, and ``hidden`` (how many rows are too many to be shown).
A row: ``row``, ``seed``, ``prompt``, ``score``, ``place`` (on the bars' scale, 0 to 100), ``rank``, ``kept`` (None:
not decided), ``at`` (the moment of its score, or at which it was dropped), ``gone`` (nothing brings it back),
``mark`` (pinned, discarded), ``note``, ``picture`` and ``heats`` (by the number of the word), as data URLs.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

from ..core.calibration import percentile_of_calibration
from ..core.marks import NO_MARKS, Marks
from ..core.ranking import percentiles_in_batch, ranks
from ..core.scores import Look, Scores
from ..seed_search.outcome import Outcome
from ..selection.report import alone_note, continuation_note
from ..selection.select import OFF, PERCENTILE, RAW, Selection

Board = dict[str, Any]

BOARD = "diffusion_probe_board"
"""Its name among what a node shows."""

MOST_ROWS = 256
"""Shown on a board; of more the first ones, so that a page's memory stays bounded."""

CALIBRATION, BATCH = "calibration", "batch"
RUNNING, HELD, DONE, STOPPED = "running", "held", "done", "stopped"
NOTHING = Look()


class Bars:
    """Where scores lie on a board's bars: their percentile of calibration; without one, worst to best of the batch.

    Args:
        values: the batch's scores, at least one.
        calibration: the probe's, as in :class:`Scores`.
    """

    def __init__(self, values: Sequence[float], calibration: tuple[float, ...]):
        self.calibration = calibration
        self.scale = CALIBRATION if len(calibration) > 1 else BATCH
        self.low, self.high = min(values), max(values)

    def place(self, score: float | None) -> float | None:
        """0 to 100, None for no score."""
        if score is None or not isfinite(score):
            return None
        if self.scale == CALIBRATION:
            return round(percentile_of_calibration(score, self.calibration), 1)
        if self.high == self.low:
            return 50.0
        return round(min(100.0, max(0.0, 100 * (score - self.low) / (self.high - self.low))), 1)


def header(kind: str, state: str, probe: Any, scale: str, **more: Any) -> Board:
    """What a board says of itself; ``probe`` has ``label`` and ``skilled``, and is called ``probe`` or ``name``."""
    board = {
        "kind": kind,
        "state": state,
        "probe": getattr(probe, "probe", None) or getattr(probe, "name", ""),
        "label": probe.label,
        "skilled": probe.skilled,
        "scale": scale,
        "line": None,
        "reason": "",
        "words": [],
        "hidden": 0,
        "rows": [],
    }
    return board | more


def with_rows(board: Board, rows: list[dict[str, Any]], looks: Sequence[Look | None]) -> Board:
    """A board with its rows and what they look like: the first :data:`MOST_ROWS`."""
    words = list(dict.fromkeys(word for look in looks[:MOST_ROWS] if look for word, _ in look.heats))
    shown = []
    for row, look in zip(rows[:MOST_ROWS], looks, strict=False):
        heats = {str(words.index(word)): url for word, url in (look or NOTHING).heats}
        shown.append({**row, "picture": (look or NOTHING).picture, "heats": heats})
    return {**board, "words": words, "hidden": max(0, len(rows) - MOST_ROWS), "rows": shown}


def score_board(scores: Scores) -> Board:
    """Of Probe Score: every row with its score, none decided on."""
    bars = Bars(scores.values, scores.calibration)
    said = " ".join(note for note in (scores.note, alone_note(scores)) if note)
    board = header("score", DONE, scores, bars.scale, reason=said)
    return with_rows(board, _rows(scores, bars, None, NO_MARKS), scores.looks or [None] * len(scores))


def filter_board(
    scores: Scores,
    selection: Selection,
    threshold: float,
    threshold_on: str,
    marks: Marks = NO_MARKS,
    state: str = DONE,
) -> Board:
    """Of Early Seed Filter: which rows go on."""
    bars = Bars(scores.values, scores.calibration)
    least = _least_passing(scores, threshold, threshold_on)
    said = " ".join(note for note in (selection.reason, continuation_note(scores) if selection.kept else "") if note)
    board = header("filter", state, scores, bars.scale, reason=said, line=bars.place(least))
    return with_rows(board, _rows(scores, bars, selection, marks), scores.looks or [None] * len(scores))


def _least_passing(scores: Scores, threshold: float, threshold_on: str) -> float | None:
    if threshold_on == OFF:
        return None
    if threshold_on == RAW:
        return threshold
    if threshold_on != PERCENTILE:
        return None
    percentiles = percentiles_in_batch(scores.values)
    passing = [score for score, percentile in zip(scores.values, percentiles, strict=True) if percentile >= threshold]
    return min(passing, default=None)


def _rows(scores: Scores, bars: Bars, selection: Selection | None, marks: Marks) -> list[dict[str, Any]]:
    places = ranks(scores.values)
    kept = set(selection.kept) if selection else set()
    dropped = scores.dropped_at or (None,) * len(scores)
    return [
        {
            "row": row,
            "seed": str(scores.seeds[row]),  # text: JavaScript rounds 64-bit numbers
            "prompt": None,
            "score": scores.values[row],
            "place": bars.place(scores.values[row]),
            "rank": places[row],
            "kept": row in kept if selection else (False if dropped[row] else None),
            "at": dropped[row] or scores.moment,
            "gone": bool(dropped[row]),
            "mark": marks.of(row),
            "note": "",
        }
        for row in range(len(scores))
    ]


def outcome_board(outcome: Outcome, looks: Sequence[Look | None], line: float | None = None) -> Board:
    """Of Seed Search when it has ended."""
    survivors = set(outcome.survivors())
    unmarked = replace(outcome, fates=tuple(replace(fate, mark=None) for fate in outcome.fates))
    order = {row: place for place, row in enumerate(unmarked.order(), start=1)}
    scored = [fate.scores[-1][1] for fate in outcome.fates if fate.scores]
    bars = Bars(scored or [0.0], outcome.calibration)
    rows = [
        {
            "row": row,
            "seed": str(fate.name),
            "prompt": fate.prompt + 1,
            "score": fate.scores[-1][1] if fate.scores else None,
            "place": bars.place(fate.scores[-1][1] if fate.scores else None),
            "rank": order[row] if fate.scores or fate.finished else None,
            "kept": row in survivors,
            "at": "the end" if fate.finished else f"step {fate.reached}" if fate.reached else None,
            "gone": True,
            "mark": fate.mark,
            "note": fate.failure or fate.remark or "",
        }
        for row, fate in enumerate(outcome.fates)
    ]
    counts = f"{sum(fate.finished for fate in outcome.fates)} of {len(outcome.fates)}"
    board = header("search", DONE, outcome, bars.scale, reason=f"Finished {counts} candidates.", line=bars.place(line))
    return with_rows(board, rows, looks)
