"""Gate: whether a scored batch is good enough for the branch behind it."""

import math
from dataclasses import dataclass

from ..core.calibration import percentile_of_calibration, require_calibration
from ..core.ranking import best_first, percentiles_in_batch
from ..core.scores import Scores
from ..core.texts import quoted
from .select import PERCENTILE, RAW

CALIBRATION = "percentile of calibration"
GATE_THRESHOLDS = (RAW, CALIBRATION, PERCENTILE)

BEST, MEAN, WORST, FIRST = "best row", "mean of all rows", "worst row", "first row"
ROWS = (BEST, MEAN, WORST, FIRST)


@dataclass(frozen=True)
class Decision:
    """Decision of a gate.

    Attributes:
        passed: whether the branch may run.
        score: the raw score that counted, of one row or the mean.
        measured: the number that was compared with the threshold: the score or a percentile of it.
        reason: one sentence for the user: the comparison, or why there was none.
    """

    passed: bool
    score: float
    measured: float
    reason: str


def decide(
    scores: Scores, threshold: float, threshold_on: str = RAW, rows: str = BEST, use_unskilled: bool = False
) -> Decision:
    """Compare a batch with a threshold; exactly on it passes.

    Args:
        scores: one score per row.
        threshold: the least that passes.
        threshold_on: what it is compared with, one of ``GATE_THRESHOLDS``.
        rows: which row counts, one of ``ROWS``.
        use_unskilled: let a score block although it has no measured skill. Otherwise it lets pass.

    Raises:
        ValueError: a score is NaN, a setting is out of its range, the probe has no calibration, or
            the row that counts has the same percentile in every batch.
    """
    _check(scores, threshold, threshold_on, rows)
    score = _score(scores, rows)
    measured = score
    if threshold_on == CALIBRATION:
        measured = percentile_of_calibration(score, scores.calibration)
    elif threshold_on == PERCENTILE:
        measured = percentiles_in_batch(scores.values)[0]
    if not scores.skilled and not use_unskilled:
        return Decision(
            True,
            score,
            measured,
            f'Passed: the score "{scores.label}" of {scores.probe} has no measured skill, so it blocks nothing. '
            f'Set unskilled scores to "use anyway" to gate by it all the same. Its {rows} is {score:.4g}.',
        )
    passed = measured >= threshold
    compared = f"{rows}: {threshold_on} {measured:.4g} {'≥' if passed else '<'} {threshold:g}"
    return Decision(passed, score, measured, f"{'Passed' if passed else 'Not passed'} ({compared}).")


def _score(scores: Scores, rows: str) -> float:
    order = best_first(scores.values)  # refuses NaN
    if rows == MEAN:
        return math.fsum(scores.values) / len(scores)
    return scores.values[{BEST: order[0], WORST: order[-1], FIRST: 0}[rows]]


def _check(scores: Scores, threshold: float, threshold_on: str, rows: str) -> None:
    if threshold_on not in GATE_THRESHOLDS:
        raise ValueError(f"threshold on is {quoted(threshold_on)}. It takes {_listed(GATE_THRESHOLDS)}.")
    if rows not in ROWS:
        raise ValueError(f"rows is {quoted(rows)}. It takes {_listed(ROWS)}.")
    if not len(scores):
        raise ValueError("there are no scores. Connect scores of at least one row.")
    if not math.isfinite(threshold):
        raise ValueError(f"The threshold is {threshold}. Enter a number.")
    if threshold_on != RAW and not 0 <= threshold <= 100:
        raise ValueError(
            f"The threshold is {threshold:g}, but a percentile lies between 0 and 100. "
            f'Enter such a number, or set threshold on to "{RAW}".'
        )
    if threshold_on == CALIBRATION:
        require_calibration(scores, RAW)
    if threshold_on == PERCENTILE and (rows != FIRST or len(scores) < 2):
        raise ValueError(
            f'the {rows} of {len(scores)} has the same percentile in every batch. Set rows to "{FIRST}" and score two '
            f'rows or more, or set threshold on to "{RAW}".'
        )


def _listed(options: tuple[str, ...]) -> str:
    return ", ".join(map(quoted, options))
