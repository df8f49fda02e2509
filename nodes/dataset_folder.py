"""Where recorded datasets lie: folders below ComfyUI's output folder."""

from pathlib import Path

import folder_paths

from ..training.dataset import FOLDER
from .probe_folder import leads_out


def dataset_path(name: str) -> Path:
    """The folder of a dataset of that name, whether it is there or not.

    Raises:
        ValueError: no name, or one that leads out of the folder of datasets.
    """
    name = name.strip()
    if leads_out(name) or not Path(name).parts:
        raise ValueError(
            f"“{name}” is no name of a dataset. Accepted are names of folders in output/{FOLDER} and its subfolders, "
            "such as flux-dev-imagereward."
        )
    return Path(folder_paths.get_output_directory()) / FOLDER / name
