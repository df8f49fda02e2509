"""Write the nodes' English texts from their schemas: ``python -m dev.locales [--check]``.

Sets up what is missing, and writes ``locales/en/nodeDefs.json``. With ``--check`` nothing is written, and the exit code
is 1 if the file differs from the schemas. Other languages are translated by hand; tests compare their keys.
"""

import sys

from .setup import ensure_or_exit, hand_over

if __name__ == "__main__":
    hand_over(ensure_or_exit(), "-m", "dev.locales_run", *sys.argv[1:])
