"""The pack's link among the custom nodes of a ComfyUI tree."""

import os
import subprocess
from pathlib import Path

from training.client.paths import PACK_FOLDER_NAME, PACK_ROOT


def linked_name(tree: Path) -> str | None:
    """Find the name under which ``tree/custom_nodes`` holds this pack (a link, or the clone itself)."""
    folder = tree / "custom_nodes"
    if not folder.is_dir():
        return None
    names = [entry.name for entry in sorted(folder.iterdir()) if entry.is_dir() and entry.resolve() == PACK_ROOT]
    return names[0] if names else None


def link_pack(tree: Path) -> str:
    """Make sure ``tree/custom_nodes`` holds this pack; return its name there.

    Raises:
        FileExistsError: the name is taken by another copy of the pack, which is left alone.
    """
    name = linked_name(tree)
    if name is not None:
        return name
    link = tree / "custom_nodes" / PACK_FOLDER_NAME
    if link.exists():
        raise FileExistsError(
            f"{link} is another copy of the pack ({link.resolve()}). Move it away, or run these commands from there."
        )
    if link.is_symlink():  # to a clone that moved or went away
        link.unlink()
    link.parent.mkdir(exist_ok=True)
    link_folder(link, PACK_ROOT)
    return PACK_FOLDER_NAME


def link_folder(link: Path, folder: Path) -> None:
    """Make a link to a folder: a symbolic one, or a junction on Windows, which wants no privilege."""
    try:
        link.symlink_to(folder, target_is_directory=True)
    except OSError:
        if os.name != "nt":
            raise
        subprocess.run(["cmd", "/c", "mklink", "/J", str(link), str(folder)], check=True, capture_output=True)
