"""Where recorded datasets lie: folders below ComfyUI's output folder."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..training.dataset import FOLDER, RUNS
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


def dataset_input() -> io.String.Input:
    """What a node takes that reads a dataset."""
    return io.String.Input(
        "dataset", default="my-model", tooltip="Name of the folder in output/probe_data that Record Probe Data wrote."
    )


def dataset_state(name: str) -> str:
    """Changes when runs are added to a dataset or removed."""
    runs = dataset_path(name) / RUNS
    return f"{runs.stat().st_mtime_ns} {len(list(runs.iterdir()))}" if runs.is_dir() else ""
