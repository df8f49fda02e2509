"""Percentile of a score among those that its probe gives to images it was not trained on."""

from bisect import bisect_left, bisect_right

from .scores import Scores


def percentile_of_calibration(value: float, quantiles: tuple[float, ...]) -> float:
    """Compute the percentile of a score, 0 to 100, linear between the quantiles.

    Args:
        value: the score.
        quantiles: at least two, sorted, at equal steps from the lowest to the highest. A score that
            several of them share lies in their middle.
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
    """Refuse scores whose probe was never calibrated.

    Args:
        otherwise: the option that works without calibration.

    Raises:
        ValueError: there are no quantiles, or a single one.
    """
    if len(scores.calibration) < 2:
        raise ValueError(
            f"{scores.probe} has no calibration, so its scores have no percentile. Set threshold on to “{otherwise}” "
            "and take the threshold from the scores that Probe Score shows, or use a trained probe."
        )
