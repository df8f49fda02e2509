"""What a probe's file says: what it is and learns from, and of its scores default moment, calibration and figures."""

from collections.abc import Sequence

import numpy as np

from ...engine.core.skill import Skill
from ...probe_models.probe_card import ProbeCard
from ..dataset.run_record import RunRecord
from ..metrics import accuracy, protocol
from ..metrics.validation import Scored
from .fit import Fit

DEFAULT_PERCENT = 0.2
QUANTILES = 101


def default_moment(scored: Scored) -> float:
    """The noise level nearest to 20 %, of those that at least half as many prompts were recorded at as at any."""
    most = max(len(scores) for scores, _ in scored.values())
    enough = [percent for percent, (scores, _) in scored.items() if 2 * len(scores) >= most]
    return min(enough, key=lambda percent: abs(percent - DEFAULT_PERCENT))


def quantiles(scored: Scored) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of the scores at the default moment, and of the labels: a card's ``calibration`` and ``label_quantiles``."""
    at = np.linspace(0, 1, QUANTILES)
    scores, labels = (np.quantile(values, at).tolist() for values in scored[default_moment(scored)])
    return tuple(scores), tuple(labels)


def figures_of(scored: Scored, runs: Sequence[RunRecord]) -> tuple[dict[str, float], bool]:
    """Figures of scores of ``runs`` at the default moment, and whether picking by the score pays there."""
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
    return {name: value for name, value in figures.items() if np.isfinite(value)}, bool(
        share >= figures["best_of_n_share"]
    )


def progress_by_moment(runs: Sequence[RunRecord]) -> dict[float, float]:
    """Evaluations done as a share of all, by noise level."""
    return {round(moment.percent, 3): moment.step / run.steps for run in runs for moment in run.moments}


def skill_of(scored: Scored, runs: Sequence[RunRecord], source: str) -> Skill:
    """What a search may expect of the scores of ``runs``: correlation with the label and spread, within prompts."""
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
    """The card of a probe that is still to be trained.

    Raises:
        ValueError: sizes that no file may have; better said now than when the training ends.
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
