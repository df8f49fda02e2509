"""Dataset of recorded runs in a folder.

It has one file per sampler run, ``runs/KEY.safetensors``: the rows of one prompt, each of its own seed, with
the features of several moments and labels. ``runs-*.jsonl``, one for each process that wrote, list the recorded runs in
readable form; ``dataset.json`` holds what all have in common.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...engine.core.json_text import read_json
from ...engine.core.texts import plain, quoted
from .header import read_header
from .run_file import Shapes, channels, read_run, why_not_of
from .run_record import RunRecord

FOLDER = "probe_data"
"""Folder of the datasets, in ComfyUI's output folder."""

RUNS = "runs"
"""Folder of the runs' files in that of a dataset."""

VALIDATION_ONE_IN = 10
"""Share of the prompts that are kept for validation: one in so many."""

GRIDS = ("final", "0.maps", "0.activation", "0.latent", "0.denoised")
"""Names of the tensors whose height and width are the size of a run."""


def run_key(prompt: str, *settings: Any) -> str:
    """Return the key of a run of a prompt with certain settings."""
    return hashlib.sha256(json.dumps([prompt, *settings], sort_keys=True, default=str).encode()).hexdigest()[:20]


def run_path(folder: Path, key: str) -> Path:
    """Return the path of a run's file, which is there once the run was recorded."""
    return folder / RUNS / f"{key}.safetensors"


def is_validation(prompt: str) -> bool:
    """Return whether a recorded prompt is kept for validation: its text decides, so that no split ever mixes."""
    digest = hashlib.sha256(f"validation {prompt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % VALIDATION_ONE_IN == 0


def prompt_digest(prompt: str) -> int:
    """Return a digest of a recorded prompt, 0 … 2³¹ - 1."""
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "big") >> 1


class Dataset:
    """Recorded runs of a folder.

    Args:
        folder: that a recording wrote to.
        least: number of runs that have to be there.

    Attributes:
        header: properties that all runs share.
        runs: those whose file can be used, in the order of their files.
        damaged: names of the files that can't be used or are copies, with the reason.

    Raises:
        ValueError: no dataset, a newer format, or no run that can be used; the message says what to do.
    """

    def __init__(self, folder: Path, least: int = 1):
        self.folder = Path(folder)
        self.header = read_header(self.folder)
        self.runs: list[RunRecord] = []
        self.damaged: dict[str, str] = {}
        listed = listed_keys(self.folder)  # before the files, which may become more
        self._add_alike(list(self._read()))
        self._leave_copies_out()
        for missing in sorted(listed - {run.key for run in self.runs}):
            self.damaged.setdefault(f"{missing}.safetensors", "it is listed, but not there")
        if self.damaged:
            first = "; ".join(f"{plain(name, 255)}: {plain(why, 255)}" for name, why in list(self.damaged.items())[:3])
            logging.warning(
                f"Dataset {self.folder.name}: {len(self.damaged)} of {len(self.runs) + len(self.damaged)} "
                f"recorded runs can't be used and are left out ({first}). Delete these files, and record again what "
                "you miss of them."
            )
        if len(self.runs) < least:
            raise ValueError(
                f"the dataset {self.folder} holds no run that can be used. Record some: Record Probe Data, or "
                "python -m training record."
            )

    def _read(self) -> Iterator[tuple[RunRecord, Shapes]]:
        """Yield the consistent runs and the shapes of their tensors; note the other files as damaged."""
        for path in sorted((self.folder / RUNS).glob("[!.]*.safetensors")):
            try:
                run, shapes = read_run(path)
                if why := why_not_of(self.header, run, shapes):
                    raise ValueError(why)
            except (ValueError, SafetensorError, OSError) as error:
                self.damaged[path.name] = str(error).splitlines()[0]
            else:
                grids = [(name, shape[-2], shape[-1]) for name, shape in shapes.items() if name in GRIDS]
                yield replace(run, grids=tuple(sorted(grids)), file=path.name), shapes

    def _add_alike(self, read: Sequence[tuple[RunRecord, Shapes]]) -> None:
        """Add the runs that can be learnt from together: with the dataset's label, and the most common channels."""
        if not read:
            return
        usual = _most_common(channels(shapes) for _, shapes in read)
        label = self.header.label or _most_common(next(iter(run.labels)) for run, _ in read)
        for run, shapes in read:
            if label not in run.labels:
                self.damaged[run.file] = f"it lacks the label {quoted(label)}"
            elif channels(shapes) != usual:
                self.damaged[run.file] = "its tensors have other numbers of channels than those of most runs"
            else:
                self.runs.append(run)

    def _leave_copies_out(self) -> None:
        """Remove copies, files with the content or key of another; the file that is named after its key stays."""
        kept: dict[str, RunRecord] = {}
        for run in sorted(self.runs, key=lambda run: run.file != f"{run.key}.safetensors"):
            twin = kept.get(run.content()) or kept.get(run.key)
            if twin is not None:
                self.damaged[run.file] = f"it is a copy of {twin.file}"
            else:
                kept[run.content()] = kept[run.key] = run
        self.runs = [run for run in self.runs if run.file not in self.damaged]

    def split(self) -> tuple[list[RunRecord], list[RunRecord]]:
        """Return the runs for training and those for validation, with no prompt in both."""
        validation = [run for run in self.runs if is_validation(run.prompt)]
        return [run for run in self.runs if not is_validation(run.prompt)], validation

    def load(self, run: RunRecord, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Read tensors of a run, see ``writing.run_tensors``, all or those with the names in ``names``.

        Raises:
            ValueError: they hold NaN or infinity, or the file has changed; the message names it.
        """
        path = self.folder / RUNS / run.file
        try:
            with safe_open(str(path), "pt") as file:
                tensors = {name: file.get_tensor(name) for name in (file.keys() if names is None else names)}
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{path} can't be read any more ({error}). Copy it again or delete it, and start again."
            ) from error
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise ValueError(f"{path} holds NaN or infinity. Delete it, and record again what you miss of it.")
        return tensors


def _most_common(values: Iterable[Any]) -> Any:
    return Counter(values).most_common(1)[0][0]


def listed_keys(folder: Path) -> set[str]:
    """Return the keys of the runs in the lists of a dataset; a line that was cut off counts as none."""
    keys = set()
    for path in folder.glob("runs-*.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                key = read_json(line)["key"]
            except (ValueError, KeyError, TypeError):
                continue
            if isinstance(key, str):
                keys.add(key)
    return keys
