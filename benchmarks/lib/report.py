"""Result files, and what every one states beside its figures: command, machine, versions."""

import json
import math
import os
import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from diffusion_probe.engine.core.files import replace_file

PACKAGES = ("torch", "numpy", "scipy")


def machine() -> dict[str, Any]:
    """Return processor, cores, threads in use and accelerator, and nothing that names the machine itself."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of Python, ComfyUI and the packages that the figures depend on."""
    from comfyui_version import __version__ as comfyui

    return {
        "python": platform.python_version(),
        "comfyui": comfyui,
        **{package: metadata.version(package) for package in PACKAGES},
    }


def command(module: str) -> str:
    """Return the command line that runs this again; a path outside of the repository is cut to its name."""
    words = [word if not Path(word).is_absolute() else Path(word).name for word in sys.argv[1:]]
    return shlex.join(["python", "-m", module, *words])


def write(path: Path, figures: dict[str, Any], module: str, seed: int) -> None:
    """Write figures as JSON, whole or not at all; NaN becomes null.

    Args:
        path: the file; its folder is created.
        figures: the benchmark's own keys.
        module: the benchmark, as in ``python -m MODULE``.
        seed: what its random numbers came from.
    """
    record = {**figures, "seed": seed, "command": command(module), "machine": machine(), "versions": versions()}
    text = json.dumps(plain(record), indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))
    print(f"wrote {path.name}")


def plain(value: Any) -> Any:
    """Return JSON's own types: numbers rounded to 6 significant digits, NaN and infinity as None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, (str, int)):
        return value
    number = float(value)
    return float(f"{number:.6g}") if math.isfinite(number) else None
