"""From a dataset to a probe file: training that stops by itself, and the description the file carries."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from ..probe_models.probe_card import ProbeCard
from ..probe_models.probe_file import save_probe
from ..search.skill import Skill
from . import accuracy, protocol
from .batches import Batches, grouped
from .dataset import Dataset, prompt_digest
from .fit import Fit, Recipe, check_labels
from .lock import only_one
from .projection import dataset_projection
from .validation import Scored, score_groups, with_enough_rows, within_by_moment

CHECK_EVERY = 250
PATIENCE = 6
"""Checks without a better network, after which training stops."""

CHECK_PROMPTS = 48
DEFAULT_PERCENT = 0.2
QUANTILES = 101


@dataclass
class Progress:
    """How a training goes.

    Attributes:
        steps: of the whole training.
        losses: of each step so far.
        checks: mean within-prompt ρ on validation prompts, by step.
    """

    steps: int
    losses: list[float] = field(default_factory=list)
    checks: dict[int, float] = field(default_factory=dict)

    @property
    def best_step(self) -> int:
        """The step of the best check, 0 before the first."""
        return max(self.checks, key=self.checks.get, default=0)


@dataclass(frozen=True)
class Trained:
    """What a training left.

    Attributes:
        card: what the file says.
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
) -> Trained:
    """Train a probe on a dataset and write its file.

    The prompts are split by content: nine tenths train, one tenth decides when to stop, and gives the
    calibration and the figures that the file states. A checkpoint beside ``out`` lets the same call go on
    where a killed one stopped; it is deleted at the end.

    Args:
        folder: of the dataset.
        out: the file, ``.safetensors``.
        recipe: how.
        device: where to compute.
        command: as the file states it.
        watch: called after every step; if it raises, the best network so far is written first.

    Raises:
        ValueError: a dataset that can't be learnt from, or another training that writes to the same file.
    """
    dataset = Dataset(folder)
    runs, held_out = dataset.split()
    if not grouped(runs) or not grouped(held_out):
        raise ValueError(
            f"the dataset {folder} has {len({run.prompt for run in dataset.runs})} prompts, too few to keep some apart "
            "for validation. Record at least 20 prompts, better a thousand, with several seeds each."
        )
    check_labels(dataset.runs, recipe.labels)
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = checkpoint_path(out)
    with only_one(out):
        fit = Fit(dataset, runs, recipe, checkpoint, device)
        validation = Batches(dataset, held_out, fit.batches.needs, recipe.labels, recipe.blocks, recipe.use_words)
        validation.groups = with_enough_rows(validation.groups)
        training = _Training(fit, validation, watch)
        try:
            fit.run(training.after_step)
            training.check()
        finally:
            trained = training.finish(dataset, out, command) if training.best is not None else None
        checkpoint.unlink(missing_ok=True)
    return trained


def checkpoint_path(out: Path) -> Path:
    """Where a training that writes to a file keeps what it needs to go on."""
    return out.with_name(f".{out.stem}.checkpoint.safetensors")


