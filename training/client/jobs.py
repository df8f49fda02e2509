"""Runs of a recording: prompts and seeds put into a workflow in API format."""

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..dataset.workflow_key import NODE, is_link, nodes_before, workflow_key

SEED_BATCH = "DiffusionProbeSeedBatch"
SEED_INPUTS = ("seed", "noise_seed")


@dataclass(frozen=True)
class PromptLine:
    """Entry of a file of prompts, with the seeds that it names."""

    text: str
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Job:
    """Run to be recorded: rows of one prompt, and the run's key in the dataset."""

    prompt: str
    seeds: tuple[int, ...]
    key: str


def read_prompts(path: Path) -> list[PromptLine]:
    """Read prompts from a text file, one a line, or JSON Lines with ``prompt`` and, if wanted, ``seeds``.

    Blank lines are skipped; a prompt that comes again counts once, with the seeds of all of its lines.

    Raises:
        ValueError: a line of JSON without a prompt, or no prompt at all.
        OSError: the file can't be read.
    """
    prompts: dict[str, PromptLine] = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8-sig").splitlines(), start=1):
        if line.strip():
            entry = _json_line(line, f"{path}, line {number}") if line.lstrip().startswith("{") else None
            entry = entry or PromptLine(line.strip())
            before = prompts.get(entry.text, entry)
            prompts[entry.text] = replace(entry, seeds=tuple(dict.fromkeys(before.seeds + entry.seeds)))
    if not prompts:
        raise ValueError(f"{path} holds no prompt. Write one a line.")
    return list(prompts.values())


def _json_line(line: str, where: str) -> PromptLine:
    try:
        values = json.loads(line)
        text, seeds = values["prompt"], values.get("seeds", ())
        if isinstance(text, str) and text.strip() and all(type(seed) is int and seed >= 0 for seed in seeds):
            return PromptLine(text, tuple(seeds))
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f'{where} is no prompt. Accepted: plain text, or {{"prompt": "a red fox", "seeds": [1, 2]}}.')


def own_seeds(prompt: str, count: int, first_seed: int = 0) -> tuple[int, ...]:
    """Choose seeds that no other prompt has, by its text, so that the order of a file doesn't matter."""
    start = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:6], "big") + first_seed
    return tuple(range(start, start + count))


class Template:
    """Workflow into whose inputs prompts and seeds can be put.

    Args:
        workflow: a prompt in API format with one Record Probe Data.
        dataset: name of the dataset; the one in the workflow by default.

    Attributes:
        dataset: name of the dataset.
        rows: number of seeds in one run.

    Raises:
        ValueError: no input or several take the prompt or the seeds; the message says what to change in the workflow.
    """

    def __init__(self, workflow: dict[str, dict[str, Any]], dataset: str = ""):
        recorders = [number for number, node in workflow.items() if node.get("class_type") == NODE]
        if len(recorders) != 1:
            raise ValueError(f"the workflow has {len(recorders)} Record Probe Data nodes. It has to have one.")
        self.record = recorders[0]
        try:
            self.nodes = nodes_before(workflow.__getitem__, self.record)  # nothing else has to be run
        except KeyError as missing:
            raise ValueError(f"the workflow has a link from node {missing}, which isn't there.") from missing
        own = self.nodes[self.record]["inputs"]
        if dataset:
            own["dataset"] = dataset
        self.dataset = own.get("dataset")
        if not isinstance(self.dataset, str):
            raise ValueError("dataset of Record Probe Data comes from another node. Write the name into it.")
        self.dataset = self.dataset.strip()  # as the node reads it
        self.text = self._text_input(own.get("prompt"))
        self.seed = self._seed_input()
        batch = self.nodes[self.seed[0]]
        self.rows = batch["inputs"]["count"] if batch["class_type"] == SEED_BATCH else 1

    def fill(self, prompt: str, seeds: Sequence[int]) -> dict[str, dict[str, Any]]:
        """Return the workflow with a prompt and the seeds of one run."""
        filled = copy.deepcopy(self.nodes)
        filled[self.text[0]]["inputs"][self.text[1]] = prompt
        number, name = self.seed
        if filled[number]["class_type"] == SEED_BATCH:
            filled[number]["inputs"].update(seeds=", ".join(map(str, seeds)), count=len(seeds))
        else:
            filled[number]["inputs"][name] = seeds[0]
        return filled

    def jobs(self, lines: Sequence[PromptLine], count: int, first_seed: int = 0) -> Iterator[Job]:
        """Yield all runs of prompts, with ``count`` seeds for each that has none of its own."""
        for line in lines:
            seeds = line.seeds or own_seeds(line.text, count, first_seed)
            for start in range(0, len(seeds), self.rows):
                rows = seeds[start : start + self.rows]
                key = workflow_key(self.fill(line.text, rows).__getitem__, self.record, line.text)
                yield Job(line.text, rows, key)

    def _text_input(self, value: Any) -> tuple[str, str]:
        if is_link(value):
            inputs = self.nodes[value[0]]["inputs"]
            texts = [name for name, text in inputs.items() if isinstance(text, str)]
            if len(texts) == 1:
                return value[0], texts[0]
        raise ValueError(
            "the prompt of Record Probe Data doesn't come from a text node. Put one (String, multiline) into the "
            "workflow and connect it both to Encode Words and to Record Probe Data."
        )

    def _seed_input(self) -> tuple[str, str]:
        batches = [(number, "seeds") for number, node in self.nodes.items() if node["class_type"] == SEED_BATCH]
        inputs = batches or self._sampler_seeds()
        if len(inputs) != 1 or (batches and type(self.nodes[batches[0][0]]["inputs"].get("count")) is not int):
            named = ", ".join(f"{self.nodes[number]['class_type']} (node {number})" for number, _ in inputs) or "none"
            raise ValueError(
                f"it isn't clear where seeds go; found: {named}. Use one Seed Batch, its count written into it, or one "
                "sampler with a seed of its own."
            )
        return inputs[0]

    def _sampler_seeds(self) -> list[tuple[str, str]]:
        """Find the inputs of all nodes that hold one seed."""
        inputs = []
        for number, node in self.nodes.items():
            inputs += [(number, name) for name in SEED_INPUTS if type(node["inputs"].get(name)) is int]
        return inputs
