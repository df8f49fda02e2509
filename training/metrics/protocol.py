"""Statistics of how well a score picks seeds, by which all claims of this pack are measured.

Arrays are ``scores[prompt, seed]`` and ``truth[prompt, seed]``, higher is better. Source: the
protocol of Diffusion Probe and Probe-Select, corrected so that how hard a prompt is can't pass for
skill in choosing a seed: only the order *within* a prompt counts for that.

Everywhere, ties in a score are broken at random with a fixed seed, so that a score which says
nothing is worth nothing. Ties in the truth stay ties.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

SUBSET = 8
"""Number of seeds of which one is picked."""

RESAMPLES = 2000
"""Number of bootstrap resamples of the prompts."""

CONFIDENCE = 0.95

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % bootstrap interval over prompts."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> list[float]:
        """Lower and upper end."""
        return [self.low, self.high]


def checked(scores: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    """Return both arrays as float64 ``[prompt, seed]``.

    Raises:
        ValueError: shapes differ, aren't two-dimensional, hold fewer than two seeds, or NaN/inf.
    """
    scores, truth = np.asarray(scores, np.float64), np.asarray(truth, np.float64)
    if scores.shape != truth.shape or scores.ndim != 2 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise ValueError(
            f"scores {scores.shape} and truth {truth.shape} have to be the same [prompts, seeds] with at least 2 seeds"
        )
    for name, array in (("scores", scores), ("truth", truth)):
        if not np.isfinite(array).all():
            raise ValueError(f"{int((~np.isfinite(array)).sum())} of {array.size} {name} are NaN or infinite")
    return scores, truth


def break_ties(scores: ArrayLike, seed: int = 0) -> Array:
    """Rank scores ``0 … n-1`` along the last axis, equal scores in random order."""
    scores = np.asarray(scores, np.float64)
    lots = np.random.default_rng(seed).random(scores.shape)
    order = np.lexsort((lots, scores), axis=-1)
    return np.argsort(order, axis=-1).astype(np.float64)


# Within prompts ---------------------------------------------------------------------------------


def spearman_per_prompt(scores: ArrayLike, truth: ArrayLike, seed: int = 0) -> Array:
    """Compute Spearman's ρ of each prompt, ``[prompts]`` in -1 … 1; NaN where all true scores are equal."""
    scores, truth = checked(scores, truth)
    left = _standardised(break_ties(scores, seed))
    right = _standardised(stats.rankdata(truth, axis=1))
    rho = (left * right).mean(axis=1)
    rho[np.ptp(truth, axis=1) == 0] = np.nan
    return rho


