"""Pictures for README and help pages: ``python -m dev.screenshots [NODE …]``, or ``make screenshots``.

Sets up what is missing, and takes them from the running server. They go to ``screenshots`` and ``web/docs/images``.
"""

import sys

from .setup import ensure_or_exit, hand_over

if __name__ == "__main__":
    hand_over(ensure_or_exit(with_browser=True), "-m", "dev.screenshots_run", *sys.argv[1:])
