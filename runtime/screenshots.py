"""Pictures of the running server for README and help pages: ``python -m runtime.screenshots``, or ``make screenshots``.

Sets up what is missing. The pictures go to ``screenshots`` and ``web/docs/images``.
"""

from .setup import ensure_or_exit, hand_over

if __name__ == "__main__":
    hand_over(ensure_or_exit(with_browser=True), "-m", "runtime.screenshots_run")
