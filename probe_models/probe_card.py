"""What a probe file says about its probe."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

FORMAT = 1
"""Version of the file's layout. A newer one is refused, as it may mean something else."""

MOST_HEADS = 3
SKILL = ("progress", "correlation", "spread")
MOST_SIZE = 16
"""Most layers in ``network``, and most entries of a list."""

LARGEST = 65536
"""Largest number there."""


@dataclass(frozen=True)
class ProbeCard:
    """Everything but the weights; plain JSON values.

    Attributes:
        kind: which network, a name in ``probe_file.KINDS``.
        family: of the models that it was trained for, as ``Features.family``.
        blocks: whose maps it reads, in this order, names as in ``Features.blocks``.
        moments: the moments it was trained at, for people: ``"20%"``.
        label: the unit of its score.
        heads: what it predicts, at most three; the first is the score.
        network: what the network is built from besides, numbers and lists of numbers by name.
        calibration: quantiles of its scores on held-out images, at equal steps from the lowest to
            the highest; none, or at least two.
        label_quantiles: those of the label on the same images: what is good and what is bad for the model.
        prompts: of how many prompts the training images were.
        images: how many training images.
        command: that trained it.
        held_out: its figures on held-out prompts, by name.
        skilled: see ``probe.Probe``.
        search_skill: the fields of ``search.skill.Skill``, or None.

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
            "kind, family, label and command": all(
                isinstance(value, str) for value in (self.kind, self.family, self.label, self.command)
            ),
            "blocks": _texts(self.blocks) and 0 < len(self.blocks) == len(set(self.blocks)),
            "moments": _texts(self.moments),
            "heads": _texts(self.heads) and 1 <= len(self.heads) <= MOST_HEADS,
            "network": isinstance(self.network, dict)
            and all(isinstance(name, str) and _sizes(value) for name, value in self.network.items())
            and self.network.get("layers", 1) <= MOST_SIZE,
            "calibration": _quantiles(self.calibration),
            "label_quantiles": _quantiles(self.label_quantiles),
            "prompts and images": _count(self.prompts) and _count(self.images),
            "held_out": isinstance(self.held_out, dict) and _numbers(self.held_out.values()),
            "skilled": isinstance(self.skilled, bool),
            "search_skill": self.search_skill is None
            or isinstance(self.search_skill, dict)
            and set(self.search_skill) == {*SKILL, "source"}
            and all(isinstance(self.search_skill[name], list | tuple) for name in SKILL)
            and all(_numbers(self.search_skill[name]) for name in SKILL),
        }
        wrong = [name for name, right in checks.items() if not right]
        if wrong:
            raise ValueError(f"the probe's description has a wrong value for {', '.join(wrong)}")

    def to_json(self) -> str:
        """As the file holds it, with its format version."""
        return json.dumps({"format": FORMAT, **asdict(self)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "ProbeCard":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: no such description, a newer format, or wrong values.
        """
        record = json.loads(text)
        if not isinstance(record, dict) or not _count(record.get("format")):
            raise ValueError("the probe's description has no format version")
        if record["format"] > FORMAT:
            raise ValueError(f"it is of format {record['format']}, and this version of Diffusion Probe reads {FORMAT}")
        names = {entry.name for entry in fields(cls)}
        values = {"label_quantiles": ()} | {name: value for name, value in record.items() if name != "format"}
        if set(values) != names or not isinstance(values["network"], dict):
            raise ValueError(f"the probe's description lacks or adds {', '.join(sorted(set(values) ^ names))}")
        return cls(**values)


def _texts(values: Any) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, str) for value in values)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _sizes(value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else (value,)
    return 1 <= len(values) <= MOST_SIZE and all(_count(number) and number <= LARGEST for number in values)


def _quantiles(values: Any) -> bool:
    return _numbers(values) and len(values) != 1 and list(values) == sorted(values)


def _numbers(values: Any) -> bool:
    return not isinstance(values, str) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
    )
