"""Table of a measurement: every probe and every baseline, by the protocol."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import protocol

REFERENCE = "preview"
"""Name of the probe that the others are compared with: it needs no training, so a trained one has to beat it."""

POOLED = ("srcc", "ktc", "pcc", "auc")
"""Names of the statistics over all images at once, as in ``protocol.pooled``."""


def equal_cost_n(step: float, steps: float, candidates: int = protocol.SUBSET) -> float:
    """Compute how many full images cost as much as ``candidates`` runs cut after ``step``, of which one is finished."""
    return (candidates * step + steps - step) / steps


def rows_of(
    lines: Sequence[dict[str, Any]], steps: Sequence[int], run_steps: int, seed: int, reference: str = REFERENCE
) -> list[dict[str, Any]]:
    """Compute one row of statistics per probe or baseline and step.

    Args:
        lines: one per prompt: ``truth`` of its candidates, ``others`` (truth of further seeds),
            ``scores[probe][step]``. A probe may be missing from some prompts: its row says how many
            it was measured on.
        steps: evaluations at which the probes scored.
        run_steps: evaluations of a whole run.
        seed: of random scores, ties and intervals.
        reference: the probe that the others are compared with, pairwise on the prompts of both.
    """
    truth = np.array([line["truth"] for line in lines])
    others = np.array([line["others"] for line in lines]).mean(axis=1, keepdims=True)
    baselines = {
        "random": np.random.default_rng([seed, 1]).random(truth.shape),  # not the numbers that break ties
        "text-only": np.repeat(others, truth.shape[1], axis=1),
        "oracle": truth,
    }
    probes = list(dict.fromkeys(name for line in lines for name in line["scores"]))
    rows = []
    for step in steps:
        n = equal_cost_n(step, run_steps)
        for name in probes:
            measured = [index for index, line in enumerate(lines) if name in line["scores"]]
            scores = _scores(lines, measured, name, step)
            row = {"probe": name, "step": step, **figures(scores, truth[measured], n, seed)}
            both = [index for index in measured if reference in lines[index]["scores"]]
            if name != reference and both:
                first, second = (_scores(lines, both, probe, step) for probe in (name, reference))
                for key, difference in protocol.compare(first, second, truth[both], seed).items():
                    row |= {
                        f"{key}_over_{reference}": difference.value,
                        f"{key}_over_{reference}_ci": difference.interval,
                    }
            rows.append(row)
        for name, scores in baselines.items():
            rows.append({"probe": name, "step": step, **figures(scores, truth, n, seed)})
        rows.append({"probe": "best-of-n", "step": step, **best_of_n_figures(truth, n, seed)})
    return rows


def _scores(lines: Sequence[dict[str, Any]], indices: Sequence[int], probe: str, step: int) -> np.ndarray:
    return np.array([lines[index]["scores"][probe][str(step)] for index in indices])


def figures(
    scores: np.ndarray, truth: np.ndarray, n: float, seed: int, subset: int = protocol.SUBSET
) -> dict[str, Any]:
    """Compute the protocol's statistics of one score, and its oracle share minus that of best-of-n at equal cost."""
    within, left_out = protocol.within_spearman(scores, truth, seed)
    share = protocol.oracle_share(scores, truth, subset, seed)
    gains = protocol.selection_gains(scores, truth, subset, seed)
    over = protocol.compare_gains(gains, protocol.best_of_n_gains(truth, n, subset), seed)
    return {
        "within_spearman": within.value,
        "within_ci": within.interval,
        "oracle_share": share.value,
        "oracle_share_ci": share.interval,
        **protocol.pooled(scores, truth, seed),
        "share_over_best_of_n": over.value,
        "share_over_best_of_n_ci": over.interval,
        "prompts": len(truth),
        "constant_prompts": left_out,
    }


def best_of_n_figures(truth: np.ndarray, n: float, seed: int, subset: int = protocol.SUBSET) -> dict[str, Any]:
    """Compute the statistics of full best-of-n, which has none but an oracle share."""
    share = protocol.best_of_n_share(truth, n, subset, seed)
    return {
        "n": n,
        **dict.fromkeys(("within_spearman", "within_ci"), None),
        "oracle_share": share.value,
        "oracle_share_ci": share.interval,
        **dict.fromkeys(POOLED, None),
        "prompts": len(truth),
    }


def table(
    rows: list[dict[str, Any]],
    by: str = "step",
    pooled: Sequence[str] = ("srcc", "auc"),
    counts: Sequence[str] = (),
) -> str:
    """Write rows as a Markdown table.

    Args:
        by: the key of the first column.
        pooled: keys of the statistics after those within prompts.
        counts: keys of the last columns.
    """
    names = [by, "probe", "within-prompt ρ", "oracle share", *(name.upper() for name in pooled), *counts]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for row in rows:
        cells = [f"{row[by]}", row["probe"]]
        for value, interval in (("within_spearman", "within_ci"), ("oracle_share", "oracle_share_ci")):
            known = row[value] is not None
            cells.append(f"{row[value]:.2f} [{row[interval][0]:.2f}, {row[interval][1]:.2f}]" if known else "")
        cells += [f"{row[name]:.2f}" if row[name] is not None else "" for name in pooled]
        cells += [f"{row[name]}" for name in counts]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
