"""Training of a network on a dataset, from the first step to the weights that a probe file holds."""

import copy
import inspect
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...engine.core.texts import plain, quoted
from ...probe_models.activation_ranker import ActivationRanker
from ...probe_models.inputs import Inputs
from ...probe_models.network import ProbeNetwork
from ...probe_models.probe_file import KINDS
from ...probe_models.probe_select import ProbeSelectNetwork
from ...probe_models.word_network import WordNetwork
from ..dataset.batches import Batch, Batches
from ..dataset.folder import Dataset
from ..dataset.run_record import RunRecord
from . import losses, published
from .precision import bfloat16_is_fast
from .recipe import Recipe, default_sizes
from .stage import Plan, Stage, generator_for
from .word_losses import TEMPERATURE, scores_and_loss

ALIGNMENT_WEIGHT = 0.1
NORM_GROUPS = 96
"""Number of groups of rows from which the norms of the inputs are measured."""


def network_options(kind: str, batch: Batch) -> dict[str, int]:
    """Return the sizes of a network that the data decide: channels of its inputs."""
    inputs, wanted = batch.inputs, inspect.signature(KINDS[kind]).parameters
    channels = {"text": (inputs.text, -1), "activation": (inputs.activation, 1), "latent": (inputs.latent, 1)}
    return {name: tensor.shape[axis] for name, (tensor, axis) in channels.items() if name in wanted}


class Fit:
    """A probe in training.

    Args:
        dataset: holds the runs.
        runs: those of the training split.
        recipe: of the training.
        checkpoint: file to write checkpoints to, and to go on from if it is there.
        device: of the network.

    Raises:
        ValueError: labels that were not recorded, or don't differ within any prompt.
    """

    def __init__(
        self, dataset: Dataset, runs: Sequence[RunRecord], recipe: Recipe, checkpoint: Path, device: str = "cpu"
    ):
        self.recipe, self.device, self.header = recipe, torch.device(device), dataset.header
        self.mean, self.std = label_scale(runs, recipe.labels)
        torch.manual_seed(recipe.seed)
        self.prompts = recipe.prompts
        self.batches = Batches(dataset, runs, KINDS[recipe.kind].needs, recipe.labels, recipe.blocks, recipe.use_words)
        self.batches.only_near = recipe.percent
        first = self.batches.of_the_usual_size().draw(generator_for(recipe.seed, -1), NORM_GROUPS, recipe.rows)
        self.options = {**default_sizes(recipe.kind), **network_options(recipe.kind, first), **recipe.network}
        blocks = len(recipe.blocks or self.header.blocks)
        self.network = KINDS[recipe.kind](blocks, len(recipe.labels), **self.options).to(self.device)
        self.network.fit_norms(first.inputs)
        settings = {"recipe": repr(recipe), "runs": len(runs), "family": self.header.family}
        plan = Plan(recipe.steps, recipe.rate, recipe.matrix_rate, average=recipe.average)
        self.stage = Stage(checkpoint, self.network, self._loss, plan, settings)

    def run(self, watch: Callable[[int, float], bool] = lambda step, loss: False) -> list[float]:
        """Train, or go on training, and return the loss of each step.

        Batches that don't fit into memory are made smaller.

        Args:
            watch: called after each step with its number and loss; True ends the training.
        """
        while True:
            try:
                return self.stage.run(watch=watch)
            except torch.OutOfMemoryError:
                if self.prompts == 1:
                    raise
                self.prompts //= 2
                logging.warning("Out of memory: training goes on with %d prompts per batch.", self.prompts)
                self.stage.save()

    def averaged(self) -> ProbeNetwork:
        """Return a copy of the network with averaged weights, which scores in the unit of the label."""
        network = copy.deepcopy(self.network)
        network.load_state_dict(self.stage.averaged, strict=False)
        unscale(network, self.mean, self.std)
        return network.eval()

    def _draw(self, step: int) -> Batch:
        recipe = self.recipe
        generator = generator_for(recipe.seed, step)
        if recipe.by_image:
            return self.batches.draw_images(generator, self.prompts * recipe.rows, recipe.low_first)
        return self.batches.draw(generator, self.prompts, recipe.rows, recipe.low_first, recipe.others)

    def _loss(self, step: int) -> Tensor:
        batch = self._draw(step)
        labels = ((batch.labels - self.mean) / self.std).to(self.device)
        inputs = batch.inputs.to(self.device)
        # Not for the ranker on a CPU: oneDNN's bfloat16 gradient of a strided convolution is NaN on very small grids.
        half = bfloat16_is_fast(self.device) and (self.device.type != "cpu" or isinstance(self.network, WordNetwork))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            scores, extra = self._scores(inputs, batch, labels, step)
        scores = scores.unflatten(0, labels.shape[:2])
        if isinstance(self.network, ProbeSelectNetwork):
            assert isinstance(extra, Tensor)
            return extra
        loss = losses.mean_squared(scores, labels) + extra
        if self.recipe.listwise:
            loss = loss + self.recipe.listwise * losses.listwise(scores[..., 0], labels[..., 0], TEMPERATURE)
        return loss

    def _scores(self, inputs: Inputs, batch: Batch, labels: Tensor, step: int) -> tuple[Tensor, Tensor | float]:
        """Score the rows, and compute the loss of what this kind of network learns beside these scores."""
        if isinstance(self.network, ProbeSelectNetwork):
            return self._probe_select(self.network, inputs, labels, step)
        if isinstance(self.network, WordNetwork):
            return scores_and_loss(self.network, inputs, batch, self._standard)
        if not isinstance(self.network, ActivationRanker):
            return self.network(inputs), 0.0
        images, texts = self.network.vectors(inputs)
        groups = labels.shape[:2]
        best = labels[..., 0].argmax(1)
        chosen = images.unflatten(0, groups)[torch.arange(len(best)), best]
        aligned = losses.alignment(chosen.float(), texts.unflatten(0, groups)[:, 0].float())
        return self.network.compare(images, texts), ALIGNMENT_WEIGHT * aligned

    def _probe_select(
        self, network: ProbeSelectNetwork, inputs: Inputs, labels: Tensor, step: int
    ) -> tuple[Tensor, Tensor]:
        """Score rows and compute the losses of Probe-Select, in full precision; the squared error is none of them."""
        groups = labels.shape[:2]
        images, texts = network.vectors(inputs)
        scores = network.compare(images, texts)
        progress = step / self.recipe.steps
        with torch.autocast(self.device.type, enabled=False):
            loss = published.probe_select_loss(
                scores.unflatten(0, groups),
                labels,
                images.unflatten(0, groups).float(),
                texts.unflatten(0, groups)[:, 0].float(),
                progress,
                self.recipe.listwise,
            )
        return scores, loss

    def _standard(self, labels: Tensor) -> Tensor:
        """Turn labels of the first head into standard deviations."""
        return ((labels - self.mean[0]) / self.std[0]).to(self.device)


