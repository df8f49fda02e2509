"""Training of a probe, from a dataset to a probe file, until the network gets no better."""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from torch import nn

from ...engine.core.features import ACTIVATION
from ...engine.core.files import locked
from ...probe_models.probe_card import ProbeCard
from ...probe_models.probe_file import save_probe
from ..dataset.batches import Batches, grouped
from ..dataset.folder import Dataset, prompt_digest
from ..dataset.projection import dataset_projection
from ..metrics.validation import Scored, score_groups, with_enough_rows, within_by_moment
from .fit import Fit, check_labels
from .held_out import describe, figures_of, quantiles, skill_of
from .recipe import Recipe
from .unfinished import Unfinished, disk_errors

CHECK_EVERY = 250
"""Number of steps between two checks on validation prompts."""

PATIENCE = 6
"""Number of checks without a better network after which a training stops, if ``PATIENT_SHARE`` allows."""

PATIENT_SHARE = 0.5
"""Share of all steps for which a training goes on without a better network: a network learns much towards the end, when
the learning rate falls."""

CHECK_PROMPTS = 96
"""Largest number of validation prompts in a check."""


class Diverged(ValueError):
    """Error of a training whose weights or losses are NaN or infinite, from which no step recovers."""


@dataclass
class Progress:
    """Progress of a training.

    Attributes:
        steps: number of steps of the whole training.
        losses: loss of each step so far.
        checks: mean within-prompt ρ on validation prompts, by step.
    """

    steps: int
    losses: list[float] = field(default_factory=list)
    checks: dict[int, float] = field(default_factory=dict)

    @property
    def best_step(self) -> int:
        """Step of the best check, 0 before the first."""
        return max(self.checks, key=self.checks.get, default=0)


@dataclass(frozen=True)
class Trained:
    """Result of a training.

    Attributes:
        card: description of the probe, as its file holds it.
        scored: scores and labels on the validation prompts.
        progress: losses and checks.
    """

    card: ProbeCard
    scored: Scored
    progress: Progress


