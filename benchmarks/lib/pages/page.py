"""A page of results: its texts, its tables, and the way in which numbers are written in both.

Every measured number of a page is taken from a result file. Texts that state one are functions of the results.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "results"
"""The result files."""

WRITTEN = "<!-- Written by `python -m benchmarks.tables` from {source}: change those, not this page. -->"

Record = Mapping[str, Any]
"""The contents of a result file."""

Results = Mapping[str, Record]
"""Result files by the name that a page gives them."""


@dataclass(frozen=True)
class Table:
    """A Markdown table.

    Attributes:
        head: the names of the columns.
        rows: the cells, each row as long as ``head``.
        caption: a sentence above the table.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def __str__(self) -> str:
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"{self.caption}\n\n{text}" if self.caption else text


@dataclass(frozen=True)
class Page:
    """One question and what was measured of it.

    Attributes:
        name: of the file, without its ending.
        question: the heading.
        files: result files without their ending, by the name that the functions below know them by.
        method: how it was measured, with the meaning of the columns.
        tables: what was measured.
        reading: what the tables show, a sentence or two each.
        limits: what the figures do not show.
    """

    name: str
    question: str
    files: Mapping[str, str]
    method: Callable[[Results], Sequence[str]]
    tables: Callable[[Results], Sequence[Table]]
    reading: Callable[[Results], Sequence[str]]
    limits: Callable[[Results], Sequence[str]]

    def load(self, folder: Path = FOLDER) -> dict[str, Record]:
        """Read the page's result files."""
        return {key: json.loads((folder / f"{stem}.json").read_text()) for key, stem in self.files.items()}

    def text(self, folder: Path = FOLDER) -> str:
        """Return the page as Markdown."""
        results = self.load(folder)
        commands = [f"    {command(results[key], stem)}" for key, stem in self.files.items()]
        files = ", ".join(f"[{stem}.json](../../benchmarks/results/{stem}.json)" for stem in self.files.values())
        blocks = [
            WRITTEN.format(source="benchmarks/results and benchmarks/lib/pages"),
            f"# {self.question}",
            *self.method(results),
            "## Command and machine",
            "\n".join(commands),
            "\n".join(dict.fromkeys(machine(record) for record in results.values())),
            f"Result files: {files}",
            "## Result",
            *map(str, self.tables(results)),
            "## Reading",
            *self.reading(results),
            "## Limits",
            "\n".join(f"- {limit}" for limit in self.limits(results)),
        ]
        return "\n\n".join(blocks) + "\n"


def command(record: Record, stem: str) -> str:
    """Return the command line that measures a result file again, quoted for a shell.

    Older result files state their command unquoted, and where their output was first written.
    """
    line = re.sub(r"(?<!')(\{.*?\})", r"'\1'", record["command"])
    line = re.sub(r"(?<!')(LAION aesthetic)", r"'\1'", line)
    return re.sub(r"--out \S+", f"--out benchmarks/results/{stem}.json", line)


def machine(record: Record) -> str:
    """Return a sentence about the machine and the packages that a result file states."""
    here, versions = record["machine"], record["versions"]
    threads = f"{here['cores']} cores, {counted(here['threads'], 'torch thread')}"
    packages = ", ".join(f"{name} {version}" for name, version in versions.items() if name not in ("python", "comfyui"))
    return (
        f"{here['processor']}, {threads}, {here['accelerator'] or 'no GPU'}, {here['system']}; Python "
        f"{versions['python']}, ComfyUI {versions['comfyui']}, {packages}."
    )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where there are several."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(words: Sequence[str]) -> str:
    """Return words with commas between them and "and" before the last."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def points(value: float, digits: int = 2, sign: bool = False) -> str:
    """Return a number with a fixed number of decimals; no zero has a sign."""
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text


def between(interval: Sequence[float], digits: int = 2) -> str:
    """Return an interval in brackets."""
    low, high = interval
    return f"[{points(low, digits)}, {points(high, digits)}]"


def estimate(value: float, interval: Sequence[float], digits: int = 2, sign: bool = False) -> str:
    """Return a number with its interval."""
    return f"{points(value, digits, sign)} {between(interval, digits)}"


def percent(share: float, digits: int = 0) -> str:
    """Return a share as a percentage."""
    return f"{points(100 * share, digits)} %"


def small(value: float) -> str:
    """Return a number near zero with its power of ten, or 0."""
    return f"{value:.1e}" if value else "0"


def one(rows: Sequence[Record], **keys: Any) -> Record:
    """Return the one row that has these values.

    Raises:
        ValueError: there is none, or several.
    """
    (row,) = [row for row in rows if all(row[key] == value for key, value in keys.items())]
    return row


def settings(record: Record) -> str:
    """Return how the testbed model was sampled."""
    return f"{record['sampler']}, schedule {record['scheduler']}, CFG {record['cfg']:g}"


NAMES = {"flux": "FLUX", "sdxl": "SDXL"}
"""Names of the testbed models in texts."""

INTERVALS = "Brackets are 95 % bootstrap intervals over prompts."
