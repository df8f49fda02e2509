"""Check everything that needs no run of the pack: ``python -m dev.check [--quick]``, or ``make check``.

Style (ruff), the rules of imports between rooms (import-linter), types (mypy), and the house itself: docstrings, sizes
of documents, folders (:mod:`dev.house`). ``--quick`` leaves out types, which take half a minute.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.client.loader import PACKAGE
from training.client.paths import PACK_ROOT

from .link import link_folder
from .setup import ensure_or_exit

ROOMS = ("engine", "probe_models", "training", "testbed", "nodes")
"""Folders whose types are checked: what the registry package holds."""

LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def main() -> None:
    """Run all checks, say which failed, and exit with 1 if any did."""
    parser = argparse.ArgumentParser(prog="python -m dev.check", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out the types")
    quick = parser.parse_args().quick
    python = str(ensure_or_exit(with_tests=True))
    settings = str(PACK_ROOT / "pyproject.toml")
    with linked_pack() as folder:
        modules = [argument for room in ROOMS for argument in ("-p", f"{PACKAGE}.{room}")]
        checks = {
            "style": (PACK_ROOT, ["-m", "ruff", "check", "--quiet", "."]),
            "format": (PACK_ROOT, ["-m", "ruff", "format", "--quiet", "--check", "."]),
            "imports": (folder, ["-c", LINT_IMPORTS, "--no-logo", "--no-cache", "--config", settings]),
            "types": (folder, ["-m", "mypy", "--config-file", settings, *modules]),
            "house": (PACK_ROOT, ["-m", "dev.house", "--check"]),
        }
        if quick:
            del checks["types"]
        failed = [name for name, (where, command) in checks.items() if _run(name, where, python, *command)]
    if failed:
        raise SystemExit(f"Failed: {', '.join(failed)}. `ruff check --fix .` and `ruff format .` mend most of style.")
    print("All checks passed.")


@contextmanager
def linked_pack() -> Iterator[Path]:
    """Make a folder in which the pack is importable by its name, as the tools want it, and remove it afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        link_folder(Path(folder) / PACKAGE, PACK_ROOT)
        try:
            yield Path(folder)
        finally:
            (Path(folder) / PACKAGE).unlink()


def _run(name: str, where: Path, python: str, *command: str) -> int:
    print(f"{name} …", flush=True)
    done = subprocess.run([python, *command], cwd=where, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr, flush=True)
    return done.returncode


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
