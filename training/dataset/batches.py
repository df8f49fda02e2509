"""Batches of recorded rows of one size: several prompts, the same number of seeds of each, one moment per prompt."""

import copy
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...engine.core.features import ALL_TEXT, TEXT, project_channels
from ...probe_models.inputs import TENSORS, Inputs, network_inputs, stacked
from .folder import Dataset
from .other_prompts import OtherPromptDraws, OtherPrompts, Row
from .run_record import RunRecord

EARLIEST = 0.1
"""Weight with which a moment at noise level 0 is drawn, beside ``EARLIEST + p`` for one at noise level p: features
that are hidden in noise teach less."""


@dataclass(frozen=True)
class Batch:
    """Rows in groups of one prompt and one moment each.

    Attributes:
        inputs: of all rows, group after group.
        labels: ``[groups, rows, labels]``.
        final: finished latents, ``[groups * rows, channels, height, width]``.
        percent: noise level of each group, ``[groups]``.
        others: the same rows under other prompts and under phrases of prompts, where that was recorded.
    """

    inputs: Inputs
    labels: Tensor
    final: Tensor
    percent: Tensor
    others: tuple[OtherPrompts, ...] = ()


@dataclass(frozen=True)
class Group:
    """Rows of one prompt and size that were captured at the same moments: of one run, or of several of other seeds."""

    runs: tuple[RunRecord, ...]

    @property
    def grids(self) -> tuple[tuple[str, int, int], ...]:
        """Height and width of the recorded tensors, as ``RunRecord.grids``."""
        return self.runs[0].grids

    @property
    def rows(self) -> list[Row]:
        """Run of each row, and the row's number in it."""
        return [(run, row) for run in self.runs for row in range(len(run.seeds))]


Choice = tuple[Group, int, Sequence[Row]]
"""A group, the number of one of its moments, and some of its rows."""


def grouped(runs: Sequence[RunRecord]) -> list[Group]:
    """Group runs by prompt, words, moments and size. A single row is left out: there is nothing to choose."""
    alike = defaultdict(list)
    for run in runs:
        moments = tuple(round(moment.percent, 3) for moment in run.moments)
        alike[run.prompt, run.words, moments, run.grids].append(run)
    groups = [Group(tuple(runs)) for runs in alike.values()]
    return [group for group in groups if len(group.rows) > 1]


