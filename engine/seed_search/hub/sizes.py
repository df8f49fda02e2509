"""Size of joined calls: how many runs share one, by the bytes that each size moves to the card."""

from collections.abc import Callable

SIZES = (1, 2, 4, 8, 16)
"""Numbers of runs that a call is planned for: few, so that compiled models and CUDA graphs see few shapes."""

READ_AGAIN = 1 / 20
"""Time of one pass over weights on the card (cast, computed with) by the time of moving them there."""


def best_size(waiting: int, weights: float, free: float, memory_of: Callable[[int], float]) -> int:
    """Return how many runs are to share one call, where ``waiting`` runs are to be computed.

    Memory that a call needs is not there for weights, and weights without a place are moved to the card in every call.
    What a row computes costs the same in a call of any size, so the moved bytes decide; of sizes that move as many
    the largest. Sizes above the memory of the card are left out, but for a single run.

    Args:
        waiting: runs.
        weights: bytes of the model.
        free: bytes on the card for weights and calls together.
        memory_of: returns the bytes that a call of so many runs needs beside the weights.
    """

    def moved(size: int) -> float:
        calls = -(-waiting // size)
        streamed = max(0.0, weights - max(0.0, free - memory_of(size)))
        return calls * (streamed + READ_AGAIN * weights)

    useful = [size for size in SIZES if size < 2 * waiting]
    fitting = [size for size in useful if memory_of(min(size, waiting)) <= free] or [1]
    return min(waiting, min(reversed(fitting), key=lambda size: moved(min(size, waiting))))


def shape_size(count: int) -> int:
    """Return the largest of :data:`SIZES` that is not above a number of runs."""
    return max(size for size in SIZES if size <= max(1, count))
