"""See it work: ``python -m dev.demo [--workflow FILE] [--out FOLDER]``, or ``make demo``.

Sets up what is missing, runs a seed selection (`dev/demo.json`) on the real server, and leaves the
surviving images and a contact sheet of all candidates in ``output/demo``.
"""

import sys

from .setup import ensure_or_exit, hand_over

if __name__ == "__main__":
    hand_over(ensure_or_exit(), "-m", "dev.demo_run", *sys.argv[1:])
