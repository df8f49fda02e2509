"""Run the test suite: ``python -m runtime.test [--no-browser] [pytest's arguments]``, or ``make test``."""

import subprocess
import sys

from .paths import PACK_ROOT
from .setup import ensure_or_exit, hand_over


def main() -> None:
    """Set up, check the style when the whole suite is run, and hand over to pytest."""
    arguments = sys.argv[1:]
    browser = "--no-browser" not in arguments
    arguments = [argument for argument in arguments if argument != "--no-browser"]
    python = ensure_or_exit(with_browser=browser, with_tests=True)
    if not arguments and subprocess.run([python, "-m", "ruff", "check", "--quiet", "."], cwd=PACK_ROOT).returncode:
        raise SystemExit("ruff found the above; fix it first (`ruff check --fix .` does most).")
    if not browser:
        arguments += ["--ignore", "tests/browser"]
    hand_over(python, "-m", "pytest", *arguments)


if __name__ == "__main__":
    main()
