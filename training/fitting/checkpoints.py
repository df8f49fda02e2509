"""Checkpoints of a training, each written as a whole, the previous one kept in case the newest gets damaged."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...engine.core.files import replace_file

Checkpoint = tuple[dict[str, str], dict[str, Tensor]]
"""Metadata and tensors of one checkpoint."""


def previous(path: Path) -> Path:
    """Return the path of the checkpoint that was written before the newest one."""
    return path.with_name(f"{path.stem}.before{path.suffix}")


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], text: dict[str, str]) -> None:
    """Write a checkpoint, and keep the one that has its name as the previous one."""
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def write(unfinished: Path) -> None:
        save_file(held, unfinished, text)
        if path.exists():
            os.replace(path, previous(path))

    replace_file(path, write)


def load_checkpoint(path: Path, is_whole: Callable[[Checkpoint], bool] = lambda checkpoint: True) -> Checkpoint | None:
    """Return the newest checkpoint that can be read, None if there is none.

    Where that is the previous one, it gets the name of the newest.

    Args:
        is_whole: whether a checkpoint has everything that a training needs to go on.
    """
    for each in (path, previous(path)):
        checkpoint = _read(each)
        if checkpoint is not None and is_whole(checkpoint):
            if each != path:
                logging.warning(f"{path.name} is damaged or missing: the training goes on from the previous one.")
                os.replace(each, path)
            return checkpoint
    return None


def metadata_of(path: Path) -> Iterator[dict[str, str]]:
    """Yield the metadata of the newest and of the previous checkpoint, as far as they can be read."""
    for each in (path, previous(path)):
        try:
            with safe_open(str(each), "pt") as file:
                yield file.metadata() or {}
        except (SafetensorError, OSError):
            continue


def remove_checkpoint(path: Path) -> None:
    """Delete the newest and the previous checkpoint."""
    for each in (path, previous(path)):
        each.unlink(missing_ok=True)


def _read(path: Path) -> Checkpoint | None:
    try:
        with safe_open(str(path), "pt") as file:
            # Copies: Windows can't replace a file that is mapped.
            return file.metadata() or {}, {name: file.get_tensor(name).clone() for name in file.keys()}
    except (SafetensorError, OSError):
        return None
