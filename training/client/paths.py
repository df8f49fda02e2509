"""Paths of the pack, of ComfyUI and of what development makes. Standard library only, so that set-up can use it."""

import os
from pathlib import Path

PACK_ROOT = Path(__file__).resolve().parents[2]
PACK_FOLDER_NAME = "diffusion-probe"
CACHE = PACK_ROOT / ".cache"
VENV = PACK_ROOT / ".venv"
OUTPUT = PACK_ROOT / "output"


def comfyui_path() -> Path:
    """Return the ComfyUI tree in use.

    ``COMFYUI_PATH`` if it is set; else the installation whose ``custom_nodes`` holds this pack;
    else the one that set-up unpacked.
    """
    chosen = os.environ.get("COMFYUI_PATH")
    if chosen:
        return Path(chosen).expanduser().resolve()
    custom_nodes = PACK_ROOT.parent
    if custom_nodes.name == "custom_nodes" and (custom_nodes.parent / "main.py").is_file():
        return custom_nodes.parent
    return CACHE / "ComfyUI"
