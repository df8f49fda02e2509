"""Set everything up: ``python -m dev.setup [--with-browser]``, or ``make setup``.

Idempotent, and after an interruption the next run goes on where this one stopped. With
``COMFYUI_PATH`` (or when the pack lies in an installation's ``custom_nodes``) that installation and
its Python are used: the pack is linked into its ``custom_nodes``, and nothing is installed there.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from training.client.paths import CACHE, PACK_ROOT, VENV, comfyui_path

from .browser import ensure_browser_tools
from .environment import check_installation, ensure_packages, ensure_venv, installation_python, python_in
from .link import link_pack, linked_name
from .steps import SetupError, step
from .tree import ensure_tree


def ensure(with_browser: bool = False, with_tests: bool = False) -> Path:
    """Set up what is missing; the Python interpreter to run everything with.

    Raises:
        SetupError: it can't be done; the message says why and what to do.
    """
    started = time.monotonic()
    tree = comfyui_path()
    changed = False
    if tree == CACHE / "ComfyUI":
        python = python_in(VENV)
        changed |= ensure_venv()
        changed |= ensure_tree(tree, CACHE / "downloads", python)
        changed |= ensure_packages(tree)
    else:
        python = installation_python(tree)
        check_installation(tree, python, with_tests)
    if linked_name(tree) is None:
        with step(f"Linking the pack into {tree / 'custom_nodes'}"):
            try:
                link_pack(tree)
            except (OSError, subprocess.CalledProcessError) as error:
                raise SetupError(f"Linking the pack failed: {error}") from None
        changed = True
    if with_browser:
        changed |= ensure_browser_tools()
    state = f"Set up in {time.monotonic() - started:.0f} s" if changed else "Already set up"
    print(f"{state}: ComfyUI in {tree}, Python {python}", flush=True)
    return python


def ensure_or_exit(**options: bool) -> Path:
    """Do :func:`ensure`, with an error as one message and exit code 1."""
    try:
        return ensure(**options)
    except SetupError as error:
        raise SystemExit(f"Set-up stopped. {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("Set-up interrupted; the next run goes on from here.") from None


def hand_over(python: Path, *arguments: str) -> None:
    """Go on as ``python …`` in the pack's root. Does not return."""
    os.chdir(PACK_ROOT)
    sys.stdout.flush()
    if os.name == "nt":  # execv there returns to the shell at once
        raise SystemExit(subprocess.run([str(python), *arguments]).returncode)
    os.execv(python, [str(python), *arguments])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.setup", description=__doc__.splitlines()[0])
    parser.add_argument("--with-browser", action="store_true", help="also what the browser tests need")
    arguments = parser.parse_args()
    ensure_or_exit(with_browser=arguments.with_browser, with_tests=arguments.with_browser)


if __name__ == "__main__":
    main()
