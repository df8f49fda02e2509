"""The ComfyUI that the pack is developed against: set-up, in-process use, the real server."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036  (an error one can read, instead of a traceback)
    raise SystemExit(f"Python 3.10 or newer is needed, and this is {sys.version.split()[0]}. Run it with a newer one.")
