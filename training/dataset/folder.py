"""Recorded runs in a folder: what it holds, and how it is read.

One file per sampler run, ``runs/KEY.safetensors``: the rows of one prompt, each of its own seed, as
probes saw them at several moments, and what became of them. ``runs-*.jsonl``, one for each process that
wrote, list the finished ones in readable form; ``dataset.json`` says what all have in common.
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
"""Where ComfyUI keeps datasets, below its output folder."""

RUNS = "runs"
VALIDATION_ONE_IN = 10

GRIDS = ("final", "0.maps", "0.activation", "0.latent", "0.denoised")
"""Tensors whose height and width tell runs of one size from those of another."""


def run_key(prompt: str, *settings: Any) -> str:
    """The key of a run."""
    return hashlib.sha256(json.dumps([prompt, *settings], sort_keys=True, default=str).encode()).hexdigest()[:20]


def run_path(folder: Path, key: str) -> Path:
    """The file of a run; it is there once the run was recorded."""
    return folder / RUNS / f"{key}.safetensors"


def is_validation(prompt: str) -> bool:
    """Whether a recorded prompt is kept for validation: by its content, so that no split ever mixes."""
    digest = hashlib.sha256(f"validation {prompt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % VALIDATION_ONE_IN == 0


def prompt_digest(prompt: str) -> int:
    """A number that stands for a recorded prompt, 0 … 2³¹ - 1."""
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "big") >> 1


class Dataset:
    """The recorded runs of a folder.

    Args:
        folder: where a recording wrote.

    Attributes:
        header: what the runs have in common.
        runs: all whose file can be used, in the order of their files.
        damaged: names of the files that can't, or are copies, each with why.

    Raises:
        ValueError: no dataset, a newer format, or not one run that can be used; the message says what to do.
    """

    def __init__(self, folder: Path):
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
            some = "; ".join(f"{plain(name, 255)}: {plain(why, 255)}" for name, why in list(self.damaged.items())[:3])
            logging.warning(
                f"Dataset {self.folder.name}: {len(self.damaged)} of {len(self.runs) + len(self.damaged)} "
                f"recorded runs can't be used and are left out ({some}). Delete these files, and record again what you "
                "miss of them."
            )
        if not self.runs:
            raise ValueError(
                f"the dataset {self.folder} holds no run that can be used. Record some: Record Probe Data, or "
                "python -m training record."
            )

    def _read(self) -> Iterator[tuple[RunRecord, Shapes]]:
        """The runs that hold together, and what their files hold; the others are noted as damaged."""
        for path in sorted((self.folder / RUNS).glob("[!.]*.safetensors")):
            try:
                run, shapes = read_run(path)
                if why := why_not_of(self.header, run, shapes):
                    raise ValueError(why)
            except (ValueError, SafetensorError, OSError) as error:
                self.damaged[path.name] = str(error).splitlines()[0]
            else:
                grids = [(name, *shape[-2:]) for name, shape in shapes.items() if name in GRIDS]
                yield replace(run, grids=tuple(sorted(grids)), file=path.name), shapes

    def _add_alike(self, found: Sequence[tuple[RunRecord, Shapes]]) -> None:
        """The runs that can be learnt from together: with the dataset's label, and of as many channels as most."""
        if not found:
            return
        usual = _most_common(channels(shapes) for _, shapes in found)
        label = self.header.label or _most_common(next(iter(run.labels)) for run, _ in found)
        for run, shapes in found:
            if label not in run.labels:
                self.damaged[run.file] = f"it lacks the label {quoted(label)}"
            elif channels(shapes) != usual:
                self.damaged[run.file] = "its tensors have other numbers of channels than those of most runs"
            else:
                self.runs.append(run)

    def _leave_copies_out(self) -> None:
        """A run counts once: of files with one content or key that which is named after its key."""
        kept: dict[str, RunRecord] = {}
        for run in sorted(self.runs, key=lambda run: run.file != f"{run.key}.safetensors"):
            twin = kept.get(run.content()) or kept.get(run.key)
            if twin is not None:
                self.damaged[run.file] = f"it is a copy of {twin.file}"
            else:
                kept[run.content()] = kept[run.key] = run
        self.runs = [run for run in self.runs if run.file not in self.damaged]

    def split(self) -> tuple[list[RunRecord], list[RunRecord]]:
        """Runs for training and for validation, no prompt in both."""
        validation = [run for run in self.runs if is_validation(run.prompt)]
        return [run for run in self.runs if not is_validation(run.prompt)], validation

    def load(self, run: RunRecord, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """The tensors of a run by name, all or those named: see ``writing.run_tensors``.

        Raises:
            ValueError: they hold NaN or infinity, or the file has changed since; the message names it.
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
    """Keys of the runs that the lists of a dataset name; a line that was cut off counts as none."""
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
