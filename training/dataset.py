"""Recorded runs in a folder: what it holds, and how it is read.

One file per sampler run, ``runs/KEY.safetensors``: the rows of one prompt, each of its own seed, as
probes saw them at several moments, and what became of them. ``runs-*.jsonl``, one for each process that
wrote, list the finished ones in readable form; ``dataset.json`` says what all have in common.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

FOLDER = "probe_data"
"""Where ComfyUI keeps datasets, below its output folder."""

FORMAT = 1
HEADER = "dataset.json"
RUNS = "runs"
METADATA = "diffusion_probe_run"
VALIDATION_ONE_IN = 10


@dataclass(frozen=True)
class Header:
    """What all runs of a dataset have in common.

    Attributes:
        family: as ``Features.family``.
        blocks: whose maps were recorded, names as in ``Features.blocks``.
        activation_channels: of the projected activation, 0 if none was recorded.
        model: which model, for people.
        label: the unit of the first label of every run; empty where nobody said.
    """

    family: str
    blocks: tuple[str, ...]
    activation_channels: int
    model: str = ""
    label: str = ""


@dataclass(frozen=True)
class RecordedMoment:
    """Which evaluation, and its noise level, as in ``Features``."""

    step: int
    sigma: float
    percent: float


@dataclass(frozen=True)
class RunRecord:
    """One sampler run: rows of one prompt.

    Attributes:
        key: names the run; of the same prompt, seeds and settings always the same.
        prompt: its text.
        seeds: of the rows.
        steps: of the whole run.
        words: what the words of the maps are called.
        moments: at which it was looked at, in order.
        labels: by unit, one number per row: what became of it. The first is what probes learn.
        others: the first label of the same images, had other prompts been meant; one number per row.
            Judging an image costs little beside making it, and teaches what words look like.
        parts: those of the others that are parts of the prompt, and which of its words each has.
        settings: anything else of interest to people.
        grids: height and width of what is kept of it, by name; known of runs that were read.
    """

    key: str
    prompt: str
    seeds: tuple[int, ...]
    steps: int
    words: tuple[str, ...]
    moments: tuple[RecordedMoment, ...]
    labels: dict[str, tuple[float, ...]]
    others: dict[str, tuple[float, ...]] = field(default_factory=dict)
    parts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    grids: tuple[tuple[str, int, int], ...] = ()

    def to_json(self) -> str:
        """One line."""
        values = asdict(self)
        del values["grids"]  # the tensors say it
        return json.dumps({"format": FORMAT, **values}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "RunRecord":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: no such line, or of a newer format.
        """
        try:
            values = json.loads(text)
            if values.pop("format") > FORMAT:
                raise ValueError(f"it is of a newer format than {FORMAT}; update the pack")
            moments = tuple(RecordedMoment(**moment) for moment in values.pop("moments"))
            labels, others, parts = (
                {name: tuple(numbers) for name, numbers in values.pop(part, {}).items()}
                for part in ("labels", "others", "parts")
            )
            lists = {name: tuple(values.pop(name)) for name in ("seeds", "words")}
            return cls(moments=moments, labels=labels, others=others, parts=parts, **lists, **values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is no record of a run ({error})") from error


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
        runs: all whose file can be read, sorted by key.
        damaged: names of the files that can't, each with why.

    Raises:
        ValueError: no dataset, a newer format, or not one run that can be read; the message says what to do.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.header = read_header(self.folder)
        self.runs: list[RunRecord] = []
        self.damaged: dict[str, str] = {}
        listed = listed_keys(self.folder)  # before the files, which may become more
        for path in sorted((self.folder / RUNS).glob("[!.]*.safetensors")):
            try:
                self.runs.append(read_record(path))
            except (ValueError, SafetensorError, OSError) as error:
                self.damaged[path.name] = str(error).splitlines()[0]
        for missing in sorted(listed - {run.key for run in self.runs}):
            self.damaged.setdefault(f"{missing}.safetensors", "it is listed, but not there")
        if self.damaged:
            some = "; ".join(f"{name}: {why}" for name, why in list(self.damaged.items())[:3])
            logging.warning(
                f"Dataset {self.folder.name}: {len(self.damaged)} of {len(self.runs) + len(self.damaged)} recorded "
                f"runs can't be read and are left out ({some}). Delete these files and record again to have them back."
            )
        if not self.runs:
            raise ValueError(
                f"the dataset {self.folder} holds no run that can be read. Record some: Record Probe Data, or "
                "python -m training record."
            )

    def split(self) -> tuple[list[RunRecord], list[RunRecord]]:
        """Runs for training and for validation, no prompt in both."""
        validation = [run for run in self.runs if is_validation(run.prompt)]
        return [run for run in self.runs if not is_validation(run.prompt)], validation

    def load(self, run: RunRecord, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """The tensors of a run by name, all or those named: see ``writing.run_tensors``."""
        with safe_open(str(run_path(self.folder, run.key)), "pt") as file:
            return {name: file.get_tensor(name) for name in (file.keys() if names is None else names)}


def read_header(folder: Path) -> Header:
    """What the runs of a dataset have in common.

    Raises:
        ValueError: the folder holds no dataset, or one of a newer format.
    """
    try:
        values = json.loads((folder / HEADER).read_text())
        if values.pop("format") > FORMAT:
            raise ValueError(f"the dataset {folder} is of a newer format than {FORMAT}. Update the pack.")
        return Header(**{**values, "blocks": tuple(values["blocks"])})
    except FileNotFoundError:
        raise ValueError(
            f"{folder} holds no dataset: {HEADER} isn't there. Name a folder that Record Probe Data or "
            "python -m training record wrote."
        ) from None
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{folder / HEADER} is damaged ({error}). Copy it again from where it was recorded."
        ) from error


def listed_keys(folder: Path) -> set[str]:
    """Keys of the runs that the lists of a dataset name; a line that was cut off counts as none."""
    keys = set()
    for path in folder.glob("runs-*.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                keys.add(json.loads(line)["key"])
            except (ValueError, KeyError, TypeError):
                continue
    return keys


def read_record(path: Path) -> RunRecord:
    """The record in a run's file.

    Raises:
        ValueError: another kind of file, or a newer format.
        SafetensorError, OSError: it is damaged or not there.
    """
    with safe_open(str(path), "pt") as file:
        text = (file.metadata() or {}).get(METADATA)
        if text is None:
            raise ValueError("it is a safetensors file, but no recorded run")
        kept = [name for name in ("final", "0.maps", "0.activation") if name in file.keys()]
        grids = tuple((name, *file.get_slice(name).get_shape()[-2:]) for name in kept)
    return replace(RunRecord.from_json(text), grids=grids)
