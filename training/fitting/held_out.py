"""Fields of a probe's card: its training data, and calibration, figures and skill on held-out prompts."""

from collections.abc import Sequence

import numpy as np

from ...engine.core.skill import Skill
from ...probe_models.probe_card import ProbeCard
from ..dataset.run_record import RunRecord
from ..metrics import accuracy, protocol
from ..metrics.validation import Scored
from .fit import Fit

DEFAULT_PERCENT = 0.2
"""Noise level at which a probe's figures are measured, or the recorded one next to it."""

QUANTILES = 101
"""Number of quantiles in a card's calibration."""


def default_moment(scored: Scored) -> float:
    """Return the noise level next to 20 %, of those with at least half as many prompts as the one with most."""
    most = max(len(scores) for scores, _ in scored.values())
    enough = [percent for percent, (scores, _) in scored.items() if 2 * len(scores) >= most]
    return min(enough, key=lambda percent: abs(percent - DEFAULT_PERCENT))


def quantiles(scored: Scored) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute a card's ``calibration`` and ``label_quantiles``, of scores and labels at the default moment."""
    at = np.linspace(0, 1, QUANTILES)
    scores, labels = (np.quantile(values, at).tolist() for values in scored[default_moment(scored)])
    return tuple(scores), tuple(labels)


def figures_of(scored: Scored, runs: Sequence[RunRecord]) -> tuple[dict[str, float], bool]:
    """Compute a card's ``held_out`` and ``skilled`` of scores at the default moment.

    Skilled is a score by which a choice gains at least what full images gain at equal cost.

    Args:
        scored: scores and labels of rows.
        runs: those of the rows.
    """
    percent = default_moment(scored)
    scores, labels = scored[percent]
    subset = min(protocol.SUBSET, labels.shape[1])
    n = min(subset, accuracy.equal_cost_n(progress_by_moment(runs)[percent], 1.0, subset))
    share = protocol.oracle_share(scores, labels, subset).value
    figures = {
        "within_spearman": protocol.within_spearman(scores, labels, resamples=1)[0].value,
        "oracle_share": share,
        "label_spread": float(labels.std(1).mean()),
        "best_of_n_share": protocol.best_of_n_share(labels, n, subset).value,
        **protocol.pooled(scores, labels),
    }
    finite = {name: value for name, value in figures.items() if np.isfinite(value)}
    return finite, bool(share >= figures["best_of_n_share"])


def progress_by_moment(runs: Sequence[RunRecord]) -> dict[float, float]:
    """Return the share of a run's evaluations that are done at each recorded noise level."""
    return {round(moment.percent, 3): moment.step / run.steps for run in runs for moment in run.moments}


def skill_of(scored: Scored, runs: Sequence[RunRecord], source: str) -> Skill:
    """Measure the skill of scores: their correlation with the label and their spread, within prompts.

    Args:
        scored: scores and labels of rows.
        runs: those of the rows.
        source: see ``Skill``.
    """
    progress, correlation, spread = progress_by_moment(runs), {}, {}
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


def describe(fit: Fit, command: str) -> ProbeCard:
    """Make the card of a probe before its training, without its figures.

    Args:
        command: that trains it.

    Raises:
        ValueError: sizes that no file may have, so that a training doesn't end with an error.
    """
    recipe, header, groups = fit.recipe, fit.header, fit.batches.groups
    numbers = range(len(header.blocks)) if recipe.blocks is None else recipe.blocks
    return ProbeCard(
        kind=recipe.kind,
        family=header.family,
        blocks=tuple(header.blocks[number] for number in numbers),
        moments=(),
        label=recipe.labels[0],
        heads=recipe.labels,
        network=fit.options,
        prompts=len({run.prompt for group in groups for run in group.runs}),
        images=sum(len(group.rows) for group in groups),
        command=command,
    )
