"""Reports of trainings and evaluations as pictures: losses, accuracy by moment, scores against labels, calibration."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..engine.core.files import replace_file
from ..engine.core.plotting import require_matplotlib
from ..engine.core.texts import plain
from ..probe_models.probe_file import TITLES
from .dataset.folder import Dataset
from .evaluation import Evaluation, moment_rows, table_of
from .fitting.held_out import default_moment, progress_by_moment
from .fitting.probe_training import Progress, Trained
from .metrics.validation import Scored

BINS = 10
"""Number of points in the calibration's curve."""

LONGEST_LABEL = 60
"""Largest number of characters of a label that are drawn."""

INTERVALS = {"within_spearman": "within_ci", "oracle_share": "oracle_share_ci"}
"""Keys of a row's intervals, by those of their statistics."""

SMOOTHED = 50
"""Number of steps over which the loss is averaged."""

PANELS = 7.5
"""Height of the four panels above the table, in inches."""

LINE = 0.132
"""Height of a line of the table, in inches."""


def require_drawing() -> None:
    """Refuse to start what takes hours where its report can't be drawn.

    Raises:
        ValueError: there is no matplotlib; the message says what to install.
    """
    require_matplotlib()


def curve(progress: Progress) -> np.ndarray:
    """Draw losses and checks so far as a small picture, uint8 ``[height, width, 3]``."""
    with _figure(5.2, 3.2) as figure:
        _draw_losses(figure.subplots(), progress)
        figure.tight_layout()
        return pixels(figure)


def training_report(name: str, trained: Trained, dataset: Dataset) -> Any:
    """Draw a training, measured on its validation prompts, as a matplotlib figure.

    Args:
        name: of the probe.
        trained: result of the training.
        dataset: that it was trained on.
    """
    rows = moment_rows(trained.scored, progress_by_moment(dataset.runs), name)
    return _report(trained.card.label, trained.scored, rows, trained.progress)


def evaluation_report(evaluation: Evaluation) -> Any:
    """Draw an evaluation as a matplotlib figure."""
    return _report(evaluation.label, evaluation.scored, evaluation.rows, None)