def within_spearman(
    scores: ArrayLike, truth: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[Estimate, int]:
    """Compute the mean ρ over the prompts whose true scores differ, and the number of the other prompts."""
    rho = spearman_per_prompt(scores, truth, seed)
    kept = rho[~np.isnan(rho)]
    return _bootstrap(_mean, kept[:, None], seed, resamples), int(len(rho) - len(kept))


def subset_weights(seeds: int, subset: int) -> Array:
    """Compute the probability, over all ``subset``-subsets, that the seed ranked r-th best is a subset's best.

    ``[seeds]``, best first; sums to 1. With it, means over all C(16, 8) = 12 870 subsets are one dot
    product, without the luck of having drawn two of them.
    """
    if not 1 <= subset <= seeds:
        raise ValueError(f"a subset of {subset} can't be drawn from {seeds} seeds")
    return np.array([comb(seeds - 1 - rank, subset - 1) for rank in range(seeds)]) / comb(seeds, subset)


def selection_gains(scores: ArrayLike, truth: ArrayLike, subset: int = SUBSET, seed: int = 0) -> Array:
    """Compute what the top-scored of a subset gains over its mean, and what the best gains, ``[prompts, 2]``.

    Averaged over every ``subset``-subset of the seeds, so every disjoint pair is among them.
    """
    scores, truth = checked(scores, truth)
    weights = subset_weights(truth.shape[1], subset)
    by_score = np.take_along_axis(truth, np.argsort(-break_ties(scores, seed), axis=1), axis=1)
    by_truth = -np.sort(-truth, axis=1)
    mean = truth.mean(axis=1)
    return np.stack([by_score @ weights - mean, by_truth @ weights - mean], axis=1)


def oracle_share(
    scores: ArrayLike, truth: ArrayLike, subset: int = SUBSET, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """Compute (mean true score of the top-scored - mean) / (mean best - mean), a ratio of means over prompts.

    Constant prompts are included. 1 for the oracle, 0 for chance, negative for worse than chance.
    NaN when no prompt has anything to gain.
    """
    return _bootstrap(_ratio, selection_gains(scores, truth, subset, seed), seed, resamples)


def best_of_n_gains(truth: ArrayLike, n: float, subset: int = SUBSET) -> Array:
    """Compute :func:`selection_gains` of the best of ``n`` finished images drawn at random.

    A fractional n means n or n + 1 images, drawn so that the expected cost is n.
    """
    truth, _ = checked(truth, truth)
    by_truth = -np.sort(-truth, axis=1)
    mean = truth.mean(axis=1)
    low = int(np.floor(n))
    weights = subset_weights(truth.shape[1], low)
    if n > low:
        weights = weights + (n - low) * (subset_weights(truth.shape[1], low + 1) - weights)
    return np.stack([by_truth @ weights - mean, by_truth @ subset_weights(truth.shape[1], subset) - mean], axis=1)


def best_of_n_share(
    truth: ArrayLike, n: float, subset: int = SUBSET, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """Compute the oracle share of full best-of-n, the baseline for any early choice at equal cost."""
    return _bootstrap(_ratio, best_of_n_gains(truth, n, subset), seed, resamples)


# Pooled over prompts ----------------------------------------------------------------------------


def pooled(scores: ArrayLike, truth: ArrayLike, seed: int = 0) -> dict[str, float]:
    """Compute ``srcc`` (Spearman), ``ktc`` (Kendall tau-b), ``pcc`` (Pearson), ``auc`` over all images at once.

    ``auc`` separates images above the pooled median of the truth from the rest. NaN where undefined
    (constant truth; ``pcc`` also for a constant score). These mostly measure how hard a prompt is.
    """
    scores, truth = (array.ravel() for array in checked(scores, truth))
    ranks = break_ties(scores, seed)
    if np.ptp(truth) == 0:
        return dict.fromkeys(("srcc", "ktc", "pcc", "auc"), float("nan"))
    return {
        "srcc": float(stats.spearmanr(ranks, truth).statistic),
        "ktc": float(stats.kendalltau(ranks, truth, variant="b").statistic),
        "pcc": float(stats.pearsonr(scores, truth).statistic) if np.ptp(scores) else float("nan"),
        "auc": auc(ranks, truth > np.median(truth)),
    }


def auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Compute the area under the ROC curve: how often a positive outscores a negative (ties count half)."""
    scores, positive = np.asarray(scores, np.float64), np.asarray(positive, bool)
    hits, misses = int(positive.sum()), int((~positive).sum())
    if not hits or not misses:
        return float("nan")
    ranks = stats.rankdata(scores)
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


# Intervals and comparisons ----------------------------------------------------------------------


def compare(
    first: ArrayLike, second: ArrayLike, truth: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Compute first minus second by paired bootstrap: both methods have the same resampled prompts.

    Returns ``within_spearman`` and ``oracle_share``; an interval without 0 in it is a difference.
    """
    rho = np.stack([spearman_per_prompt(first, truth, seed), spearman_per_prompt(second, truth, seed)], axis=1)
    rho = rho[~np.isnan(rho).any(axis=1)]
    gains_first, gains_second = (selection_gains(scores, truth, seed=seed) for scores in (first, second))
    return {
        "within_spearman": _bootstrap(lambda mean: mean[..., 0] - mean[..., 1], rho, seed, resamples),
        "oracle_share": compare_gains(gains_first, gains_second, seed, resamples),
    }


def compare_gains(first: Array, second: Array, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Compute the first minus the second oracle share, paired, of two results of :func:`selection_gains`."""

    def difference(means: Array) -> Array:
        return _ratio(means[..., :2]) - _ratio(means[..., 2:])

    return _bootstrap(difference, np.concatenate([first, second], axis=1), seed, resamples)


def mean_over_prompts(per_prompt: ArrayLike, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Compute the mean of one number per prompt ``[prompts]``.

    For paired differences, an interval without 0 is a difference.
    """
    return _bootstrap(_mean, np.asarray(per_prompt, np.float64)[:, None], seed, resamples)


def _bootstrap(statistic: Callable[[Array], Array], per_prompt: Array, seed: int, resamples: int) -> Estimate:
    """Compute ``statistic`` of the column means of ``[prompts, columns]``, with its interval over prompts."""
    count = len(per_prompt)
    if count == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    # Resampling prompts only changes how often each counts: one matrix product does all resamples.
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    draws = statistic(times @ per_prompt / count)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail]) if np.isfinite(draws).any() else (np.nan, np.nan)
    return Estimate(float(statistic(per_prompt.mean(axis=0))), float(low), float(high))


def _mean(means: Array) -> Array:
    return means[..., 0]


def _ratio(means: Array) -> Array:
    gained, possible = means[..., 0], means[..., 1]
    return np.divide(gained, possible, out=np.full_like(np.asarray(gained, np.float64), np.nan), where=possible > 1e-12)


def _standardised(ranks: Array) -> Array:
    """Normalize rows to mean 0 and standard deviation 1; constant rows become 0."""
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    scale = centred.std(axis=1, keepdims=True)
    return np.divide(centred, scale, out=np.zeros_like(centred), where=scale > 0)
