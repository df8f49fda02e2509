"""Version of the pack, and a digest of its code."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

PACK_ROOT = Path(__file__).resolve().parents[2]
CODE = ("nodes", "engine", "probe_models", "training", "testbed")
"""Folders whose files make what is recorded."""


@lru_cache
def pack_version() -> dict[str, str]:
    """Return the version of the pack, and a digest of its Python files, which an edited copy has another of."""
    text = (PACK_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    digest = hashlib.sha256()
    for path in sorted(path for folder in CODE for path in (PACK_ROOT / folder).rglob("*.py")):
        digest.update(f"{path.relative_to(PACK_ROOT).as_posix()}\n".encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return {"pack": version.group(1) if version else "", "code": digest.hexdigest()[:20]}
