"""Boards of scores, of a filter, and of a finished search, made from the typed values of these nodes.

It imports neither torch nor ComfyUI. The fields are declared in ``schema.py``.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

from ..core.calibration import percentile_of_calibration
from ..core.marks import NO_MARKS, Marks
from ..core.ranking import percentiles_in_batch, ranks
from ..core.scores import Look, Scores
from ..seed_search.outcome import CandidateOutcome, Outcome
from ..selection.report import alone_note, continuation_note
from ..selection.select import PERCENTILE, RAW, Selection
from .schema import MOST_ROWS, Board, Progress, Row, Scale

CALIBRATION, BATCH = "calibration", "batch"
RUNNING, HELD, DONE, STOPPED = "running", "held", "done", "stopped"
NO_LOOK = Look()


class Bars:
    """Scale of a board's bars: percentiles of the calibration; without one, worst to best of the batch.

    Args:
        values: the batch's scores, at least one.
        calibration: the probe's, see :class:`Scores`.
    """

    def __init__(self, values: Sequence[float], calibration: tuple[float, ...]):
        self.calibration = calibration
        self.scale: Scale = CALIBRATION if len(calibration) > 1 else BATCH
        self.low, self.high = min(values), max(values)

    def position(self, score: float | None) -> float | None:
        """Return the position of a score on the scale, 0 to 100; None for no score."""
        if score is None or not isfinite(score):
            return None
        if self.scale == CALIBRATION:
            return round(percentile_of_calibration(score, self.calibration), 1)
        if self.high == self.low:
            return 50.0
        return round(min(100.0, max(0.0, 100 * (score - self.low) / (self.high - self.low))), 1)


def probe_fields(scored: Scores | Outcome) -> dict[str, Any]:
    """Return the fields of a board that are about the probe of scores or of an outcome."""
    return {"probe": scored.probe, "label": scored.label, "skilled": scored.skilled}


def with_rows(board: Board, rows: Sequence[Row], looks: Sequence[Look | None]) -> Board:
    """Return a board with its rows, their pictures and maps; of more than :data:`MOST_ROWS` rows the first."""
    hidden = max(0, len(rows) - MOST_ROWS)
    rows, looks = rows[:MOST_ROWS], [look or NO_LOOK for look in looks[:MOST_ROWS]]
    words = tuple(dict.fromkeys(word for look in looks for word, _ in look.heats))
    shown = []
    for row, look in zip(rows, looks, strict=True):
        heats = {str(words.index(word)): url for word, url in look.heats}
        shown.append(replace(row, picture=look.picture, heats=heats))
    return replace(board, words=words, hidden=hidden, rows=tuple(shown))


def score_board(scores: Scores) -> Board:
    """Return the board of scores: every row with its score, none decided on."""
    bars = Bars(scores.values, scores.calibration)
    reason = " ".join(note for note in (scores.note, alone_note(scores)) if note)
    board = Board(kind="score", state=DONE, **probe_fields(scores), scale=bars.scale, reason=reason)
    return with_rows(board, _rows(scores, bars, None, NO_MARKS), scores.looks or [None] * len(scores))


def filter_board(
    scores: Scores,
    selection: Selection,
    threshold: float,
    threshold_on: str,
    marks: Marks = NO_MARKS,
    state: Progress = DONE,
) -> Board:
    """Return the board of a filter: every row with its score, and whether it is kept."""
    bars = Bars(scores.values, scores.calibration)
    line = bars.position(_least_passing(scores, threshold, threshold_on))
    notes = [selection.reason]
    if selection.kept:
        notes.append(continuation_note(scores))
    reason = " ".join(note for note in notes if note)
    board = Board(kind="filter", state=state, **probe_fields(scores), scale=bars.scale, reason=reason, line=line)
    return with_rows(board, _rows(scores, bars, selection, marks), scores.looks or [None] * len(scores))


def _least_passing(scores: Scores, threshold: float, threshold_on: str) -> float | None:
    """Return the lowest score that passes the threshold; None without one, or if none passes."""
    if threshold_on == RAW:
        return threshold
    if threshold_on != PERCENTILE:
        return None
    percentiles = percentiles_in_batch(scores.values)
    passing = [score for score, percentile in zip(scores.values, percentiles, strict=True) if percentile >= threshold]
    return min(passing, default=None)


def _rows(scores: Scores, bars: Bars, selection: Selection | None, marks: Marks) -> list[Row]:
    in_order = ranks(scores.values)
    dropped = scores.dropped_at or (None,) * len(scores)
    return [
        Row(
            row=row,
            seed=str(scores.seeds[row]),
            score=scores.values[row],
            place=bars.position(scores.values[row]),
            rank=in_order[row],
            kept=_is_kept(row, selection, dropped[row]),
            at=dropped[row] or scores.moment,
            gone=bool(dropped[row]),
            mark=marks.of(row),
        )
        for row in range(len(scores))
    ]


def _is_kept(row: int, selection: Selection | None, dropped_at: str | None) -> bool | None:
    """Tell whether a row is kept; None if nothing was decided about it."""
    if selection:
        return row in selection.kept
    return False if dropped_at else None


def outcome_board(outcome: Outcome, looks: Sequence[Look | None], target: float | None = None) -> Board:
    """Return the board of a finished search; ``target`` is the score that was good enough, if the policy has one."""
    survivors = outcome.survivors()
    order = {number: rank for rank, number in enumerate(outcome.order(), start=1)}
    scored = [each.last_score for each in outcome.candidates if each.last_score is not None]
    bars = Bars(scored or [0.0], outcome.calibration)
    rows = [
        Row(
            row=number,
            seed=str(each.name),
            prompt=each.prompt + 1,
            score=each.last_score,
            place=bars.position(each.last_score),
            rank=order[number] if each.scores or each.finished else None,
            kept=number in survivors,
            at=_end_of(each),
            gone=True,
            mark=each.mark,
            note=each.failure or each.remark or "",
            finished=each.finished,
        )
        for number, each in enumerate(outcome.candidates)
    ]
    finished = sum(each.finished for each in outcome.candidates)
    reason = " ".join(filter(None, [f"Finished {finished} of {len(outcome.candidates)} candidates.", outcome.choice()]))
    line = bars.position(target)
    about = {**probe_fields(outcome), "chooses": outcome.chooses, "adds": outcome.adds, "wanted": outcome.wanted}
    about["next_seed"] = "" if outcome.adds else outcome.next_seed
    board = Board(kind="search", state=DONE, **about, scale=bars.scale, reason=reason, line=line)
    return with_rows(board, rows, looks)


def _end_of(candidate: CandidateOutcome) -> str | None:
    """Return the moment at which a candidate ended; None if it never started."""
    if candidate.finished:
        return "the end"
    return f"step {candidate.reached}" if candidate.reached else None
