"""The Python that runs ComfyUI: the pack's own ``.venv``, or that of an installation the user has.

An installation of the user's is never changed: what is missing there is said, not installed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from engine.core.supported import why_too_old
from training.client.paths import PACK_ROOT, VENV

from .steps import SetupError, compile_python, fingerprint, is_stamped, run, step, write_stamp

# Left to itself, pip takes a newer torch that has no matching torchaudio, and ComfyUI does not start.
TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
PACK_REQUIREMENTS = PACK_ROOT / "requirements.txt"
DEV_REQUIREMENTS = PACK_ROOT / "dev" / "requirements-dev.txt"


def python_in(environment: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure_venv() -> bool:
    """Make sure the pack's ``.venv`` exists. False if it did already."""
    made_from = fingerprint(str(VENV.resolve()), f"{sys.version_info.major}.{sys.version_info.minor}")
    if python_in(VENV).exists() and is_stamped(VENV / "venv.json", made_from):
        return False
    if Path(sys.prefix) == VENV:  # run by the very environment: it works, so keep it
        write_stamp(VENV / "venv.json", made_from)
        return False
    with step(f"Creating {VENV.name} with Python {sys.version.split()[0]}"):
        run(
            [sys.executable, "-m", "venv", "--clear", str(VENV)],
            "Creating the virtual environment failed",
            "On Debian: apt-get install python3-venv. Then run the same command again.",
        )
        write_stamp(VENV / "venv.json", made_from)
    return True


def ensure_packages(tree: Path) -> bool:
    """Make sure ``.venv`` has what ComfyUI, the pack and its tests need. False if it had already."""
    files = (tree / "requirements.txt", PACK_REQUIREMENTS, DEV_REQUIREMENTS)
    made_from = fingerprint(*TORCH, *files)
    if is_stamped(VENV / "packages.json", made_from):
        return False
    forget_half_installed(VENV)
    with step("Installing torch, ComfyUI's requirements and the test tools (6 GB on disk, minutes)"):
        run(
            [str(python_in(VENV)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
             *TORCH, *(part for file in files for part in ("-r", str(file)))],
            "Installing the Python packages failed",
            "Check the connection to the package registry and the free disk space, then run the same command "
            "again: it goes on where it stopped.",
        )  # fmt: skip
    with step("Compiling them"):
        compile_python(python_in(VENV), VENV)
        write_stamp(VENV / "packages.json", made_from)
    return True


def forget_half_installed(environment: Path) -> None:
    """Take away the metadata of packages whose installation was cut off, so that pip installs them again.

    pip takes a package for installed when its metadata is there, but writes ``INSTALLER`` only after
    the package's last file.
    """
    for pattern in ("lib/python*/site-packages/*.dist-info", "Lib/site-packages/*.dist-info"):
        for metadata in environment.glob(pattern):
            if not (metadata / "INSTALLER").exists():
                shutil.rmtree(metadata)


def installation_python(tree: Path) -> Path:
    """Find the interpreter of a ComfyUI installation: ``COMFYUI_PYTHON``, its own environment, else this one."""
    given = os.environ.get("COMFYUI_PYTHON")
    if given:
        return Path(given).expanduser()
    candidates = [python_in(tree / ".venv"), python_in(tree / "venv"), tree.parent / "python_embeded" / "python.exe"]
    return next((path for path in candidates if path.exists()), Path(sys.executable))


def check_installation(tree: Path, python: Path, with_tests: bool) -> None:
    """Look at a user's installation without changing it.

    Raises:
        SetupError: it is no ComfyUI, too old, or packages are missing; the message names them.
    """
    if not (tree / "main.py").is_file() or not (tree / "comfyui_version.py").is_file():
        raise SetupError(f"COMFYUI_PATH is {tree}, and there is no ComfyUI (no main.py). Set it to ComfyUI's folder.")
    version = re.search(r'"(.+?)"', (tree / "comfyui_version.py").read_text())
    if version and (too_old := why_too_old(version[1])) is not None:
        raise SetupError(f"{too_old}, in {tree}. Update it, or unset COMFYUI_PATH.")
    needed = ["torch", "aiohttp", "Pillow", "tqdm", *names(PACK_REQUIREMENTS)]
    if with_tests:
        needed += names(DEV_REQUIREMENTS)
    absent = missing(python, needed)
    if "torch" in absent:
        raise SetupError(
            f"There is no torch in {python}, so this is not the Python that {tree} runs with. "
            "Activate ComfyUI's environment, or set COMFYUI_PYTHON to its python, and run the same command again."
        )
    if absent:
        raise SetupError(
            f"{python} lacks {', '.join(absent)}. Your installation is left alone, so install them yourself:\n"
            f"    {python} -m pip install {' '.join(absent)}"
        )


def names(requirements: Path) -> list[str]:
    """Read the distribution names in a requirements file."""
    lines = (line.split("#")[0].strip() for line in requirements.read_text().splitlines())
    return [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in lines if line]


def missing(python: Path, distributions: list[str]) -> list[str]:
    """Find those of the distributions that this interpreter does not have."""
    script = (
        "import importlib.metadata as m, json, sys\n"
        "def lacks(name):\n"
        "    try: m.version(name)\n"
        "    except m.PackageNotFoundError: return True\n"
        "print(json.dumps([name for name in sys.argv[1:] if lacks(name)]))"
    )
    try:
        answer = subprocess.run([str(python), "-c", script, *distributions], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(f"{python} does not run: {error}. Set COMFYUI_PYTHON to ComfyUI's python.") from None
    return json.loads(answer.stdout)
