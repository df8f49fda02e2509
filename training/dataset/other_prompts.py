"""Rows of a batch under prompts that they were not sampled from, where the recording scored their images by these."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...engine.core.features import ATTENTION, DENOISED, LATENT
from ...probe_models.inputs import Inputs, network_inputs, stacked
from .folder import Dataset
from .run_record import RunRecord

PHRASES_PER_PROMPT = 3
"""Number of phrases that are drawn for each whole prompt."""

Row = tuple[RunRecord, int]
"""A run, and the number of one of its rows."""


@dataclass(frozen=True)
class OtherPrompts:
    """Prompts that groups of rows were not sampled from, equally many for each group, with the rows' labels.

    Attributes:
        inputs: the prompts, one after another for each group: ``[groups * prompts]`` rows of percent, text, spelling
            and present, no features of images.
        labels: of the rows under each prompt, ``[groups, prompts, rows]``, of the first label.
        own: ``[groups, prompts, words]``, the number of each word among those of the rows' own prompt, -1 where it
            is none of them.
    """

    inputs: Inputs
    labels: Tensor
    own: Tensor

    def to(self, device: torch.device) -> "OtherPrompts":
        """Return the same on a device."""
        return OtherPrompts(self.inputs.to(device), self.labels.to(device), self.own.to(device))


class OtherPromptDraws:
    """Draws of other prompts for the groups of a batch.

    Args:
        dataset: holds the runs.
        runs: their prompts and phrases may be drawn.
        needs: features that the network reads. Without latents it can tell no more than phrases of the row's own
            prompt, whose words have maps.
        label: unit of the score.
        use_words: False: words have no maps of their own.
    """

    def __init__(self, dataset: Dataset, runs: Sequence[RunRecord], needs: frozenset[str], label: str, use_words: bool):
        self.dataset, self.label, self.use_words = dataset, label, use_words
        self.sees_image, self.sees_words = bool(needs & {LATENT, DENOISED}), ATTENTION in needs and use_words
        self.by_prompt = {run.prompt: run for run in runs}
        self.by_phrase = {phrase: run for run in runs for phrase in run.phrases}

    def draw(
        self, generator: torch.Generator, groups: Sequence[Sequence[Row]], percents: Sequence[float], count: int
    ) -> tuple[OtherPrompts, ...]:
        """Draw at most ``count`` whole prompts and ``PHRASES_PER_PROMPT * count`` phrases for each group of rows.

        The longest phrases of a row's own prompt come first: they say where things are relative to each other.

        Args:
            percents: noise level of each group.
        """
        scored = [_shuffled(self._scored_by(rows), generator) for rows in groups]
        for prompts, rows in zip(scored, groups):
            lengths = {phrase: len(words) for phrase, words in rows[0][0].phrases.items()}
            prompts.sort(key=lambda prompt, lengths=lengths: -lengths.get(prompt, 0))  # type: ignore[misc]
        draws = []
        for known, most in ((self.by_phrase, PHRASES_PER_PROMPT * count), (self.by_prompt, count)):
            drawn = [[prompt for prompt in prompts if prompt in known][:most] for prompts in scored]
            if any(drawn):
                draws.append(self._read(groups, percents, drawn))
        return tuple(draws)

    def _scored_by(self, rows: Sequence[Row]) -> set[str]:
        """Return the prompts by which all of these rows were scored, and that the network can tell from each other."""
        scored = set.intersection(*(set(run.others) for run, _ in rows))
        if self.sees_image:
            return scored
        return scored & set(rows[0][0].phrases) if self.sees_words else set()

    def _read(
        self, groups: Sequence[Sequence[Row]], percents: Sequence[float], drawn: Sequence[Sequence[str]]
    ) -> OtherPrompts:
        """Read drawn prompts; a group with fewer of them than another gets its own prompt for the missing ones."""
        count = max(map(len, drawn))
        inputs, labels, own_words = [], [], []
        for rows, percent, prompts in zip(groups, percents, drawn):
            own = rows[0][0]
            for prompt in [*prompts, *[own.prompt] * (count - len(prompts))]:
                run = own if prompt in own.phrases else self.by_phrase.get(prompt) or self.by_prompt[prompt]
                numbers = list(run.phrases.get(prompt, range(len(run.words))))
                text = self.dataset.load(run, ["text"])["text"][numbers]
                inputs.append(network_inputs({"text": text}, [run.words[number] for number in numbers], [percent]))
                shared = self.use_words and run.prompt == own.prompt
                own_words.append(torch.tensor(numbers if shared else [-1] * len(numbers)))
            labels += [[run.others[prompt][row] for run, row in rows] for prompt in prompts]
            labels += [[run.labels[self.label][row] for run, row in rows]] * (count - len(prompts))
        numbered = pad_sequence(own_words, batch_first=True, padding_value=-1)
        shape = (len(groups), count)
        return OtherPrompts(stacked(inputs), torch.tensor(labels).unflatten(0, shape), numbered.unflatten(0, shape))


def _shuffled(prompts: Set[str], generator: torch.Generator) -> list[str]:
    ordered = sorted(prompts)
    return [ordered[number] for number in torch.randperm(len(ordered), generator=generator).tolist()]
