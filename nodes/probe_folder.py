"""Where the files of trained probes lie."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import folder_paths

FOLDER = "diffusion_probes"
folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))
# Pickled files are listed too: choosing one says why it is refused.
folder_paths.folder_names_and_paths[FOLDER][1].update(folder_paths.supported_pt_extensions)


def probe_names() -> list[str]:
    """The files there are, by their paths inside of the folder."""
    return folder_paths.get_filename_list(FOLDER)


def probe_path(name: str) -> Path:
    """Where a file of that name lies.

    Raises:
        ValueError: the name leads out of the folder.
        FileNotFoundError: there is no such file.
    """
    if leads_out(name):
        raise ValueError(
            f"“{name}” leads out of models/{FOLDER}. Accepted are names of files in that folder and its subfolders: "
            "put the file there and choose it from the list."
        )
    path = folder_paths.get_full_path(FOLDER, name)
    if path is None:
        where = folder_paths.get_folder_paths(FOLDER)[0]
        raise FileNotFoundError(f"there is no probe “{name}”. Put its file into {where} and choose it from the list.")
    return Path(path)


def leads_out(name: str) -> bool:
    """Whether a path is not one inside of the folder that it is joined to."""
    ways = (PurePosixPath(name), PureWindowsPath(name))  # a workflow may come from another system
    return any(way.anchor or ".." in way.parts for way in ways)
