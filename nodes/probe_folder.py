"""Where the files of trained probes lie."""

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
"""What the names of the probes begin with that come with the pack, for its testbed models."""

SUFFIX = ".safetensors"
LONGER_BY = 60
"""Bytes by which the names of files beside a probe are longer than its own: number, checkpoint, unfinished."""


def probe_names() -> list[str]:
    """The files there are, by their paths inside of the folder, and those that come with the pack."""
    own = [name for name in folder_paths.get_filename_list(FOLDER) if not PureWindowsPath(name).name.startswith(".")]
    return [*own, *(name for name in shipped_probes() if name not in own)]


def shipped_probes() -> dict[str, Path]:
    """The files that come with the pack, by name."""
    return {SHIPPED + path.relative_to(PROBES).as_posix(): path for path in sorted(PROBES.rglob(f"*{SUFFIX}"))}


def probe_path(name: str) -> Path:
    """Where a file of that name lies.

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
    """Where a new probe of that name is written: under the next free name, unless it may replace a file.

    Args:
        replace: take the name itself, whatever is there.
        goes_on: whether a file is one that this training was writing when it stopped.
        taken: whether another unfinished training writes to a file that may not be there yet.

    Raises:
        ValueError: no name, one that no file can have, that leads out of the folder or that no list would show.
    """
    name = name.strip().removesuffix(SUFFIX)
    hidden = PureWindowsPath(f"{name}{SUFFIX}").name.startswith(".")  # no list would show it
    if not can_be_inside(name, LONGER_BY) or hidden or "/".join(parts_of(name)).casefold().startswith(SHIPPED):
        raise ValueError(
            f"{quoted(name)} is no name for a probe. Accepted are names of files in models/{FOLDER} and its "
            f"subfolders, such as my-probe; those that begin with {SHIPPED} come with the pack."
        )
    folder = Path(folder_paths.get_folder_paths(FOLDER)[0])
    for number in count(1):
        path = folder / f"{name if number == 1 else f'{name}-{number}'}{SUFFIX}"
        if replace or goes_on(path) or not (path.exists() or taken(path)):
            return path
