"""Batches of recorded rows of one size: several prompts, of each the same number of seeds, at one moment per prompt."""

import copy
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...engine.core.features import ACTIVATION, ALL_TEXT, ATTENTION, DENOISED, LATENT, TEXT
from ...probe_models.inputs import Inputs, spelled
from .asking import Asking, OtherPrompts, Row
from .folder import Dataset
from .run_record import RunRecord

TENSORS = {ATTENTION: "maps", ACTIVATION: "activation", LATENT: "latent", DENOISED: "denoised"}


EARLIEST = 0.1
"""How often the very first moment is drawn, beside a later one of noise level p, drawn as often as ``EARLIEST + p``:
what is hidden in noise teaches less."""


@dataclass(frozen=True)
class Batch:
    """Rows in groups of one prompt and one moment each.

    Attributes:
        inputs: of all rows, group after group.
        labels: ``[groups, rows, labels]``.
        final: finished latents, ``[groups * rows, channels, height, width]``.
        percent: noise level of each group, ``[groups]``.
        others: the same rows under other prompts and under parts of prompts, where that was recorded.
    """

    inputs: Inputs
    labels: Tensor
    final: Tensor
    percent: Tensor
    others: tuple[OtherPrompts, ...] = ()


@dataclass(frozen=True)
class Group:
    """Rows of one prompt and size that were looked at at the same moments: one run, or several of other seeds."""

    runs: tuple[RunRecord, ...]

    @property
    def grids(self) -> tuple[tuple[str, int, int], ...]:
        """As ``RunRecord.grids``."""
        return self.runs[0].grids

    @property
    def rows(self) -> list[Row]:
        """Each row's run and number in it."""
        return [(run, row) for run in self.runs for row in range(len(run.seeds))]


Part = tuple[Group, int, Sequence[Row]]
"""A group, which of its moments, and some of its rows."""


def grouped(runs: Sequence[RunRecord]) -> list[Group]:
    """Runs by prompt, words, moments and size. A single row is left out: there is nothing to choose."""
    found = defaultdict(list)
    for run in runs:
        moments = tuple(round(moment.percent, 3) for moment in run.moments)
        found[run.prompt, run.words, moments, run.grids].append(run)
    groups = [Group(tuple(some)) for some in found.values()]
    return [group for group in groups if len(group.rows) > 1]


