"""Ranks and percentiles within one batch. They say nothing about other batches or prompts."""

import math
from collections.abc import Sequence


def best_first(values: Sequence[float]) -> list[int]:
    """Order rows from the highest score to the lowest; of equal scores the lower row comes first.

    Raises:
        ValueError: a score is NaN or infinite.
    """
    broken = [row for row, value in enumerate(values) if not math.isfinite(value)]
    if broken:
        rows = ", ".join(str(row) for row in broken)
        raise ValueError(
            f"Row {rows} of {len(values)} has no score ({values[broken[0]]}). Its latent is most likely NaN too: "
            "look at a preview of it, and run the model or the VAE in a wider precision (bf16 or fp32)."
        )
    return sorted(range(len(values)), key=lambda row: (-values[row], row))


def ranks(values: Sequence[float]) -> list[int]:
    """Return the rank of each row, 1 for the best, in the order of :func:`best_first`."""
    by_row = {row: rank for rank, row in enumerate(best_first(values), start=1)}
    return [by_row[row] for row in range(len(values))]


def percentiles_in_batch(values: Sequence[float]) -> list[float]:
    """Return the share of the other rows that each row beats, in percent; a tie counts half.

    The best of a batch without ties has 100, the worst 0, and a batch of one row 100.
    """
    best_first(values)  # refuses NaN
    others = len(values) - 1
    if others < 1:
        return [100.0] * len(values)
    beaten = [
        sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2 for value in values
    ]
    return [100.0 * count / others for count in beaten]
