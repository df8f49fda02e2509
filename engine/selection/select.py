"""Selection of the rows of a scored batch that are kept."""

import math
from dataclasses import dataclass

from ..core.marks import NO_MARKS, Marks
from ..core.ranking import best_first, percentiles_in_batch
from ..core.scores import Scores
from ..core.texts import quoted

OFF = "off"
RAW = "raw score"
PERCENTILE = "percentile in batch"
THRESHOLDS = (OFF, RAW, PERCENTILE)


@dataclass(frozen=True)
class Selection:
    """Kept and dropped rows, both in row order, so that a grid of kept images has the order of the whole grid.

    Attributes:
        kept: rows that pass.
        dropped: all other rows.
        reason: one sentence for the user: the rule, and what it did here.
    """

    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    reason: str


def select(
    scores: Scores,
    top_k: int = 0,
    threshold: float = 0.0,
    threshold_on: str = OFF,
    use_unskilled: bool = False,
    marks: Marks = NO_MARKS,
) -> Selection:
    """Choose the rows that satisfy every limit that is set.

    Args:
        scores: one score per row. Rows that were dropped before never pass: they are unfinished.
        top_k: at most this many rows, the best ones; of equal scores the lower row. 0: no limit.
        threshold: rows below it are dropped; a row exactly on it passes.
        threshold_on: what the threshold is compared with, one of ``THRESHOLDS``.
        use_unskilled: let a score drop rows although it has no measured skill. Otherwise such a
            score keeps everything.
        marks: pinned rows pass and discarded ones don't, whatever the limits are; pinned rows count first
            among ``top_k``.

    Raises:
        ValueError: a score is NaN, or a limit is out of its range.
    """
    check_limits(top_k, threshold, threshold_on)
    everything = range(len(scores))
    dropped_before = tuple(row for row in everything if scores.dropped_at and scores.dropped_at[row])
    finished = tuple(row for row in everything if row not in dropped_before)
    before = _dropped_before(scores, dropped_before)
    pinned = [row for row in finished if row in marks.pinned]
    passing = [row for row in best_first(scores.values) if row in finished and marks.of(row) is None]
    rules = []
    if not scores.skilled and not use_unskilled:
        kept = tuple(row for row in finished if row not in marks.discarded)
        count = f"all {len(kept)}" if kept == finished else f"{len(kept)} of {len(finished)}, as you chose"
        return Selection(
            kept,
            tuple(row for row in everything if row not in kept),
            f'Kept {count}: the score "{scores.label}" of {scores.probe} has no '
            'measured skill in ranking seeds, so it drops nothing. Set unskilled scores to "use anyway" to filter by '
            f"it all the same.{before}",
        )
    if threshold_on != OFF:
        measured = scores.values if threshold_on == RAW else percentiles_in_batch(scores.values)
        passing = [row for row in passing if measured[row] >= threshold]
        rules.append(f"{threshold_on} ≥ {threshold:g}")
    if top_k:
        passing = passing[: max(0, top_k - len(pinned))]
        rules.append(f"best {top_k}")
    if discarded := len(marks.discarded.intersection(finished)):
        rules.append(f"{discarded} discarded by you")
    if pinned:
        rules.append(f"{len(pinned)} picked by you")
    kept = tuple(sorted([*pinned, *passing]))
    dropped = tuple(row for row in everything if row not in set(kept))
    return Selection(kept, dropped, _reason(scores, kept, finished, " and ".join(rules)) + before)


def check_limits(top_k: int, threshold: float, threshold_on: str) -> None:
    """Check the limits of :func:`select`.

    Raises:
        ValueError: a limit is out of its range.
    """
    if top_k < 0:
        raise ValueError(f"top k is {top_k}. It takes 0 (no limit) or the number of rows to keep.")
    if threshold_on not in THRESHOLDS:
        raise ValueError(f"threshold on is {quoted(threshold_on)}. It takes {', '.join(map(quoted, THRESHOLDS))}.")
    if not math.isfinite(threshold):
        raise ValueError(f'The threshold is {threshold}. Enter a number, or set threshold on to "{OFF}".')
    if threshold_on == PERCENTILE and not 0 <= threshold <= 100:
        raise ValueError(
            f"The threshold is {threshold:g}, but a percentile lies between 0 and 100. "
            f'Enter such a number, or set threshold on to "{RAW}".'
        )


def _reason(scores: Scores, kept: tuple[int, ...], finished: tuple[int, ...], rule: str) -> str:
    """Return the sentence on what the limits kept of the rows that were not dropped before."""
    if not finished:
        return "Kept none."
    if not rule:
        return f"Kept all {len(finished)}: neither top k nor a threshold is set."
    if not kept:
        best = max(scores.values[row] for row in finished)
        return (
            f"Dropped all {len(finished)} ({rule}): the best score is {best:.4g}. Nothing is sampled further. "
            "Lower the threshold or try other seeds."
        )
    if kept == finished:
        return f"Kept all {len(finished)} ({rule})."
    worst_kept = min(scores.values[row] for row in kept)
    tied = sum(scores.values[row] == worst_kept for row in finished if row not in kept)
    note = f" Dropped rows with the same score as the last one kept: {tied}." if tied else ""
    return f"Kept {len(kept)} of {len(finished)} ({rule}).{note}"


def _dropped_before(scores: Scores, rows: tuple[int, ...]) -> str:
    if not rows:
        return ""
    moments = ", ".join(dict.fromkeys(scores.dropped_at[row] for row in rows))
    return f" Of the whole batch of {len(scores)}, {len(rows)} had been dropped in flight (at {moments})."


def require_rows(scores: Scores, rows: int) -> None:
    """Refuse scores of another batch than one of ``rows`` rows.

    Raises:
        ValueError: the numbers differ.
    """
    if len(scores) != rows:
        raise ValueError(
            f"there are {len(scores)} scores but the latent has {rows} rows. Connect the latent that was scored."
        )