class _Training:
    """A fit with what it is judged by."""

    def __init__(self, fit: Fit, validation: Batches, watch: Callable[[Progress], None]):
        self.fit, self.validation, self.watch = fit, validation, watch
        self.some = validation.first(CHECK_PROMPTS)
        self.progress = Progress(fit.recipe.steps)
        self.best: nn.Module | None = None

    def after_step(self, step: int, loss: float) -> bool:
        self.progress.losses = self.fit.stage.losses
        if step % CHECK_EVERY == 0:
            self.check()
        try:
            self.watch(self.progress)
        except BaseException:
            self.check()  # what comes after is lost unless it is judged now
            raise
        return step - self.progress.best_step >= PATIENCE * CHECK_EVERY

    def check(self) -> None:
        """Judge the network as it is now, and keep it if it is the best."""
        network = self.fit.averaged()
        rho = list(within_by_moment(score_groups(network, self.some, self.fit.device)).values())
        step = len(self.fit.stage.losses)
        self.progress.checks[step] = float(np.nanmean(rho)) if not np.isnan(rho).all() else 0.0
        logging.info("Training: ρ within validation prompts %.3f after %d steps.", self.progress.checks[step], step)
        if self.best is None or self.progress.best_step == step:
            self.best = network

    def finish(self, dataset: Dataset, out: Path, command: str) -> Trained:
        """Write the best network, with what it is worth on all validation prompts."""
        recipe, header = self.fit.recipe, dataset.header
        self.best = self.best.half().float()  # as the file will hold it
        scored = score_groups(self.best, self.validation, self.fit.device)
        numbers = range(len(header.blocks)) if recipe.blocks is None else recipe.blocks
        figures, skilled = figures_of(scored, self.validation)
        runs = self.fit.batches.groups
        card = ProbeCard(
            kind=recipe.kind,
            family=header.family,
            blocks=tuple(header.blocks[number] for number in numbers),
            moments=tuple(f"{percent:.0%}" for percent in scored),
            label=recipe.labels[0],
            heads=recipe.labels,
            network=self.fit.options,
            calibration=quantiles(scored),
            prompts=len({run.prompt for group in runs for run in group.runs}),
            images=sum(len(group.rows) for group in runs),
            command=command,
            held_out=figures,
            skilled=skilled,
            search_skill=asdict(skill_of(scored, self.validation, header.model)),
        )
        reads = "activation" in self.fit.batches.needs
        projection = dataset_projection(dataset.folder) if reads else None
        learnt = sorted({prompt_digest(run.prompt) for group in runs for run in group.runs})
        save_probe(out, card, self.best.cpu().half(), projection, learnt)
        logging.info("Wrote %s: %s", out, figures)
        return Trained(card, scored, self.progress)


def default_moment(scored: Scored) -> float:
    """The noise level nearest to 20 %, of those that at least half as many prompts were recorded at as at any."""
    most = max(len(scores) for scores, _ in scored.values())
    enough = [percent for percent, (scores, _) in scored.items() if 2 * len(scores) >= most]
    return min(enough, key=lambda percent: abs(percent - DEFAULT_PERCENT))


def quantiles(scored: Scored) -> tuple[float, ...]:
    """Of the scores at the default moment, as a card's ``calibration``."""
    scores = scored[default_moment(scored)][0]
    return tuple(float(value) for value in np.quantile(scores, np.linspace(0, 1, QUANTILES)))


def figures_of(scored: Scored, batches: Batches) -> tuple[dict[str, float], bool]:
    """Figures on validation prompts at the default moment, and whether picking by the score pays there."""
    percent = default_moment(scored)
    scores, labels = scored[percent]
    subset = min(protocol.SUBSET, labels.shape[1])
    progress = progress_of(batches)[percent]
    n = min(subset, accuracy.equal_cost_n(progress, 1.0, subset))
    share = protocol.oracle_share(scores, labels, subset).value
    figures = {
        "within_spearman": protocol.within_spearman(scores, labels, resamples=1)[0].value,
        "oracle_share": share,
        "best_of_n_share": protocol.best_of_n_share(labels, n, subset).value,
        **protocol.pooled(scores, labels),
    }
    return {name: value for name, value in figures.items() if np.isfinite(value)}, bool(
        share >= figures["best_of_n_share"]
    )


def progress_of(batches: Batches) -> dict[float, float]:
    """Evaluations done as a share of all, by noise level."""
    runs = [run for group in batches.groups for run in group.runs]
    return {round(moment.percent, 3): moment.step / run.steps for run in runs for moment in run.moments}


def skill_of(scored: Scored, batches: Batches, source: str) -> Skill:
    """What a search may expect of the scores: correlation with the label and spread, within prompts."""
    progress, correlation, spread = progress_of(batches), {}, {}
    for percent, (scores, labels) in scored.items():
        scores, labels = scores - scores.mean(1, keepdims=True), labels - labels.mean(1, keepdims=True)
        size = np.sqrt((scores**2).sum(1) * (labels**2).sum(1))
        both = (scores * labels).sum(1)
        share = min(max(progress[percent], 1e-3), 0.999)
        correlation[share] = float(np.divide(both, size, out=np.zeros_like(both), where=size > 0).mean())
        spread[share] = max(float(scores.std(1).mean()), 1e-9)
    order = sorted(correlation)
    return Skill(
        tuple(order), tuple(correlation[share] for share in order), tuple(spread[share] for share in order), source
    )
