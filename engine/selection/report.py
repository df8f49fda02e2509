"""Reports of scores and selections for the user, as JSON and as text."""

from collections.abc import Sequence

from ..core.ranking import best_first, percentiles_in_batch, ranks
from ..core.samplers import history_note
from ..core.scores import Scores
from .gate import Decision
from .select import Selection

SIDES = ("positive", "negative")
"""Conditionings that can be cut with the latent."""


def score_rows(scores: Scores) -> list[dict]:
    """Return one JSON object per row, in row order. Seeds are text: JavaScript rounds 64-bit numbers."""
    by_rank, percentiles = ranks(scores.values), percentiles_in_batch(scores.values)
    return [
        {
            "row": row,
            "seed": str(scores.seeds[row]),
            "score": scores.values[row],
            "rank": by_rank[row],
            "percentile_in_batch": round(percentiles[row], 1),
            **({"dropped_at": scores.dropped_at[row]} if scores.dropped_at else {}),
        }
        for row in range(len(scores))
    ]


def score_report(scores: Scores) -> dict:
    """Return the scores of a batch as JSON for the frontend."""
    return {
        "rows": score_rows(scores),
        "probe": scores.probe,
        "label": scores.label,
        "moment": scores.moment,
        "step": scores.step,
        "skilled": scores.skilled,
        "model_rows": scores.model_rows,
    }


def score_text(scores: Scores) -> str:
    """Return a heading and one line per row, best first."""
    head = [f"{scores.probe} at {scores.moment} (step {scores.step}), {scores.label}, higher is better"]
    if not scores.skilled:
        head.append("This score has no measured skill: look, but don't trust it.")
    head += [note for note in (scores.note, alone_note(scores)) if note]
    rows = sorted(score_rows(scores), key=lambda row: row["rank"])
    return "\n".join(head + [_line(row) for row in rows])


def _line(row: dict) -> str:
    dropped = f", dropped at {row['dropped_at']}" if row.get("dropped_at") else ""
    return f"{row['rank']}. {row['score']:.4g}  seed {row['seed']}  (row {row['row']}{dropped})"


def image_scores_report(values: Sequence[float], label: str) -> dict:
    """Return the rewards of images as JSON for the frontend."""
    by_rank = ranks(values)
    return {
        "rows": [{"row": row, "score": value, "rank": by_rank[row]} for row, value in enumerate(values)],
        "label": label,
    }


def image_scores_text(values: Sequence[float], label: str, remarks: Sequence[str] = ()) -> str:
    """Return a heading, remarks and one line per image, best first."""
    lines = [f"{rank}. {values[row]:.4g}  (image {row})" for rank, row in enumerate(best_first(values), start=1)]
    return "\n".join([f"{label}, higher is better", *remarks, *lines])


def selection_report(selection: Selection, scores: Scores) -> dict:
    """Return a selection as JSON for the frontend."""
    rows = score_rows(scores)
    return {
        "kept": [rows[row] for row in selection.kept],
        "dropped": [rows[row] for row in selection.dropped],
        "reason": selection.reason,
        "continuation": continuation_note(scores),
        "alone": alone_note(scores),
    }


def selection_text(selection: Selection, scores: Scores) -> str:
    """Return the reason, the kept rows, and warnings where a continuation, or a seed alone, gives another image."""
    kept = [f"kept seed {scores.seeds[row]}: {scores.values[row]:.4g}" for row in selection.kept if selection.dropped]
    notes = [note for note in (continuation_note(scores), alone_note(scores)) if note and selection.kept]
    return "\n".join([selection.reason, *kept, *notes])


def gate_report(decision: Decision, blocked: bool) -> dict:
    """Return a gate's decision as JSON for the frontend."""
    return {
        "passed": decision.passed,
        "blocked": blocked,
        "score": decision.score,
        "measured": decision.measured,
        "reason": decision.reason,
    }


def gate_text(decision: Decision, blocked: bool) -> str:
    """Return the reason of a decision, and the branch that runs."""
    if blocked:
        return f"{decision.reason} Everything behind this node is skipped."
    return f"{decision.reason} Took {'passing' if decision.passed else 'otherwise'}."


def continuation_note(scores: Scores) -> str:
    """Return the notes on a second sampler that continues the rows; empty without any, and for finished rows."""
    if scores.finished:
        return ""
    reasons = scores.why_not_cut or ((history_note(scores.sampler),) if scores.exact_continuation is False else ())
    advice = ("Pruning and seed searches need no cut.",) if reasons else ()
    return " ".join([*reasons, *advice, *scores.cut_needs, *(_per_row_note(*fields) for fields in scores.per_row)])


def _per_row_note(side: str, fields: tuple[str, ...]) -> str:
    own = f"Each row has its own {' and '.join(fields)} in {side}"
    if side not in SIDES:
        return f"{own}, which can't be cut with the latent: prune or search in one sampler instead."
    return (
        f"{own}: connect {side} here, and kept {side} to the second sampler. Otherwise kept rows go on with those of "
        "other rows."
    )


def alone_note(scores: Scores) -> str:
    """Return why a seed alone gives another image than its row; empty if it gives the same."""
    return " ".join(["A seed alone gives another image.", *scores.why_not_alone]) if scores.why_not_alone else ""


def seeds_text(scores: Scores) -> str:
    """Return the seeds as a list that can be sampled again."""
    return ", ".join(str(seed) for seed in scores.seeds)
