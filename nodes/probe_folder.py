"""The folder of trained probes, and the files that come with the pack."""

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path, PureWindowsPath

import folder_paths

from ..engine.core.names import can_be_inside, leads_out, parts_of
from ..engine.core.texts import quoted
from ..testbed.load import PROBES

FOLDER = "diffusion_probes"
folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))
# Pickled files are listed too: choosing one says why it is refused.
folder_paths.folder_names_and_paths[FOLDER][1].update(folder_paths.supported_pt_extensions)

SHIPPED = "testbed/"
"""The start of the names of probes that come with the pack, for its testbed models."""

SUFFIX = ".safetensors"
LONGER_BY = 60
"""Bytes that a number and the endings of checkpoints add to the name of a probe file."""


def probe_names() -> list[str]:
    """Return the names of all probe files: paths inside the folder, and those that come with the pack."""
    own = [name for name in folder_paths.get_filename_list(FOLDER) if not PureWindowsPath(name).name.startswith(".")]
    return [*own, *(name for name in shipped_probes() if name not in own)]


def shipped_probes() -> dict[str, Path]:
    """Return the probe files that come with the pack, by name."""
    return {SHIPPED + path.relative_to(PROBES).as_posix(): path for path in sorted(PROBES.rglob(f"*{SUFFIX}"))}


def probe_path(name: str) -> Path:
    """Return the path of a probe file.

    Raises:
        ValueError: the name leads out of the folder.
        FileNotFoundError: there is no such file.
    """
    if leads_out(name):
        raise ValueError(
            f"{quoted(name)} leads out of models/{FOLDER}. Accepted are names of files in that folder and its "
            "subfolders: put the file there and choose it from the list."
        )
    path = shipped_probes().get(name) or folder_paths.get_full_path(FOLDER, name)
    if path is None:
        where = folder_paths.get_folder_paths(FOLDER)[0]
        raise FileNotFoundError(
            f"there is no probe {quoted(name)}. Put its file into {where} and choose it from the list."
        )
    return Path(path)


def new_probe_path(name: str, replace: bool, goes_on: Callable[[Path], bool], taken: Callable[[Path], bool]) -> Path:
    """Return the path for a new probe: with the next free name, unless it may replace a file.

    Args:
        replace: use the name itself, even if there is such a file.
        goes_on: returns whether this training was writing a file when it was interrupted.
        taken: returns whether another unfinished training writes a file, which may not exist yet.

    Raises:
        ValueError: the name is empty, leads out of the folder, can't be that of a file or would not be listed.
    """
    name = name.strip().removesuffix(SUFFIX)
    hidden = PureWindowsPath(f"{name}{SUFFIX}").name.startswith(".")  # no list would show it
    if not can_be_inside(name, LONGER_BY) or hidden or "/".join(parts_of(name)).casefold().startswith(SHIPPED):
        raise ValueError(
            f"{quoted(name)} is no name for a probe. Accepted are names of files in models/{FOLDER} and its "
            f"subfolders, such as my-probe; those that begin with {SHIPPED} come with the pack."
        )
    folder = Path(folder_paths.get_folder_paths(FOLDER)[0])
    paths = (folder / f"{name if number == 1 else f'{name}-{number}'}{SUFFIX}" for number in count(1))
    return next(path for path in paths if replace or goes_on(path) or not (path.exists() or taken(path)))