def check_labels(runs: Sequence[RunRecord], labels: Sequence[str]) -> None:
    """Refuse labels from which nothing can be learnt.

    Raises:
        ValueError: see :class:`Fit`.
    """
    missing = sorted({name for name in labels for run in runs if name not in run.labels})
    if missing:
        wanted, there = (", ".join(names) for names in (missing, runs[0].labels))
        raise ValueError(f"the dataset has no label {quoted(wanted)} in some runs; it has {plain(there)}.")
    by_prompt: defaultdict[str, set[float]] = defaultdict(set)
    for run in runs:
        by_prompt[run.prompt].update(run.labels[labels[0]])
    if all(len(values) == 1 for values in by_prompt.values()):
        raise ValueError(
            f"the label {quoted(labels[0])} is the same for all seeds of each prompt, so there is no choice to learn. "
            "Record several seeds per prompt, and label them with a reward model."
        )


def label_scale(runs: Sequence[RunRecord], labels: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Compute mean and standard deviation of each label over all rows, ``[labels]`` each.

    Raises:
        ValueError: see :class:`Fit`.
    """
    check_labels(runs, labels)
    columns = [torch.cat([torch.tensor(run.labels[name]) for run in runs]) for name in labels]
    values = torch.stack(columns, 1)
    return values.mean(0), values.std(0).clamp(min=1e-6)


@torch.no_grad()
def unscale(network: ProbeNetwork, mean: Tensor, std: Tensor) -> None:
    """Change the last layer of a network that was trained on standardised labels, so that it scores in their unit."""
    last = network.last_layer
    last.weight.mul_(std.view(-1, *[1] * (last.weight.ndim - 1)).to(last.weight))
    last.bias.mul_(std.to(last.bias)).add_(mean.to(last.bias))
