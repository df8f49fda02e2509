"""Compare the reward models with the original packages: ``python -m dev.parity [arguments]``, or ``make parity``.

Sets up what is missing and hands over to ``benchmarks.parity``, which says more.
"""

import sys

from .setup import ensure_or_exit, hand_over


def main() -> None:
    hand_over(ensure_or_exit(), "-m", "benchmarks.parity", *sys.argv[1:])


if __name__ == "__main__":
    main()
