"""Where recorded datasets lie: folders below ComfyUI's output folder."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..engine.core.names import can_be_inside
from ..engine.core.texts import quoted
from ..training.dataset.folder import FOLDER, RUNS
from .types import NEVER_THE_SAME


def dataset_path(name: str) -> Path:
    """The folder of a dataset of that name, whether it is there or not.

    Raises:
        ValueError: no name, or one that leads out of the folder of datasets.
    """
    name = name.strip()
    if not can_be_inside(name):
        raise ValueError(
            f"{quoted(name)} is no name of a dataset. Accepted are names of folders in output/{FOLDER} and its "
            "subfolders, such as flux-dev-imagereward."
        )
    return Path(folder_paths.get_output_directory()) / FOLDER / name


def dataset_input() -> io.String.Input:
    """What a node takes that reads a dataset."""
    return io.String.Input(
        "dataset", default="my-model", tooltip="Name of the folder in output/probe_data that Record Probe Data wrote."
    )


def dataset_state(name: str | None) -> str | float:
    """Changes when runs are added to a dataset or removed; a name that comes over a link isn't known yet."""
    if name is None:
        return NEVER_THE_SAME
    runs = dataset_path(name) / RUNS
    return f"{runs.stat().st_mtime_ns} {len(list(runs.iterdir()))}" if runs.is_dir() else ""
