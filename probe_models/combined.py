"""Combination of a trained probe and previews in one probe."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engine.core.features import Features
from ..engine.core.probe import Probe
from ..engine.core.skill import Skill
from .preview import PreviewReward
from .probe_file import LearnedProbe


class CombinedProbe(Probe):
    """Probe whose score is the weighted mean of the scores of two probes; the weights depend on the noise level.

    Args:
        trained, preview: the probes.
        percents: noise levels, ascending, as ``Features.percent``.
        weights: of both scores at each, summing to 1.
        search_skill: of the mean, as :attr:`Probe.search_skill`.

    Raises:
        ValueError: the probes have different labels.
    """

    def __init__(
        self,
        trained: LearnedProbe,
        preview: PreviewReward,
        percents: Sequence[float],
        weights: Sequence[tuple[float, float]],
        search_skill: Skill | None = None,
    ):
        if trained.label != preview.label:
            raise ValueError(
                f"{trained.name} predicts {trained.label}, and {preview.name} measures {preview.label}. Connect the "
                f"reward {trained.label} to the preview's probe, or train a probe on {preview.label}."
            )
        self.trained = self.free_part = trained
        self.preview = preview
        self.percents, self.weights, self.search_skill = percents, weights, search_skill
        self.name, self.label = f"{trained.name} with preview", trained.label
        self.needs = trained.needs | preview.needs
        self.family, self.blocks, self.projection = trained.family, trained.blocks, trained.projection
        self.families = preview.families
        self.least_rows = preview.least_rows
        self.skilled = trained.skilled or preview.skilled

    def score(self, rows: Sequence[Features]) -> Tensor:
        """Score rows captured at one moment, ``[rows]`` float32."""
        return self.score_and_decode(rows)[0]

    def look_tflop(self, pixels: float) -> float:
        """Return what the preview's look takes; see :meth:`Probe.look_tflop`."""
        return self.preview.look_tflop(pixels)

    def for_model(self, model: Any) -> "CombinedProbe":
        """Return the probe with the preview's decoder for a MODEL; see :meth:`Probe.for_model`."""
        mine = copy.copy(self)
        mine.preview = self.preview.for_model(model)
        return mine

    def score_and_decode(self, rows: Sequence[Features], longest: int | None = None) -> tuple[Tensor, Tensor]:
        """Score rows and return their previews; see :meth:`Probe.score_and_decode`."""
        previewed, images = self.preview.score_and_decode(rows, longest)
        return self.together(rows, self.trained.score(rows), previewed), images

    def require_ready(self, latent: Sequence[int], prompt: str) -> None:
        """Refuse what :class:`PreviewReward` refuses; see :meth:`Probe.require_ready`."""
        self.preview.require_ready(latent, prompt)

    def for_one_search(self, prompt: str) -> "CombinedProbe":
        """Return the same mean with the preview's probe of one search; see :meth:`Probe.for_one_search`."""
        preview = self.preview.for_one_search(prompt)
        return CombinedProbe(self.trained, preview, self.percents, self.weights, self.search_skill)

    def remarks(self, rows: Sequence[Features] = ()) -> tuple[str, ...]:
        """Return the remarks of the preview's probe; see :meth:`Probe.remarks`."""
        return self.preview.remarks(rows)

    def together(self, rows: Sequence[Features], trained: Tensor, preview: Tensor) -> Tensor:
        """Return the weighted mean of both probes' scores of rows, ``[rows]``."""
        at = [row.percent for row in rows]
        first, second = (
            torch.tensor(np.interp(at, self.percents, weights), dtype=torch.float32) for weights in zip(*self.weights)
        )
        return first * trained + second * preview
