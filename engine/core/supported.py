"""Versions of ComfyUI that the pack works with.

Standard library only: the check runs before anything is imported that old versions lack.
"""

import importlib.util
import logging
import re

OLDEST_COMFYUI = (0, 21, 1)
"""Oldest version on which the core of the tests passes (``python -m dev.test --comfyui FOLDER``)."""


def installed_comfyui() -> str | None:
    """Return the version of the running ComfyUI, None outside of one."""
    try:
        from comfyui_version import __version__
    except ImportError:
        return None
    return __version__


def why_too_old(version: str | None) -> str | None:
    """Return the reason why a ComfyUI is too old for the pack; None for any other, and for an unknown version."""
    numbers = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version or "")
    if numbers is None or tuple(int(number or 0) for number in numbers.groups()) >= OLDEST_COMFYUI:
        return None
    return f"Diffusion Probe needs ComfyUI {'.'.join(map(str, OLDEST_COMFYUI))} or newer, and this is {version}"


def warn_without_entrypoint() -> None:
    """Log a warning in a ComfyUI so old that it doesn't call ``comfy_entrypoint``, which warns in newer ones."""
    too_old = why_too_old(installed_comfyui())
    if too_old is not None and not _has_entrypoints():
        logging.warning(f"{too_old}: update ComfyUI.")


def _has_entrypoints() -> bool:
    try:
        return importlib.util.find_spec("comfy_api.latest") is not None
    except ImportError:
        return False
