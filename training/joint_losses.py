"""What the joint probe learns beside the score of each row: the finished image, and rows under other prompts."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..probe_models.inputs import Inputs
from ..probe_models.joint import JointProbe
from . import losses
from .batches import Batch, OtherPrompts

FINAL_WEIGHT = 0.5
TEMPERATURE = 0.5
"""Of the listwise loss, in standard deviations of the label."""


def joint_scores(
    network: JointProbe, inputs: Inputs, batch: Batch, standard: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Scores of a batch's rows, and the loss of all else that is learnt from it.

    Args:
        inputs: the batch's, where the network computes.
        standard: labels of the first head in standard deviations, there too.
    """
    rows, device = batch.labels.shape[1], inputs.percent.device
    cells, final = network.see(inputs)
    loss = FINAL_WEIGHT * losses.mean_squared(final, network.denoised_norm(batch.final.to(device)))
    shown = network.shown(inputs, cells)
    for others in batch.others:
        scores = scores_of_others(network, cells, shown, inputs, others.to(device)).flatten(0, 1)
        wanted = standard(others.labels.flatten(0, 1))
        loss = loss + losses.mean_squared(scores, wanted) + losses.listwise(scores, wanted, TEMPERATURE)
    given = (inputs.text, inputs.spelling, inputs.present, inputs.percent)
    words = network.read(*(each[::rows] for each in given))
    return network.judge(cells, words.repeat_interleave(rows, 0), inputs, shown), loss


def scores_of_others(
    network: JointProbe, cells: Tensor, shown: tuple[Tensor, Tensor], inputs: Inputs, others: OtherPrompts
) -> Tensor:
    """What a joint probe says of rows, asked about prompts that they were not made from.

    Args:
        cells, shown: what it makes of the rows' ``inputs``.

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
    of_own = None
    if (others.own >= 0).any():
        lie, bias = shown
        of_own = _of_words(lie, others.own), _of_words(bias.transpose(1, 2), others.own).transpose(1, 2)
    asked = Inputs(percent=inputs.percent.repeat_interleave(prompts), present=present)
    return network.judge(cells, words, asked, of_own)[:, 0].view(groups, rows, prompts).mT


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
