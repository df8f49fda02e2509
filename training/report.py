"""A training as a picture: how it went, how well the probe ranks, and what its scores mean."""

from pathlib import Path

import numpy as np

from .probe_training import Trained, default_moment
from .validation import within_by_moment

BINS = 10


def write_report(path: Path, trained: Trained) -> None:
    """Loss and checks, ρ by moment, scatter and calibration at the default moment, as one PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from scipy.ndimage import uniform_filter1d

    figure, ((loss, moments), (scatter, calibration)) = pyplot.subplots(2, 2, figsize=(9, 7))
    losses = trained.progress.losses
    loss.plot(losses, alpha=0.25, linewidth=0.7)
    loss.plot(uniform_filter1d(losses, min(50, len(losses))))
    loss.set(title="training", xlabel="step", ylabel="loss")
    checks = loss.twinx()
    checks.plot(list(trained.progress.checks), list(trained.progress.checks.values()), "o-", color="tab:green")
    checks.set_ylabel("ρ within validation prompts", color="tab:green")

    rho = within_by_moment(trained.scored)
    moments.plot([100 * percent for percent in rho], list(rho.values()), "o-")
    moments.set(title="how well it ranks the seeds of a prompt", xlabel="noise level, %", ylabel="ρ", ylim=(0, 1))

    percent = default_moment(trained.scored)
    scores, labels = (values.ravel() for values in trained.scored[percent])
    scatter.scatter(scores, labels, s=3, alpha=0.3)
    scatter.set(title=f"at {percent:.0%}", xlabel="score", ylabel=trained.card.label)

    edges = np.quantile(scores, np.linspace(0, 1, BINS + 1))
    bins = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, BINS - 1)
    there = [number for number in range(BINS) if (bins == number).any()]
    means = np.array([[scores[bins == number].mean(), labels[bins == number].mean()] for number in there])
    calibration.plot(*means.T, "o-")
    ends = [means.min(), means.max()]
    calibration.plot(ends, ends, "--", color="grey")
    calibration.set(title="calibration", xlabel="mean score", ylabel=f"mean {trained.card.label}")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
