"""Means and within-prompt spreads of rewards on real models, by which rewards are put on one scale.

They come from a committed benchmark result: ``python -m benchmarks.tables`` writes the file from it.
"""

import functools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

FILE = Path(__file__).parent / "spreads.json"


class Scale(NamedTuple):
    """Mean of a reward over prompts and seeds, and its standard deviation between the seeds of one prompt."""

    mean: float
    spread: float


def measured_scale(label: str, family: str, percent: float) -> Scale | None:
    """Return the scale of a reward's scores of previews at one noise level; None if it was not measured.

    Args:
        label: of the reward, as ``Reward.label``.
        family: of the sampled model, as ``Features.family``. For another than the measured ones: the mean of them.
        percent: noise level, as ``Features.percent``; 1 for finished images.
    """
    families = _measured()["rewards"].get(label)
    if families is None:
        return None
    levels = [families[family]] if family in families else list(families.values())
    mean, spread = (
        float(np.mean([np.interp(percent, level["percent"], level[key]) for level in levels]))
        for key in ("mean", "spread")
    )
    return Scale(mean, spread)


def measured_on() -> str:
    """Return what the scales were measured on, for reports."""
    return _measured()["source"]


@functools.cache
def _measured() -> dict:
    return json.loads(FILE.read_text(encoding="utf-8"))
