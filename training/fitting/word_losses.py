"""What networks that judge words learn beside each row's score: the finished image, and rows under other prompts."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...probe_models.inputs import Inputs
from ...probe_models.word_judge import Shown, WordJudge
from ..dataset.asking import OtherPrompts
from ..dataset.batches import Batch
from . import losses

FINAL_WEIGHT = 0.5
TEMPERATURE = 0.5
"""Of the listwise loss, in standard deviations of the label."""


def judged_scores(
    network: WordJudge, inputs: Inputs, batch: Batch, standard: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor | float]:
    """Scores of a batch's rows, and the loss of all else that is learnt from it.

    Args:
        inputs: the batch's, where the network computes.
        standard: labels of the first head in standard deviations, there too.
    """
    rows, device = batch.labels.shape[1], inputs.percent.device
    shown, cells, final = network.look(inputs)
    loss = 0.0
    if final is not None:
        loss = FINAL_WEIGHT * losses.mean_squared(final, network.denoised_norm(batch.final.to(device)))
    for others in batch.others:
        scores = scores_of_others(network, shown, cells, inputs, others.to(device)).flatten(0, 1)
        wanted = standard(others.labels.flatten(0, 1))
        loss = loss + losses.mean_squared(scores, wanted) + losses.listwise(scores, wanted, TEMPERATURE)
    given = (inputs.text, inputs.spelling, inputs.present, inputs.percent)
    words = network.read(*(each[::rows] for each in given))
    return network.judge(words.repeat_interleave(rows, 0), inputs, shown, cells), loss


def scores_of_others(
    network: WordJudge, shown: Shown, cells: Tensor | None, inputs: Inputs, others: OtherPrompts
) -> Tensor:
    """What a network says of rows, asked about prompts that they were not made from.

    Args:
        shown, cells: what the rows' ``inputs`` show it.

    Returns:
        ``[groups, prompts, rows]``.
    """
    groups, prompts, rows = others.labels.shape
    percent = inputs.percent[::rows].repeat_interleave(prompts)
    given = (others.text, others.spelling, others.present)
    words = network.read(*(each.flatten(0, 1) for each in given), percent)
    words, present = (
        each.unflatten(0, (groups, 1, prompts)).expand(-1, rows, *[-1] * each.ndim).flatten(0, 2)
        for each in (words, others.present.flatten(0, 1))
    )
    of_own = shown.each(lambda values: _of_words(values, others.own)) if (others.own >= 0).any() else None
    asked = Inputs(percent=inputs.percent.repeat_interleave(prompts), present=present)
    return network.judge(words, asked, of_own, cells)[:, 0].view(groups, rows, prompts).mT


def _of_words(values: Tensor, own: Tensor) -> Tensor:
    """Each row's values for the words of several prompts, zero for words that are not its own.

    Args:
        values: ``[groups * rows, words, ...]``.
        own: see ``OtherPrompts``.

    Returns:
        ``[groups * rows * prompts, words of a prompt, ...]``.
    """
    groups, prompts, words = own.shape
    known = torch.cat([torch.zeros_like(values[:, :1]), values], 1).unflatten(0, (groups, -1))
    chosen = torch.stack([rows[:, numbers] for rows, numbers in zip(known, own.flatten(1) + 1)])
    return chosen.unflatten(2, (prompts, words)).flatten(0, 2)