class Batches:
    """Batches of recorded runs, each read from the disk when it is drawn.

    Args:
        dataset: holds the runs.
        runs: those to draw from.
        needs: features to read, as a network's ``needs``.
        labels: units, in the order of the network's heads.
        blocks: numbers of the attention blocks to read; None: all.
        use_words: False adds up the maps of all words, as captures without Encode Words have them.
        reprojection: what the channels of activations are multiplied by, ``[channels, recorded channels]``; None: they
            stay as recorded.

    Attributes:
        groups: rows of one prompt each.
        only_near: noise level of the only moment that is drawn of each group, or of the recorded one next to it; None:
            all are.
    """

    def __init__(
        self,
        dataset: Dataset,
        runs: Sequence[RunRecord],
        needs: frozenset[str],
        labels: Sequence[str],
        blocks: Sequence[int] | None = None,
        use_words: bool = True,
        reprojection: Tensor | None = None,
    ):
        self.dataset, self.needs, self.labels = dataset, needs, tuple(labels)
        self.blocks, self.use_words, self.reprojection = blocks, use_words, reprojection
        self.groups = grouped(runs)
        self.only_near: float | None = None
        self.other_prompts = OtherPromptDraws(dataset, runs, needs, labels[0], use_words)

    def first(self, count: int) -> "Batches":
        """Return the same with no more than the first ``count`` groups."""
        return self._with(self.groups[:count])

    def of_the_usual_size(self) -> "Batches":
        """Return the same with no other groups than those of the most common size."""
        usual = Counter(group.grids for group in self.groups).most_common(1)[0][0]
        return self._with([group for group in self.groups if group.grids == usual])

    def _with(self, groups: list[Group]) -> "Batches":
        batches = copy.copy(self)
        batches.groups = groups
        return batches

    def draw(
        self, generator: torch.Generator, groups: int, rows: int, low_first: float = 0.0, others: int = 0
    ) -> Batch:
        """Draw a random batch: different groups, as many rows of each as the smallest has, ``rows`` at most.

        All are of one size; where the groups are of several, fewer than ``groups`` may be of that size.

        Args:
            low_first: how much more often a group of low labels is drawn than one of high ones: the lowest
                ``1 + low_first`` times as often.
            others: how many other prompts, and three times as many phrases of prompts, the rows of each group come
                with; phrases of their own prompt alone if no latents are needed, and none without words' maps.
        """
        choices = []
        chosen = self._draw_groups(generator, groups, low_first)
        count = min(rows, *(len(group.rows) for group in chosen))
        for group in chosen:
            moment = self._draw_moment(generator, group)
            numbers = torch.randperm(len(group.rows), generator=generator)[:count].tolist()
            choices.append((group, moment, [group.rows[number] for number in numbers]))
        batch = self.read(choices)
        if not others:
            return batch
        rows_of = [rows for _, _, rows in choices]
        return replace(batch, others=self.other_prompts.draw(generator, rows_of, batch.percent.tolist(), others))

    def draw_images(self, generator: torch.Generator, count: int, low_first: float = 0.0) -> Batch:
        """Draw rows of one size, each from all prompts by itself and at a moment of its own: groups of one row.

        Args:
            low_first: how much more often a row of a low label is drawn than one of a high one: the lowest
                ``1 + low_first`` times as often.
        """
        rows = [(group, row) for group in self.groups for row in group.rows]
        labels = torch.tensor([run.labels[self.labels[0]][row] for _, (run, row) in rows])
        weights = 1 + low_first * (1 - labels.argsort().argsort().float() / len(labels))
        grids = rows[int(torch.multinomial(weights, 1, generator=generator))][0].grids
        weights *= torch.tensor([group.grids == grids for group, _ in rows])
        numbers = torch.multinomial(weights, min(count, int(weights.count_nonzero())), generator=generator)
        chosen = [rows[number] for number in numbers.tolist()]
        return self.read([(group, self._draw_moment(generator, group, evenly=True), [row]) for group, row in chosen])

    def _draw_moment(self, generator: torch.Generator, group: Group, evenly: bool = False) -> int:
        percents = torch.tensor([moment.percent for moment in group.runs[0].moments])
        if self.only_near is not None:
            return int((percents - self.only_near).abs().argmin())
        weights = torch.ones_like(percents) if evenly else EARLIEST + percents
        return int(torch.multinomial(weights, 1, generator=generator))

    def _draw_groups(self, generator: torch.Generator, count: int, low_first: float) -> list[Group]:
        weights = torch.ones(len(self.groups))
        if low_first:
            means = torch.tensor([_mean_label(group, self.labels[0]) for group in self.groups])
            weights = 1 + low_first * (1 - means.argsort().argsort().float() / len(means))
        size = self.groups[int(torch.multinomial(weights, 1, generator=generator))].grids
        weights *= torch.tensor([group.grids == size for group in self.groups])
        numbers = torch.multinomial(weights, min(count, int(weights.count_nonzero())), generator=generator)
        return [self.groups[number] for number in numbers.tolist()]

    def read(self, choices: Sequence[Choice]) -> Batch:
        """Read the batch of chosen rows, equally many of each group."""
        percents = [group.runs[0].moments[moment].percent for group, moment, _ in choices]
        groups = [self._read_group(moment, rows, at) for (_, moment, rows), at in zip(choices, percents)]
        inputs, final, labels = zip(*groups)
        return Batch(stacked(inputs), torch.stack(labels), torch.cat(final), torch.tensor(percents))

    def _read_group(self, moment: int, rows: Sequence[Row], percent: float) -> tuple[Inputs, Tensor, Tensor]:
        """Return inputs, finished latents and labels of rows of one group."""
        stored = {TENSORS[need]: "text" if need == TEXT else f"{moment}.{TENSORS[need]}" for need in self.needs}
        by_run: dict[str, dict[str, Tensor]] = {}
        for run, _ in rows:
            if run.key not in by_run:
                by_run[run.key] = self.dataset.load(run, [*stored.values(), "final"])
        tensors = {
            name: torch.stack([by_run[run.key][kept][row] for run, row in rows])
            for name, kept in {**stored, "final": "final"}.items()
            if name != "text"
        }
        if self.reprojection is not None:
            tensors["activation"] = project_channels(tensors["activation"], self.reprojection)
        final = tensors.pop("final").float()
        first = rows[0][0]
        if TEXT in self.needs:
            tensors["text"] = by_run[first.key]["text"]
        words = first.words if self.use_words else (ALL_TEXT,)
        if not self.use_words:
            tensors = _without_words(tensors)
        inputs = network_inputs(tensors, words, [percent] * len(rows), self.blocks)
        labels = torch.tensor([[run.labels[name][row] for name in self.labels] for run, row in rows])
        return inputs, final, labels


def _without_words(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return recorded tensors with all words as one."""
    whole = dict(tensors)
    if "maps" in whole:
        whole["maps"] = whole["maps"].float().sum(2, keepdim=True)
    if "text" in whole:
        whole["text"] = whole["text"].float().mean(0, keepdim=True)
    return whole


def _mean_label(group: Group, label: str) -> float:
    values = [run.labels[label][row] for run, row in group.rows]
    return sum(values) / len(values)
