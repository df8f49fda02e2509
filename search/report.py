"""Scores and selections as the user reads them, in JSON and in words."""

from collections.abc import Sequence

from .gate import Decision
from .ranking import best_first, percentiles_in_batch, ranks
from .scores import Scores
from .select import Selection


def score_rows(scores: Scores) -> list[dict]:
    """One JSON object per row, in row order. Seeds are text: JavaScript rounds 64-bit numbers."""
    places, percentiles = ranks(scores.values), percentiles_in_batch(scores.values)
    return [
        {
            "row": row,
            "seed": str(scores.seeds[row]),
            "score": scores.values[row],
            "rank": places[row],
            "percentile_in_batch": round(percentiles[row], 1),
            **({"dropped_at": scores.dropped_at[row]} if scores.dropped_at else {}),
        }
        for row in range(len(scores))
    ]


def score_report(scores: Scores) -> dict:
    """What Probe Score sends to the frontend."""
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
    """A heading and one line per row, best first."""
    head = [f"{scores.probe} at {scores.moment} (step {scores.step}), {scores.label}, higher is better"]
    if not scores.skilled:
        head.append("This score has no measured skill: look, but don't trust it.")
    if scores.note:
        head.append(scores.note)
    rows = sorted(score_rows(scores), key=lambda row: row["rank"])
    return "\n".join(head + [_line(row) for row in rows])


def _line(row: dict) -> str:
    dropped = f", dropped at {row['dropped_at']}" if row.get("dropped_at") else ""
    return f"{row['rank']}. {row['score']:.4g}  seed {row['seed']}  (row {row['row']}{dropped})"


def image_scores_report(values: Sequence[float], label: str) -> dict:
    """What Score Images sends to the frontend."""
    places = ranks(values)
    return {
        "rows": [{"row": row, "score": value, "rank": places[row]} for row, value in enumerate(values)],
        "label": label,
    }


def image_scores_text(values: Sequence[float], label: str) -> str:
    """A heading and one line per image, best first."""
    lines = [f"{place}. {values[row]:.4g}  (image {row})" for place, row in enumerate(best_first(values), start=1)]
    return "\n".join([f"{label}, higher is better", *lines])


def selection_report(selection: Selection, scores: Scores) -> dict:
    """What Early Seed Filter sends to the frontend."""
    rows = score_rows(scores)
    return {
        "kept": [rows[row] for row in selection.kept],
        "dropped": [rows[row] for row in selection.dropped],
        "reason": selection.reason,
        "continuation": continuation_note(scores),
    }


def selection_text(selection: Selection, scores: Scores) -> str:
    """The reason, what was kept, and a warning where continuing the run changes the image."""
    kept = [f"kept seed {scores.seeds[row]}: {scores.values[row]:.4g}" for row in selection.kept if selection.dropped]
    note = continuation_note(scores) if selection.kept else ""
    return "\n".join([selection.reason, *kept, *([note] if note else [])])


def gate_report(decision: Decision, blocked: bool) -> dict:
    """What Prompt Gate sends to the frontend."""
    return {
        "passed": decision.passed,
        "blocked": blocked,
        "score": decision.score,
        "measured": decision.measured,
        "reason": decision.reason,
    }


def gate_text(decision: Decision, blocked: bool) -> str:
    """The reason, and which way it goes."""
    if blocked:
        return f"{decision.reason} Everything behind this node is skipped."
    return f"{decision.reason} Took {'passing' if decision.passed else 'otherwise'}."


def continuation_note(scores: Scores) -> str:
    """A sentence for samplers whose run, cut here and continued in another node, ends elsewhere."""
    if scores.exact_continuation is not False:
        return ""
    sampler = scores.sampler.removeprefix("sample_") or "This sampler"
    return (
        f"{sampler} does not continue exactly when a run is cut in two nodes: the finished images differ from those "
        "of one uninterrupted run. Exact are euler, euler_cfg_pp, ddim, heun, dpm_2 and exp_heun_2_x0."
    )


def seeds_text(scores: Scores) -> str:
    """The seeds as Seed Batch takes them."""
    return ", ".join(str(seed) for seed in scores.seeds)
