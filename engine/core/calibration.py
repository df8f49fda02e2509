"""Percentiles of scores among those of images that a probe was not trained on."""

from bisect import bisect_left, bisect_right

from .scores import Scores


def percentile_of_calibration(value: float, quantiles: tuple[float, ...]) -> float:
    """Return the percentile of a score, 0 to 100, linear between the quantiles.

    Args:
        value: the score.
        quantiles: at least two, sorted, at equal steps from the lowest to the highest. Of quantiles that equal
            the score the middle one counts.
    """
    below, up_to = bisect_left(quantiles, value), bisect_right(quantiles, value)
    if below < up_to:
        position = (below + up_to - 1) / 2
    elif below in (0, len(quantiles)):
        return 0.0 if below == 0 else 100.0
    else:
        low, high = quantiles[below - 1], quantiles[below]
        position = below - 1 + (value - low) / (high - low)
    return 100 * position / (len(quantiles) - 1)


def require_calibration(scores: Scores, otherwise: str) -> None:
    """Refuse scores of a probe without calibration.

    Args:
        scores: of one batch.
        otherwise: the option that works without calibration, for the error.

    Raises:
        ValueError: there are no quantiles, or a single one.
    """
    if len(scores.calibration) < 2:
        raise ValueError(
            f"{scores.probe} has no calibration, so its scores have no percentile. Set threshold on to "
            f'"{otherwise}" and take the threshold from the scores that are shown, or use a trained probe.'
        )
