"""Run the test suite: ``python -m runtime.test [--no-browser] [pytest's arguments]``, or ``make test``."""

import os
import subprocess
import sys

from .paths import PACK_ROOT
from .setup import ensure_or_exit

SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile")
"""The whole suite in two processes, a file in one of them: most tests keep one core busy."""


def main() -> None:
    """Set up, check the style when the whole suite is run, and run pytest."""
    arguments = sys.argv[1:]
    browser = "--no-browser" not in arguments
    arguments = [argument for argument in arguments if argument != "--no-browser"]
    python = str(ensure_or_exit(with_browser=browser, with_tests=True))
    style = 0
    if not arguments:
        style = _run(python, "-m", "ruff", "check", "--quiet", ".")
        arguments += SIDE_BY_SIDE if (os.cpu_count() or 1) > 1 else ()
    if not browser:
        arguments += ["--ignore", "tests/browser"]
    tests = _run(python, "-m", "pytest", *arguments)
    if style:
        print("ruff's findings are above the tests; `ruff check --fix .` mends most.", file=sys.stderr)
    raise SystemExit(tests or style)


def _run(*command: str) -> int:
    try:
        return subprocess.run(command, cwd=PACK_ROOT).returncode
    except KeyboardInterrupt:  # the command got it too and has said so
        return 130


if __name__ == "__main__":
    main()
