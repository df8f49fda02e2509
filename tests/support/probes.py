"""Probes and rewards that do arithmetic on what they get."""

import torch
from diffusion_probe.engine.core.probe import Probe


class MeanOfX0(Probe):
    """A probe that needs attention and x0 and scores by the mean of x0."""

    name, label, needs, skilled = "mean of x0", "mean", frozenset({"attention", "denoised"}), True
    calibration = ()

    def score(self, rows):
        return torch.stack([row.denoised.mean() for row in rows])


class ByRow(Probe):
    """A probe that scores rows 1 and 3 best, whatever they hold."""

    name, label, needs, skilled, calibration = "by row", "liking", frozenset({"denoised"}), True, ()
    values = (0.1, 0.9, 0.2, 0.8)

    def score(self, rows):
        return torch.tensor(self.values[: len(rows)])
