"""Distances between results."""


def relative_error(result, expected) -> float:
    """Return the norm of the difference as a share of the expected result's."""
    return float((result - expected).norm() / expected.norm())
