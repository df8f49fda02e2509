"""The record of a run: one line of JSON in the metadata of its file and in the list of the dataset."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ...engine.core.json_text import read_json

FORMAT = 1
METADATA = "diffusion_probe_run"


@dataclass(frozen=True)
class RecordedMoment:
    """Number and noise level of a captured evaluation, as in ``Features``."""

    step: int
    sigma: float
    percent: float


@dataclass(frozen=True)
class RunRecord:
    """A recorded sampler run: rows of one prompt.

    Attributes:
        key: name of the run; the same prompt, seeds and settings have the same.
        prompt: its text.
        seeds: of the rows.
        steps: evaluations of the whole run.
        words: names of the words of the maps.
        moments: captured moments, in order.
        labels, others, phrases: see ``labels.Labels``. Files call the phrases "parts".
        settings: other values of interest to people.
        grids: height and width of the run's tensors, by name; empty for a run that wasn't read from a file.
        file: name of its file, empty for a run that wasn't read from one. Copied or moved files may have another
            name than the key.
    """

    key: str
    prompt: str
    seeds: tuple[int, ...]
    steps: int
    words: tuple[str, ...]
    moments: tuple[RecordedMoment, ...]
    labels: dict[str, tuple[float, ...]]
    others: dict[str, tuple[float, ...]] = field(default_factory=dict)
    phrases: dict[str, tuple[int, ...]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    grids: tuple[tuple[str, int, int], ...] = ()
    file: str = ""

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        values = {_in_file(name): value for name, value in asdict(self).items() if name not in ("grids", "file")}
        return json.dumps({"format": FORMAT, **values}, allow_nan=False)

    def content(self) -> str:
        """Return a digest of the record without its key: copies have the same, whatever their file and key are."""
        values = replace(self, key="").to_json()
        return hashlib.sha256(values.encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> "RunRecord":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: no such line, or of a newer format.
        """
        values = versioned(read_json(text), "it is no record of a run", "; update the pack")
        try:
            moments = tuple(RecordedMoment(**moment) for moment in values.pop("moments"))
            values |= {name: tuple(values[name]) for name in ("seeds", "words")}
            values |= {name: _tuples(values.pop(_in_file(name), {})) for name in ("labels", "others", "phrases")}
            return cls(moments=moments, **values, grids=(), file="")
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("it is no record of a run: fields are missing, unknown or of another kind") from error


def _in_file(name: str) -> str:
    """Return the name that files have for a field."""
    return "parts" if name == "phrases" else name


def _tuples(values: dict[str, list]) -> dict[str, tuple]:
    return {name: tuple(numbers) for name, numbers in values.items()}


def versioned(values: Any, what: str, advice: str) -> dict[str, Any]:
    """Return a JSON object without its format version.

    Args:
        what: start of the error for a value without one.
        advice: end of the error for a newer one.

    Raises:
        ValueError: it has no format, or one that this version doesn't read.
    """
    version = values.pop("format", None) if isinstance(values, dict) else None
    if type(version) is not int:
        raise ValueError(f"{what}: it has no format version")
    if version > FORMAT:
        raise ValueError(f"it is of a newer format than {FORMAT}{advice}")
    return values