def pixels(figure: Any) -> np.ndarray:
    """Draw a figure as pixels, uint8 ``[height, width, 3]``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def image(figure: Any) -> torch.Tensor:
    """Draw a figure as ComfyUI's IMAGE, ``[1, height, width, 3]``."""
    return torch.from_numpy(pixels(figure)).float()[None] / 255


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG."""
    replace_file(path, lambda unfinished: figure.savefig(unfinished, format="png"))


def training_text(name: str, trained: Trained, damaged: int = 0) -> str:
    """Describe the result of a training in a few lines."""
    card, progress, held_out = trained.card, trained.progress, trained.card.held_out
    lines = [
        f"{name}: {TITLES[card.kind]} for {card.family}, learnt {', '.join(card.heads)} from {card.images} images of "
        f"{card.prompts} prompts.",
        f"{len(progress.losses)} of {progress.steps} steps, the best network after {progress.best_step}.",
    ]
    if "oracle_share" in held_out:
        lines.append(
            f"On its validation prompts, at {default_moment(trained.scored):.0%} of the noise range: within-prompt ρ "
            f"{held_out.get('within_spearman', 0):.2f}, oracle share {held_out['oracle_share']:.2f} where full images "
            f"at equal cost have {held_out['best_of_n_share']:.2f}."
        )
    if not card.skilled:
        lines.append(
            "Picking by its score gains less than full images of other seeds at equal cost: it counts as unskilled and "
            'drops nothing unless you say "use anyway". Record more prompts.'
        )
    if damaged:
        lines.append(f"{damaged} recorded runs can't be used and were left out; the log names them.")
    return "\n".join(lines)


@contextmanager
def _figure(width: float, height: float) -> Iterator[Any]:
    """Make a figure to draw on in the block. Its texts are drawn as they are written: a dollar sign begins no formula.

    Raises:
        ValueError: there is no matplotlib.
    """
    matplotlib = require_matplotlib()
    with matplotlib.rc_context({"text.parse_math": False, "text.usetex": False}):
        yield matplotlib.figure.Figure((width, height), dpi=100)


def _report(label: str, scored: Scored, rows: list[dict[str, Any]], progress: Progress | None) -> Any:
    label = plain(label, LONGEST_LABEL)
    text = _columns(table_of(rows))
    below = LINE * (text.count("\n") + 2)
    height = PANELS + below
    with _figure(10, height) as figure:
        inside = {"top": 1 - 0.35 / height, "bottom": (below + 0.7) / height, "left": 0.08, "right": 0.97}
        grid = figure.add_gridspec(2, 2, hspace=0.4, wspace=0.4, **inside)
        first, second, third, fourth = (figure.add_subplot(grid[number // 2, number % 2]) for number in range(4))
        _draw_by_moment(second, rows, "oracle_share", "oracle share")
        if progress is None:
            _draw_by_moment(first, rows, "within_spearman", "ρ within prompts")
        else:
            _draw_losses(first, progress)
        percent = default_moment(scored)
        scores, labels = (values.ravel() for values in scored[percent])
        third.scatter(scores, labels, s=3, alpha=0.3)
        third.set(title=f"at {percent:.0%}", xlabel="score", ylabel=label)
        _draw_calibration(fourth, scores, labels, label)
        figure.text(0.03, below / height, text, family="monospace", fontsize=7, va="top")
        return figure


def _columns(markdown: str) -> str:
    """Write a Markdown table with columns of equal width, without its lines."""
    lines = [line.strip("|").split("|") for line in markdown.splitlines()]
    cells = [[cell.strip() for cell in line] for number, line in enumerate(lines) if number != 1]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)) for line in cells)


def _draw_losses(axes: Any, progress: Progress) -> None:
    losses = np.array(progress.losses)
    if len(losses):
        width = min(SMOOTHED, len(losses))
        axes.plot(losses, alpha=0.25, linewidth=0.7)
        smooth = np.convolve(losses, np.ones(width) / width, "valid")
        axes.plot(np.arange(len(smooth)) + width - 1, smooth)
        axes.set_ylim(0, 1.1 * np.quantile(losses, 0.99))
    axes.set(title=f"training, step {len(losses)} of {progress.steps}", xlabel="step", ylabel="loss")
    checks = axes.twinx()
    checks.plot(list(progress.checks), list(progress.checks.values()), "o-", color="tab:green")
    checks.set_ylabel("ρ within validation prompts", color="tab:green")


def _draw_by_moment(axes: Any, rows: list[dict[str, Any]], key: str, name: str) -> None:
    """Draw a statistic over the noise level: that of the probe with its interval, and those of the baselines."""
    interval = INTERVALS[key]
    for number, probe in enumerate(dict.fromkeys(row["probe"] for row in rows)):
        known = [row for row in rows if row["probe"] == probe and row[key] is not None and row[interval] is not None]
        at = [100 * row["percent"] for row in known]
        axes.plot(at, [row[key] for row in known], "o-" if number == 0 else ".--", label=probe)
        if number == 0:
            axes.fill_between(at, [row[interval][0] for row in known], [row[interval][1] for row in known], alpha=0.2)
    axes.set(title=f"{name}, 95 % interval over prompts", xlabel="noise range done, %", ylabel=name)
    axes.legend(fontsize=7)


def _draw_calibration(axes: Any, scores: np.ndarray, labels: np.ndarray, label: str) -> None:
    edges = np.quantile(scores, np.linspace(0, 1, BINS + 1))
    bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, BINS - 1)
    filled = [bins == number for number in range(BINS) if (bins == number).any()]
    means = np.array([[scores[inside].mean(), labels[inside].mean()] for inside in filled])
    axes.plot(*means.T, "o-")
    ends = [means.min(), means.max()]
    axes.plot(ends, ends, "--", color="grey")
    axes.set(title="calibration: tenths of the scores", xlabel="mean score", ylabel=f"mean {label}")
