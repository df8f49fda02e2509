"""Tools that the browser tests need beyond Python: Debian's Chromium, Node.js, and playwright-core."""

import os
import shutil
import sys
from pathlib import Path

from training.client.paths import PACK_ROOT

from .steps import SetupError, fingerprint, is_stamped, run, step, write_stamp

BROWSER_TESTS = PACK_ROOT / "tests" / "browser"
DEBIAN = {"chromium": "chromium", "node": "nodejs", "npm": "npm"}  # command: package


def ensure_browser_tools() -> bool:
    """Make sure that Chromium, Node.js and the pinned playwright-core are there. False if they were.

    Raises:
        SetupError: something is missing and can't be installed from here.
    """
    packages = [package for command, package in DEBIAN.items() if shutil.which(command) is None]
    if packages:
        _apt_install(packages)
    return _install_node_modules(BROWSER_TESTS) or bool(packages)


def _apt_install(packages: list[str]) -> None:
    wanted = " ".join(packages)
    if sys.platform != "linux" or not shutil.which("apt-get") or os.geteuid() != 0:
        raise SetupError(
            f"The browser tests need {wanted}. Install them (on Debian: sudo apt-get install {wanted}), "
            "or leave these tests out: python -m dev.test --no-browser."
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    fix = "Check the connection to Debian's packages and run the same command again."
    with step(f"Installing {wanted} with apt-get"):
        run(["apt-get", "update", "-qq"], "apt-get update failed", fix, env=environment)
        run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
            f"apt-get install {wanted} failed", fix, env=environment,
        )  # fmt: skip


def _install_node_modules(folder: Path) -> bool:
    made_from = fingerprint(folder / "package-lock.json")
    stamp = folder / "node_modules" / ".diffusion-probe.json"
    if is_stamped(stamp, made_from):
        return False
    with step("Installing playwright-core"):
        run(
            ["npm", "ci", "--no-audit", "--no-fund"],
            "npm ci failed", "Check the connection to the npm registry and run the same command again.", cwd=folder,
        )  # fmt: skip
        write_stamp(stamp, made_from)
    return True
