"""Rows of a batch judged by prompts that they were not made from, as far as they were recorded so."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...engine.core.features import ATTENTION, DENOISED, LATENT
from ...probe_models.inputs import spelled
from .folder import Dataset
from .run_record import RunRecord

PARTS = 3
"""So many parts of prompts for each whole one."""

Row = tuple[RunRecord, int]
"""A run, and the number of a row in it."""


@dataclass(frozen=True)
class OtherPrompts:
    """Rows judged by prompts that they were not made from, equally many for each group.

    Attributes:
        text: ``[groups, prompts, words, channels]``.
        spelling: ``[groups, prompts, words, SPELLING]``.
        present: bool ``[groups, prompts, words]``.
        labels: ``[groups, prompts, rows]``, of the first label.
        own: ``[groups, prompts, words]``, which word of the rows' own prompt each is, -1 where it is none of them.
    """

    text: Tensor
    spelling: Tensor
    present: Tensor
    labels: Tensor
    own: Tensor

    def to(self, device: torch.device) -> "OtherPrompts":
        """The same on a device."""
        return OtherPrompts(**{name: value.to(device) for name, value in vars(self).items()})


class Asking:
    """By what else the rows of batches are judged.

    Args:
        dataset: where the runs lie.
        runs: whose prompts and parts of prompts may be asked about.
        needs: what the network reads of a row: without latents it can tell no more than parts of the row's own
            prompt, whose words have maps.
        label: unit of the score.
        use_words: False: words have no maps of their own.
    """

    def __init__(self, dataset: Dataset, runs: Sequence[RunRecord], needs: frozenset[str], label: str, use_words: bool):
        self.dataset, self.label, self.use_words = dataset, label, use_words
        self.sees_image, self.sees_words = bool(needs & {LATENT, DENOISED}), ATTENTION in needs and use_words
        self.by_prompt = {run.prompt: run for run in runs}
        self.by_part = {part: run for run in runs for part in run.parts}

    def draw(self, generator: torch.Generator, groups: Sequence[Sequence[Row]], count: int) -> tuple[OtherPrompts, ...]:
        """What the rows of each group are judged by: at most ``count`` whole prompts and ``PARTS * count`` parts.

        The longest of their own come first, which say what stands where.
        """
        judged = [_shuffled(self._known(rows), generator) for rows in groups]
        for prompts, rows in zip(judged, groups):
            prompts.sort(key=lambda prompt, own=rows[0][0].parts: -len(own.get(prompt, ())))
        found = []
        for known, wanted in ((self.by_part, PARTS * count), (self.by_prompt, count)):
            asked = [[prompt for prompt in prompts if prompt in known][:wanted] for prompts in judged]
            if most := max(map(len, asked)):
                found.append(self._together(groups, asked, most))
        return tuple(found)

    def _known(self, rows: Sequence[Row]) -> set[str]:
        """By what all of these rows were judged, as far as what is seen of them could tell."""
        known = set.intersection(*(set(run.others) for run, _ in rows))
        if self.sees_image:
            return known
        return known & set(rows[0][0].parts) if self.sees_words else set()

    def _together(self, groups: Sequence[Sequence[Row]], asked: Sequence[Sequence[str]], count: int) -> OtherPrompts:
        """Groups with fewer prompts than ``count`` are asked about their own again."""
        texts, spellings, labels, words = [], [], [], []
        for rows, prompts in zip(groups, asked):
            own = rows[0][0]
            for prompt in [*prompts, *[own.prompt] * (count - len(prompts))]:
                run = own if prompt in own.parts else self.by_part.get(prompt) or self.by_prompt[prompt]
                numbers = list(run.parts.get(prompt, range(len(run.words))))
                texts.append(self.dataset.load(run, ["text"])["text"].float()[numbers])
                spellings.append(spelled([run.words[number] for number in numbers]))
                shown = self.use_words and run.prompt == own.prompt
                words.append(torch.tensor(numbers if shown else [-1] * len(numbers)))
            labels += [[run.others[prompt][row] for run, row in rows] for prompt in prompts]
            labels += [[run.labels[self.label][row] for run, row in rows]] * (count - len(prompts))
        present = pad_sequence([torch.ones(len(text), dtype=torch.bool) for text in texts], batch_first=True)
        text, spelling = (pad_sequence(each, batch_first=True) for each in (texts, spellings))
        own = pad_sequence(words, batch_first=True, padding_value=-1)
        given = (text, spelling, present, torch.tensor(labels), own)
        return OtherPrompts(*(each.unflatten(0, (len(groups), count)) for each in given))


def _shuffled(prompts: Set[str], generator: torch.Generator) -> list[str]:
    ordered = sorted(prompts)
    return [ordered[number] for number in torch.randperm(len(ordered), generator=generator).tolist()]
