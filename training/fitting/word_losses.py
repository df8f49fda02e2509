"""Losses of word networks beside that of each row's score: the finished latent, and rows under other prompts."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...probe_models.inputs import Inputs
from ...probe_models.word_network import WordFeatures, WordNetwork
from ..dataset.batches import Batch
from ..dataset.other_prompts import OtherPrompts
from . import losses

FINAL_WEIGHT = 0.5
TEMPERATURE = 0.5
"""Temperature of the listwise loss, in standard deviations of the label."""


def scores_and_loss(
    network: WordNetwork, inputs: Inputs, batch: Batch, standard: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor | float]:
    """Score a batch's rows, and compute the loss of what is learnt beside these scores.

    Args:
        inputs: of the batch, on the network's device.
        standard: turns labels of the first head into standard deviations, on that device.
    """
    rows, device = batch.labels.shape[1], inputs.percent.device
    features, cells, final = network.encode_rows(inputs)
    loss: Tensor | float = 0.0
    if final is not None:
        loss = FINAL_WEIGHT * losses.mean_squared(final, network.denoised_norm(batch.final.to(device)))
    for others in batch.others:
        scores = scores_of_others(network, features, cells, inputs, others.to(device)).flatten(0, 1)
        wanted = standard(others.labels.flatten(0, 1))
        loss = loss + losses.mean_squared(scores, wanted) + losses.listwise(scores, wanted, TEMPERATURE)
    words = network.encode_words(inputs[::rows])
    return network.score_words(words.repeat_interleave(rows, 0), inputs, features, cells), loss


def scores_of_others(
    network: WordNetwork, features: WordFeatures, cells: Tensor | None, inputs: Inputs, others: OtherPrompts
) -> Tensor:
    """Score rows by prompts that they were not sampled from, ``[groups, prompts, rows]``.

    Args:
        features, cells: what the network made of the rows' ``inputs``.
    """
    groups, prompts, rows = others.labels.shape
    words = network.encode_words(others.inputs)
    words, present = (
        each.unflatten(0, (groups, 1, prompts)).expand(-1, rows, *[-1] * each.ndim).flatten(0, 2)
        for each in (words, others.inputs.present)
    )
    of_own = features.map(lambda values: _of_words(values, others.own)) if (others.own >= 0).any() else None
    items = Inputs(percent=inputs.percent.repeat_interleave(prompts), present=present)
    return network.score_words(words, items, of_own, cells)[:, 0].view(groups, rows, prompts).mT


def _of_words(values: Tensor, own: Tensor) -> Tensor:
    """Select each row's values for the words of several prompts, zeros for words that are not its own.

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