class Batches:
    """Draws batches from recorded runs, reading what it needs from the disk.

    Args:
        dataset: where the runs lie.
        runs: of them.
        needs: what of them, as a network's ``needs``.
        labels: units, in the order of the network's heads.
        blocks: numbers of the attention blocks to read; None: all.
        use_words: False adds up the maps of all words, as without Encode Words.
    """

    def __init__(
        self,
        dataset: Dataset,
        runs: Sequence[RunRecord],
        needs: frozenset[str],
        labels: Sequence[str],
        blocks: Sequence[int] | None = None,
        use_words: bool = True,
    ):
        self.dataset, self.needs, self.labels = dataset, needs, tuple(labels)
        self.blocks, self.use_words = blocks, use_words
        self.groups = grouped(runs)
        self.asking = Asking(dataset, runs, needs, labels[0], use_words)

    def first(self, count: int) -> "Batches":
        """The same with the first so many groups only."""
        some = copy.copy(self)
        some.groups = self.groups[:count]
        return some

    def of_the_usual_size(self) -> "Batches":
        """The same with the groups of that size only that most have."""
        usual = Counter(group.grids for group in self.groups).most_common(1)[0][0]
        some = copy.copy(self)
        some.groups = [group for group in self.groups if group.grids == usual]
        return some

    def draw(
        self, generator: torch.Generator, groups: int, rows: int, low_first: float = 0.0, others: int = 0
    ) -> Batch:
        """A random batch: so many different groups, of each as many rows as the smallest has, ``rows`` at most.

        All are of one size; where the groups are of several, fewer may be of that size than are asked for.

        Args:
            low_first: how much more often a group of low labels is drawn than one of high ones: the lowest
                ``1 + low_first`` times as often.
            others: by how many other prompts, and by three times as many parts of prompts, the rows of each group are
                judged; by parts of their own prompt alone, if no latents are needed, and by none without words' maps.
        """
        weights = torch.ones(len(self.groups))
        if low_first:
            means = torch.tensor([_mean_label(group, self.labels[0]) for group in self.groups])
            weights = 1 + low_first * (1 - means.argsort().argsort().float() / len(means))
        size = self.groups[int(torch.multinomial(weights, 1, generator=generator))].grids
        weights *= torch.tensor([group.grids == size for group in self.groups])
        chosen = torch.multinomial(weights, min(groups, int(weights.count_nonzero())), generator=generator).tolist()
        picked = [self.groups[number] for number in chosen]
        count = min(rows, *(len(group.rows) for group in picked), rows)
        parts = []
        for group in picked:
            certainty = torch.tensor([EARLIEST + moment.percent for moment in group.runs[0].moments])
            moment = int(torch.multinomial(certainty, 1, generator=generator))
            some = torch.randperm(len(group.rows), generator=generator)[:count].tolist()
            parts.append((group, moment, [group.rows[number] for number in some]))
        batch = self.read(parts)
        asked = self.asking.draw(generator, [some for _, _, some in parts], others) if others else ()
        return replace(batch, others=asked)

    def read(self, parts: Sequence[Part]) -> Batch:
        """The batch of chosen rows: for each group which moment, and which of its rows (equally many)."""
        read = [self._group(moment, rows) for _, moment, rows in parts]
        words = max((tensors["text"].shape[1] for tensors, _ in read), default=0)
        together = {
            name: torch.cat([_with_words(tensors[name], name, words) for tensors, _ in read]) for name in read[0][0]
        }
        given = {name: together.get(tensor) for name, tensor in TENSORS.items()}
        percent = torch.tensor([group.runs[0].moments[moment].percent for group, moment, _ in parts])
        count = len(parts[0][2])
        inputs = Inputs(
            percent=percent.repeat_interleave(count),
            maps=given[ATTENTION],
            present=together["present"] if self.needs & {ATTENTION, TEXT} else None,
            text=together["text"] if TEXT in self.needs else None,
            spelling=together["spelling"] if TEXT in self.needs else None,
            activation=given[ACTIVATION],
            latent=given[LATENT],
            denoised=given[DENOISED],
        )
        return Batch(inputs, torch.stack([labels for _, labels in read]), together["final"], percent)

    def _group(self, moment: int, rows: Sequence[Row]) -> tuple[dict[str, Tensor], Tensor]:
        wanted = {tensor: f"{moment}.{tensor}" for need, tensor in TENSORS.items() if need in self.needs}
        by_run: dict[str, dict[str, Tensor]] = {}
        for run, _ in rows:
            if run.key not in by_run:
                by_run[run.key] = self.dataset.load(run, ["text", "final", *wanted.values()])
        tensors = {
            name: torch.stack([by_run[run.key][stored][row] for run, row in rows]).float()
            for name, stored in {**wanted, "final": "final"}.items()
        }
        text = by_run[rows[0][0].key]["text"].float()
        spelling = spelled(rows[0][0].words)
        if "maps" in tensors:
            tensors["maps"] = tensors["maps"].transpose(1, 2)
            if self.blocks is not None:
                tensors["maps"] = tensors["maps"][:, :, list(self.blocks)]
        if not self.use_words:
            text, spelling = text.mean(0, keepdim=True), spelled([ALL_TEXT])
            if "maps" in tensors:
                tensors["maps"] = tensors["maps"].sum(1, keepdim=True)
        tensors["text"] = text.expand(len(rows), -1, -1)
        tensors["spelling"] = spelling.expand(len(rows), -1, -1)
        tensors["present"] = torch.ones(len(rows), len(text), dtype=torch.bool)
        labels = torch.tensor([[run.labels[name][row] for name in self.labels] for run, row in rows])
        return tensors, labels


def _with_words(tensor: Tensor, name: str, words: int) -> Tensor:
    """``[rows, words, ...]`` filled up with zeros to so many words; others as they are."""
    if name not in ("text", "spelling", "present", "maps"):
        return tensor
    filled = tensor.new_zeros(tensor.shape[0], words, *tensor.shape[2:])
    filled[:, : tensor.shape[1]] = tensor
    return filled


def _mean_label(group: Group, label: str) -> float:
    values = [run.labels[label][row] for run, row in group.rows]
    return sum(values) / len(values)
