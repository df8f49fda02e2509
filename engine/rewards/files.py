"""Files of the reward models: their folders, and a reader of tensors that refuses all other content."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import comfy.utils
import folder_paths
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
FOLDER = "reward_models"
folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))


CLIP_VISION = "clip_vision"
"""ComfyUI's folder of image towers."""

OTHER_AUTHORS = ("laion", "datacomp", "dfn", "metaclip", "openclip", "open_clip", "eva")
"""Words in the names of files whose towers have the shapes of OpenAI's, and another activation or training."""


def make_folder() -> None:
    """Make the folder for reward models, so that there is a place to put files into; not where writing is forbidden."""
    with contextlib.suppress(OSError):
        os.makedirs(folder_paths.get_folder_paths(FOLDER)[0], exist_ok=True)


make_folder()


@dataclass(frozen=True)
class RewardFile:
    """File that a reward model needs.

    Attributes:
        folder: the folder inside of ``models/reward_models``.
        names: accepted names, the official one first.
        size: size of the official file, as text.
        source: address of the official file itself.
        sha256: of the official file; empty where it could not be confirmed.
    """

    folder: str
    names: tuple[str, ...]
    size: str
    source: str
    sha256: str = ""

    def path(self) -> Path | None:
        """Return the path of the file, None if it is missing."""
        paths = (folder_paths.get_full_path(FOLDER, f"{self.folder}/{name}") for name in self.names)
        return next((Path(path) for path in paths if path), None)

    def wanted(self) -> str:
        """Return one line for the user on a missing file: where it belongs, its size, address and hash."""
        where = Path(folder_paths.get_folder_paths(FOLDER)[0]) / self.folder
        others = "".join(f" or {name}" for name in self.names[1:])
        digest = f", sha256 {self.sha256}" if self.sha256 else ""
        return f"{where / self.names[0]}{others} ({self.size}, from {self.source}{digest})"

    def described(self) -> str:
        """Return one line for the user: the path and size of the file that is there, else :meth:`wanted`."""
        path = self.path()
        return f"missing: {self.wanted()}" if path is None else f"there: {with_size(path)}"


def with_size(path: Path) -> str:
    """Return the path of a file and its size for people."""
    size = path.stat().st_size
    unit, name = next(((unit, name) for unit, name in UNITS if size >= unit / 10), UNITS[-1])
    return f"{path} ({size / unit:.3g} {name})"


@dataclass(frozen=True)
class ClipVisionFile(RewardFile):
    """File of which only CLIP's image tower is needed, which may also lie in ComfyUI's ``models/clip_vision``.

    A file there counts if its tower has the shapes below. Weights of other authors, with the same shapes and another
    activation, are known by their names only; see ``OTHER_AUTHORS``.

    Attributes:
        shapes: shapes of three tensors of the tower, by the name in the layout of transformers.
        layers: number of its layers.
    """

    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    layers: int = 0

    def path(self) -> Path | None:
        """Return the path of the file, or of one in ``models/clip_vision``; None if both are missing."""
        return super().path() or next((path for path in _clip_vision_files() if self._fits(path)), None)

    def wanted(self) -> str:
        """Return one line for the user on the file, its folder and the other folder."""
        return f"{super().wanted()}, or the same image tower in models/{CLIP_VISION}"

    def _fits(self, path: Path) -> bool:
        try:
            with safe_open(path, "pt") as file:
                names = set(file.keys())
                there = {name: tuple(file.get_slice(name).get_shape()) for name, _ in self.shapes if name in names}
        except (OSError, SafetensorError):
            return False
        layers = sum(name.startswith("vision_model.") and name.endswith(".layer_norm1.weight") for name in names)
        return layers == self.layers and there == dict(self.shapes)


def _clip_vision_files() -> Iterator[Path]:
    """Yield the safetensors files in ``models/clip_vision`` that are not of other authors by their names."""
    for name in folder_paths.get_filename_list(CLIP_VISION):
        path = folder_paths.get_full_path(CLIP_VISION, name)
        if path and name.endswith(".safetensors") and not any(other in name.lower() for other in OTHER_AUTHORS):
            yield Path(path)


def find(label: str, files: Sequence[RewardFile]) -> list[Path]:
    """Return the paths of all files of a reward model.

    Raises:
        FileNotFoundError: some are not there; the message names each with its path, source and size.
    """
    paths = [file.path() for file in files]
    absent = [file.wanted() for file, path in zip(files, paths) if path is None]
    if absent:
        lines = "\n".join(f"  {line}" for line in absent)
        raise FileNotFoundError(
            f"{label} needs files that are not there:\n{lines}\nNothing is downloaded by itself: put them there "
            "and run again."
        )
    return [path for path in paths if path is not None]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, or of a .pt or .pth by torch's reader of tensors only.

    Raises:
        ValueError: the file is cut off, no such file at all, or holds Python objects besides tensors, or no tensors
            that have names.
    """
    try:
        content = comfy.utils.load_torch_file(str(path), safe_load=True)
    except (AttributeError, TypeError):  # ComfyUI's reader wants a dictionary
        content = None
    except Exception as error:  # each of the two readers has its own errors for a broken file
        raise ValueError(
            f"{path} can't be read: {_first_words(error)}\n"
            "It is cut off or damaged, or holds more than tensors, which is refused because such a file can run code. "
            "Compare its size with the official file's, and get it again, as safetensors if there is one."
        ) from error
    named = content.items() if isinstance(content, dict) else ()
    tensors = {name: value for name, value in named if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"{path} holds no tensors by name. Put the official file there.")
    return tensors


def fill(network: nn.Module, tensors: dict[str, Tensor], path: Path, unused: tuple[str, ...] = ()) -> None:
    """Load tensors into a network, in their own precision.

    Args:
        network: on the meta device or anywhere; its tensors are replaced.
        tensors: from the file, under the network's names.
        path: of the file, for the error.
        unused: prefixes of the names of tensors that the network doesn't need.

    Raises:
        ValueError: tensors are missing, unknown, or of another shape.
    """
    try:
        missing, unknown = network.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError as error:
        raise other_layout(path, "tensors of another shape: " + "; ".join(str(error).splitlines()[1:3])) from error
    unknown = [name for name in unknown if not name.startswith(unused)]
    if missing:
        raise other_layout(path, f"{len(missing)} tensors are missing, such as {missing[0]}")
    if unknown:
        raise other_layout(path, f"{len(unknown)} tensors are unknown, such as {unknown[0]}")


def other_layout(path: Path, what: str) -> ValueError:
    """Return the error for a file of another model."""
    return ValueError(f"{path} is another model or only a part of one ({what}). Put the official file there.")


def _first_words(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
