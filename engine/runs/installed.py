"""Versions of ComfyUI and the pack that run here, and digests of model files.

Servers that record one dataset together have to agree on these.
"""

import hashlib
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import folder_paths

from ..core.pack_version import pack_version
from ..core.supported import installed_comfyui

MOST_NAMES = 1000
"""Largest number of names in one question."""

_reading = threading.Lock()


def installed(names: Sequence[str]) -> dict[str, Any]:
    """Return the versions of ComfyUI and the pack, and the SHA-256 of model files by name.

    Args:
        names: of model files, as nodes' inputs have them; those that are no model file here are left out.

    Raises:
        ValueError: the names are no list of texts, or too many.
    """
    if not isinstance(names, list) or len(names) > MOST_NAMES or not all(isinstance(name, str) for name in names):
        raise ValueError(f"names of model files are a list of at most {MOST_NAMES} texts")
    return {"comfyui": installed_comfyui() or "", **pack_version(), "files": model_digests(names)}


def model_digests(names: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of each model file of some names; a name of several folders counts as all of these."""
    digests = {}
    for name in sorted(set(names)):
        paths = [_model_path(folder, name) for folder in sorted(folder_paths.folder_names_and_paths)]
        found = sorted({path for path in paths if path is not None})
        if found:
            each = [_digest(path, path.stat().st_size, path.stat().st_mtime_ns) for path in found]
            digests[name] = each[0] if len(each) == 1 else hashlib.sha256("".join(sorted(each)).encode()).hexdigest()
    return digests


def _model_path(folder: str, name: str) -> Path | None:
    extensions = folder_paths.folder_names_and_paths[folder][1]
    if not extensions or Path(name).suffix.lower() not in extensions:
        return None
    path = folder_paths.get_full_path(folder, name)
    return Path(path).resolve() if path else None


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, changed: int) -> str:
    """Compute the SHA-256 of a file; size and time of change are there so that another content is read again."""
    digest = hashlib.sha256()
    with _reading, path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
