"""Files that a training goes on from: written as a whole, and the one before kept, should the newest be torn."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...engine.core.files import unfinished_file

Checkpoint = tuple[dict[str, str], dict[str, Tensor]]
"""The text and the tensors of a file."""


def before(path: Path) -> Path:
    """Where the file before the newest one lies."""
    return path.with_name(f"{path.stem}.before{path.suffix}")


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], text: dict[str, str]) -> None:
    """Write a file, and keep the one that has its name as the one before."""
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with unfinished_file(path, lambda unfinished: save_file(held, unfinished, text)) as unfinished:
        if path.exists():
            os.replace(path, before(path))
        os.replace(unfinished, path)


def load_checkpoint(path: Path, is_whole: Callable[[Checkpoint], bool] = lambda found: True) -> Checkpoint | None:
    """The newest file that can be read; None if there is none.

    One before, if that is the newest, takes the place of what can't be read.

    Args:
        is_whole: whether what was read has all that it should.
    """
    for each in (path, before(path)):
        found = _read(each)
        if found is not None and is_whole(found):
            if each != path:
                logging.warning(f"{path.name} is damaged or missing: the training goes on from the one before it.")
                os.replace(each, path)
            return found
    return None


def texts(path: Path) -> Iterator[dict[str, str]]:
    """The texts of the newest file and of the one before, as far as they can be read."""
    for each in (path, before(path)):
        try:
            with safe_open(str(each), "pt") as file:
                yield file.metadata() or {}
        except (SafetensorError, OSError):
            continue


def remove_checkpoint(path: Path) -> None:
    """Delete the newest file and the one before."""
    for each in (path, before(path)):
        each.unlink(missing_ok=True)


def _read(path: Path) -> Checkpoint | None:
    try:
        with safe_open(str(path), "pt") as file:
            # Copies: Windows can't replace a file that is mapped.
            return file.metadata() or {}, {name: file.get_tensor(name).clone() for name in file.keys()}
    except (SafetensorError, OSError):
        return None
