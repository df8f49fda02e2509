"""Description of a trained probe, as its file holds it."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..engine.core.json_text import read_json
from ..engine.core.texts import half_character, plain

FORMAT = 1
"""Version of the file's layout. A file of a newer one is refused, as its fields may mean something else."""

MOST_HEADS = 3
"""Largest number of heads."""

SKILL = ("progress", "correlation", "spread")
"""Fields of a skill that are lists of numbers."""

COUNTS = ("layers", "looking", "seeing", "reading")
"""Sizes in ``network`` that are numbers of layers."""

MOST_SIZE = 16
"""Largest number of layers in ``network``, and of entries of a list."""

MOST_NUMBER = 1e30
"""Largest score or statistic."""

LARGEST = 65536
"""Largest other number in ``network``."""


@dataclass(frozen=True)
class ProbeCard:
    """Description of a probe: all that its file holds but the weights, as plain JSON values.

    Attributes:
        kind: of the network, a name in ``probe_file.KINDS``.
        family: of the models that the probe was trained for, as ``Features.family``.
        blocks: names of the attention blocks whose maps are read, in this order, as in ``Features.blocks``.
        moments: the moments that the probe was trained at, for people: ``"20%"``.
        label: unit of the score.
        heads: units of the predictions, at most three; the first is the score.
        network: sizes that the network is built with, numbers and lists of numbers by name.
        calibration: quantiles of the scores on held-out images, at equal steps from the lowest to
            the highest; none, or at least two.
        label_quantiles: quantiles of the label on the same images, which say what is good and bad for the model.
        prompts: number of training prompts.
        images: number of training images.
        command: the command that trained the probe.
        held_out: statistics on held-out prompts, by name.
        skilled: see ``probe.Probe``.
        search_skill: the fields of ``engine.core.skill.Skill``, or None.

    Raises:
        ValueError: a value is of another type or out of range; the message names the field.
    """

    kind: str
    family: str
    blocks: tuple[str, ...]
    moments: tuple[str, ...]
    label: str
    heads: tuple[str, ...]
    network: dict[str, Any]
    calibration: tuple[float, ...] = ()
    label_quantiles: tuple[float, ...] = ()
    prompts: int = 0
    images: int = 0
    command: str = ""
    held_out: dict[str, float] = field(default_factory=dict)
    skilled: bool = False
    search_skill: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("blocks", "moments", "heads", "calibration", "label_quantiles"):  # lists in JSON
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        checks = {
            "kind, family, label and command": _texts((self.kind, self.family, self.label, self.command)),
            "blocks": _texts(self.blocks) and 0 < len(self.blocks) == len(set(self.blocks)),
            "moments": _texts(self.moments),
            "heads": _texts(self.heads) and 1 <= len(self.heads) <= MOST_HEADS,
            "network": isinstance(self.network, dict)
            and all(isinstance(name, str) and _sizes(value) for name, value in self.network.items())
            and all(_at_most(self.network.get(name, 1), MOST_SIZE) for name in COUNTS),
            "calibration": _quantiles(self.calibration),
            "label_quantiles": _quantiles(self.label_quantiles),
            "prompts and images": _count(self.prompts) and _count(self.images),
            "held_out": isinstance(self.held_out, dict) and _numbers(self.held_out.values()),
            "skilled": isinstance(self.skilled, bool),
            "search_skill": self.search_skill is None or _is_skill(self.search_skill),
        }
        wrong = [name for name, right in checks.items() if not right]
        if wrong:
            raise ValueError(f"the probe's description has a wrong value for {', '.join(wrong)}")

    def to_json(self) -> str:
        """Return the card as the file holds it, with its format version."""
        return json.dumps({"format": FORMAT, **asdict(self)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "ProbeCard":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: no such description, a newer format, or wrong values.
        """
        record = read_json(text)
        if not isinstance(record, dict) or not _count(record.get("format")):
            raise ValueError("the probe's description has no format version")
        if record["format"] > FORMAT:
            raise ValueError(f"it is of format {record['format']}, and this version of Diffusion Probe reads {FORMAT}")
        names = {entry.name for entry in fields(cls)}
        values = {"label_quantiles": ()} | {name: value for name, value in record.items() if name != "format"}
        if set(values) != names or not isinstance(values["network"], dict):
            wrong = ", ".join(sorted(set(values) ^ names)) or "sizes of the network"
            raise ValueError(f"the probe's description lacks or adds {plain(wrong)}")
        return cls(**values)


def _texts(values: Any) -> bool:
    return isinstance(values, tuple) and all(isinstance(each, str) and half_character(each) is None for each in values)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _at_most(value: Any, most: int) -> bool:
    return _count(value) and value <= most


def _sizes(value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else (value,)
    return 1 <= len(values) <= MOST_SIZE and all(_at_most(number, LARGEST) for number in values)


def _quantiles(values: Any) -> bool:
    return _numbers(values) and len(values) != 1 and list(values) == sorted(values)


def _numbers(values: Any) -> bool:
    return isinstance(values, Collection) and not isinstance(values, str | Mapping) and all(map(_number, values))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST_NUMBER


def _is_skill(values: Any) -> bool:
    """Return whether values are the fields of ``engine.core.skill.Skill``, as that accepts them."""
    if not isinstance(values, dict) or set(values) != {*SKILL, "source"} or not _texts((values["source"],)):
        return False
    if not all(isinstance(values[name], list | tuple) and _numbers(values[name]) for name in SKILL):
        return False
    progress, correlation, spread = (list(values[name]) for name in SKILL)
    return (
        len(progress) == len(correlation) > 0
        and len(spread) in (0, len(progress))
        and progress == sorted(set(progress))
        and 0 < progress[0] <= progress[-1] < 1
        and all(-1 <= value <= 1 for value in correlation)
        and all(value > 0 for value in spread)
    )