def train_probe(
    folder: Path,
    out: Path,
    recipe: Recipe,
    device: str = "cpu",
    command: str = "",
    watch: Callable[[Progress], None] = lambda progress: None,
    anew: bool = False,
) -> Trained:
    """Train a probe on a dataset and write its file.

    The prompts are split by their text: nine tenths train, one tenth decides when to stop, and gives the
    calibration and the statistics that the file holds. The files of :class:`Unfinished` beside ``out`` let the same
    call go on after it was killed; they are deleted at the end.

    Args:
        folder: of the dataset.
        out: the file, ``.safetensors``.
        recipe: of the training.
        device: of the network.
        command: the command line, for the file.
        watch: called after every step; if it raises, the best network so far is written first. That replaces a
            file of another training only after ``CHECK_EVERY`` steps: who stops at once has changed their mind.
        anew: discard the files of another training that was stopped while it wrote to ``out``.

    Raises:
        ValueError: a dataset that can't be learnt from, another training that writes to the same file or was
            stopped there, or one that diverges.
        OSError: the disk is full, or the folder can't be written to.
    """
    dataset = Dataset(folder)
    runs, held_out = dataset.split()
    check_labels(dataset.runs, recipe.labels)
    if not grouped(runs) or not grouped(held_out):
        count = len({run.prompt for run in dataset.runs})
        raise ValueError(
            f"the dataset {folder} has {count} prompts, too few: by their text about a tenth is kept for validation, "
            "and training and validation each need one with several seeds. Record more, better a thousand than twenty."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Unfinished(out, dataset, recipe)
    with locked(out), disk_errors(out):
        if anew and not unfinished.goes_on():
            unfinished.remove()
        unfinished.require_same()
        fit = Fit(dataset, runs, recipe, unfinished.checkpoint, device)
        validation = Batches(dataset, held_out, fit.batches.needs, recipe.labels, recipe.blocks, recipe.use_words)
        enough = with_enough_rows(validation.groups)
        if few := len(validation.groups) - len(enough):
            logging.info("Training: %d validation prompts with fewer seeds than most are left out.", few)
        validation.groups = enough
        training = _Training(fit, validation, unfinished, describe(fit, command), watch)
        replaces = out.exists() and training.best is None
        try:
            fit.run(training.after_step)
            training.check()
        except BaseException as error:
            if isinstance(error, Diverged):
                unfinished.remove()  # nothing good comes of going on
            if training.best is not None and not (replaces and training.progress.best_step < CHECK_EVERY):
                training.finish(dataset.folder, out)
            raise
        trained = training.finish(dataset.folder, out)
        unfinished.remove()
    return trained


class _Training:
    """Training of a network with checks on validation prompts, of which it keeps the best network."""

    def __init__(
        self,
        fit: Fit,
        validation: Batches,
        unfinished: Unfinished,
        card: ProbeCard,
        watch: Callable[[Progress], None],
    ):
        self.fit, self.validation, self.unfinished, self.card, self.watch = fit, validation, unfinished, card, watch
        self.checked = validation.first(CHECK_PROMPTS)
        self.progress = Progress(fit.recipe.steps)
        self.best: nn.Module | None = None
        self.began: int | None = None
        if kept := unfinished.kept():
            self.best = fit.averaged()
            self.best.load_state_dict(kept[0])
            self.progress.checks = kept[1]

    def after_step(self, step: int, loss: float) -> bool:
        """Check the network now and then, and return whether training stops here."""
        self.progress.losses = self.fit.stage.losses
        self.began = step - 1 if self.began is None else self.began
        if not math.isfinite(loss):
            raise self._diverged(step)
        if step % CHECK_EVERY == 0:
            self.check()
        try:
            self.watch(self.progress)
        except BaseException:
            self.check()  # or the steps since the last check would be lost
            raise
        patience = max(PATIENCE * CHECK_EVERY, PATIENT_SHARE * self.progress.steps)
        return step - (self.progress.best_step or self.began) >= patience

    def check(self) -> None:
        """Measure the network as it is now, and keep it if it is the best."""
        self.progress.losses = self.fit.stage.losses
        step = len(self.progress.losses)
        if step in self.progress.checks:
            return
        network = self.fit.averaged()
        scored = score_groups(network, self.checked, self.fit.device)
        if not all(np.isfinite(scores).all() for scores, _ in scored.values()):
            raise self._diverged(step)
        rho = list(within_by_moment(scored).values())
        self.progress.checks[step] = float(np.nanmean(rho)) if not np.isnan(rho).all() else 0.0
        logging.info("Training: ρ within validation prompts %.3f after %d steps.", self.progress.checks[step], step)
        if self.best is None or self.progress.best_step == step:
            self.best = network
        self.unfinished.keep(self.best, self.progress.checks)

    def _diverged(self, step: int) -> Diverged:
        kept = " The best network before that is kept." if self.best is not None else ""
        return Diverged(
            f"the training diverged: after {step} steps its numbers are NaN or infinite.{kept} Try another seed, or on "
            "the command line a lower --rate and --matrix-rate."
        )

    def finish(self, folder: Path, out: Path) -> Trained:
        """Write the best network, with its statistics on all validation prompts."""
        self.best = self.best.half().float()  # as the file will hold it
        scored = score_groups(self.best, self.validation, self.fit.device)
        validated = [run for group in self.validation.groups for run in group.runs]
        figures, skilled = figures_of(scored, validated)
        calibration, label_quantiles = quantiles(scored)
        card = replace(
            self.card,
            moments=tuple(f"{percent:.0%}" for percent in scored),
            calibration=calibration,
            label_quantiles=label_quantiles,
            held_out=figures,
            skilled=skilled,
            search_skill=asdict(skill_of(scored, validated, self.fit.header.model)),
        )
        projection = dataset_projection(folder) if ACTIVATION in self.fit.batches.needs else None
        learnt = sorted({prompt_digest(run.prompt) for group in self.fit.batches.groups for run in group.runs})
        save_probe(out, card, self.best.cpu().half(), projection, learnt)
        logging.info("Wrote %s: %s", out, figures)
        return Trained(card, scored, self.progress)
