"""What a run's file says of it: one line of JSON in the metadata of its tensors, and the shapes of these."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ...engine.core.json_text import read_json

FORMAT = 1
METADATA = "diffusion_probe_run"


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
        file: the name of its file, known of runs that were read; whoever copies or moves files may give another.
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
    file: str = ""

    def to_json(self) -> str:
        """One line."""
        values = {name: value for name, value in asdict(self).items() if name not in ("grids", "file")}
        return json.dumps({"format": FORMAT, **values}, allow_nan=False)

    def content(self) -> str:
        """A digest of all that the record says but its key: of a copy the same, whatever its file and key are."""
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
            labels, others, parts = (
                {name: tuple(numbers) for name, numbers in values.pop(part, {}).items()}
                for part in ("labels", "others", "parts")
            )
            lists = {name: tuple(values.pop(name)) for name in ("seeds", "words")}
            return cls(moments=moments, labels=labels, others=others, parts=parts, **lists, **values, grids=(), file="")
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("it is no record of a run: parts are missing, unknown or of another kind") from error


def versioned(values: Any, what: str, advice: str) -> dict[str, Any]:
    """A JSON object without its format.

    Args:
        what: what is wrong of a value that has none.
        advice: what to do about a newer one.

    Raises:
        ValueError: it has no format, or one that this version doesn't read.
    """
    version = values.pop("format", None) if isinstance(values, dict) else None
    if type(version) is not int:
        raise ValueError(f"{what}: it has no format version")
    if version > FORMAT:
        raise ValueError(f"it is of a newer format than {FORMAT}{advice}")
    return values
