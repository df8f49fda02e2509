"""Dataset into which the runs of several servers are collected, each checked before it is added."""

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ...engine.core.json_text import read_json
from ...engine.core.texts import plain
from ..client.jobs import Job
from ..dataset.folder import RUNS, run_path
from ..dataset.header import HEADER, Header, read_header
from ..dataset.merging import MODELS
from ..dataset.projection import dataset_projection
from ..dataset.run_file import read_run, why_not_of
from ..dataset.writing import PROJECTION, DatasetWriter, nothing_lost, write_once


class DamagedRunError(ValueError):
    """Error of a run's file from a server that isn't what was to be recorded; the message names the cause."""


class Collection:
    """Dataset in a folder here, which gets the files that servers recorded.

    Args:
        folder: of the dataset, made if it isn't there.

    Raises:
        ValueError: the folder holds a damaged dataset.
        OSError: the folder can't be made.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        with nothing_lost(self.folder):
            (self.folder / RUNS).mkdir(parents=True, exist_ok=True)
        self._writer: DatasetWriter | None = None
        self._lock = threading.Lock()
        if self.begun:
            dataset_projection(self.folder)
            self.header  # noqa: B018  (a damaged one is said now)

    @property
    def begun(self) -> bool:
        """Whether a first run has decided the header and the projection."""
        return (self.folder / HEADER).exists() and (self.folder / PROJECTION).exists()

    @property
    def header(self) -> Header:
        """Properties that all runs share."""
        return read_header(self.folder)

    @property
    def projection(self) -> bytes:
        """The file of the projection."""
        return (self.folder / PROJECTION).read_bytes()

    def keys(self) -> set[str]:
        """Return the keys of all runs that are there, by one listing of the folder."""
        return {name[: -len(".safetensors")] for name in os.listdir(self.folder / RUNS) if _is_run(name)}

    def has(self, key: str) -> bool:
        """Return whether a run is there."""
        return run_path(self.folder, key).exists()

    def begin(self, header: bytes, projection: bytes) -> None:
        """Write header and projection of a server's first run, unless they are there."""
        with nothing_lost(self.folder):
            write_once(self.folder / PROJECTION, projection)
            write_once(self.folder / HEADER, header)
        dataset_projection(self.folder)
        self.header  # noqa: B018  (a damaged one is said now)

    def add(self, job: Job, content: bytes) -> bool:
        """Add the file of a run, and return whether it wasn't there yet.

        Raises:
            DamagedRunError: the file is damaged, or of another run or dataset; nothing is added.
            OSError: the disk is full, or the folder can't be written to; what was recorded before stays.
        """
        with self._lock:
            if self.has(job.key):
                return False
            if self._writer is None:
                self._writer = DatasetWriter(self.folder, self.header)
            self._writer.add_file(job.key, content, lambda path: self._check(path, job))
            return True

    def _check(self, path: Path, job: Job) -> str:
        """Check a run's file, and return its record as a line."""
        try:
            run, shapes = read_run(path)
            why = why_not_of(self.header, run, shapes) or _why_not_job(run.key, run.prompt, job)
            with safe_open(str(path), "pt") as file:
                if not why and not all(file.get_tensor(name).isfinite().all() for name in file.keys()):
                    why = "it holds NaN or infinity"
        except (ValueError, SafetensorError) as error:
            raise DamagedRunError(plain(error)) from error
        if why:
            raise DamagedRunError(why)
        return run.to_json()

    def other_models(self, files: Mapping[str, str]) -> list[str]:
        """Return the names of model files that differ from those that the dataset was recorded with.

        Args:
            files: SHA-256 by name. The first that come are kept as those of the dataset.
        """
        with self._lock:
            path = self.folder / MODELS
            if files:
                with nothing_lost(self.folder):
                    write_once(path, json.dumps(dict(files), indent=1, sort_keys=True).encode())
            known = read_json(path.read_bytes()) if path.exists() else {}
        return sorted(name for name, digest in files.items() if known.get(name, digest) != digest)


def _is_run(name: str) -> bool:
    return name.endswith(".safetensors") and not name.startswith(".")


def _why_not_job(key: str, prompt: str, job: Job) -> str | None:
    if key != job.key:
        return f"it has the key {plain(key)}"
    return None if prompt == job.prompt else "it is of another prompt"
