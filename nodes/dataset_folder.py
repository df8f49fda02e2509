"""The folders of recorded datasets: below ComfyUI's output folder, and one that comes with the pack."""

from pathlib import Path

import folder_paths

from ..engine.core.names import can_be_inside
from ..engine.core.texts import quoted
from ..testbed.load import DATASETS
from ..training.dataset.folder import FOLDER, RUNS
from .sockets import never_the_same

SHIPPED = "testbed/"
"""The start of the names of datasets that come with the pack."""


def dataset_path(name: str) -> Path:
    """Return the folder of a dataset, whether it exists or not.

    Raises:
        ValueError: the name is empty, or leads out of the folder of datasets.
    """
    name = name.strip()
    if not can_be_inside(name):
        raise ValueError(
            f"{quoted(name)} is no name of a dataset. Accepted are names of folders in output/{FOLDER} and its "
            "subfolders, such as flux-dev-imagereward."
        )
    return Path(folder_paths.get_output_directory()) / FOLDER / name


def recorded_path(name: str) -> Path:
    """Return the folder of a dataset to read: the user's, or else the one of that name that comes with the pack.

    Raises:
        ValueError: the name is empty, or leads out of the folder of datasets.
    """
    own = dataset_path(name)
    shipped = {SHIPPED + folder.name: folder for folder in DATASETS.glob("[!.]*")}
    return own if own.is_dir() else shipped.get(name.strip(), own)


def dataset_state(name: str | None) -> str | float:
    """Return a fingerprint that changes when runs are added to a dataset or removed.

    Args:
        name: of the dataset; None if it comes from a link and is not known yet.
    """
    if name is None:
        return never_the_same()
    runs = recorded_path(name) / RUNS
    return f"{runs.stat().st_mtime_ns} {len(list(runs.iterdir()))}" if runs.is_dir() else ""
