"""Say whether the pack's version changed: ``python -m dev.release COMMIT``, for the workflow that publishes it.

Prints ``changed=true`` or ``changed=false``: whether ``pyproject.toml`` has another version than at that commit. Where
the commit is not there, as after a forced push, the commit before the last one is taken.
"""

import argparse
import re
import subprocess
from pathlib import Path

from training.client.paths import PACK_ROOT


def version_in(pyproject: str) -> str:
    """Return the version in a pyproject.toml's text.

    Raises:
        ValueError: there is none.
    """
    found = re.search(r'^version = "([^"]+)"$', pyproject, re.MULTILINE)
    if found is None:
        raise ValueError('pyproject.toml has no line version = "…".')
    return found[1]


def version_changed(commit: str, folder: Path = PACK_ROOT) -> bool:
    """Return whether the repository in ``folder`` has another version now than at ``commit``."""
    now = version_in((folder / "pyproject.toml").read_text(encoding="utf-8"))
    for name in (commit, "HEAD^"):
        shown = subprocess.run(["git", "show", f"{name}:pyproject.toml"], cwd=folder, capture_output=True, text=True)
        if shown.returncode == 0:
            return version_in(shown.stdout) != now
    return True


def main() -> None:
    """Print the answer for ``$GITHUB_OUTPUT``."""
    parser = argparse.ArgumentParser(prog="python -m dev.release", description=__doc__.splitlines()[0])
    parser.add_argument("commit", help="the commit to compare with")
    print(f"changed={str(version_changed(parser.parse_args().commit)).lower()}")


if __name__ == "__main__":
    main()
