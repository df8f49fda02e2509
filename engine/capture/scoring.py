"""Scores of candidates one by one: what can't be scored leaves the others their scores."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import isfinite

import torch
from comfy.model_management import InterruptProcessingException
from torch import Tensor

from ..core.features import ACTIVATION, ATTENTION, NEEDS, Features
from ..core.probe import Probe, scored_and_decoded
from .taps.activation import NO_ACTIVATION
from .taps.maps import NO_ATTENTION

PREVIEW_PX = 256

NOT_SEEN = (
    "there was no model evaluation to look at. A cache node on the MODEL (LazyCache and the like) skipped it: "
    "let the cache start later, or take it out"
)


@dataclass(frozen=True)
class Verdict:
    """Attributes:
    score: finite, None if there is none.
    error: why there is none.
    picture: what was judged, ``[H, W, 3]``, where the probe decodes.
    """

    score: float | None = None
    error: Exception | None = None
    picture: Tensor | None = None


WITHOUT = {ATTENTION: NO_ATTENTION, ACTIVATION: NO_ACTIVATION}


def why_missing(features: Features, part: str) -> str:
    """Say why a feature that was wanted was not captured; empty if it was."""
    if getattr(features, part) is not None:
        return ""
    return features.why.get(part) or WITHOUT.get(part, "the conditioning has none")


def why_not_seen(features: Features, needs: Collection[str]) -> str | None:
    """Say why a probe can't score what was captured; None if it can."""
    reasons = (why_missing(features, part) for part in NEEDS if part in needs)
    return next((f"nothing was captured, because {why}" for why in reasons if why), None)


def verdicts(score: Callable[[list[Features]], tuple[Tensor, Tensor | None]], rows: list[Features]) -> list[Verdict]:
    """Score all rows, one verdict for each. Where all together raise, each is scored alone.

    Args:
        score: rows → scores ``[rows]`` and pictures ``[rows, H, W, 3]``, or None instead of them.

    Raises:
        InterruptProcessingException: the user stopped the prompt.
    """
    try:
        values, pictures = score(rows)
    except InterruptProcessingException:
        raise
    except Exception as error:
        wrong = error.with_traceback(None)  # its frames hold memory
        values, pictures = None, None
    if values is None:
        if len(rows) == 1:
            return [Verdict(error=wrong)]
        return [verdict for row in rows for verdict in verdicts(score, [row])]
    shown = [None] * len(rows) if pictures is None else list(pictures)
    return [_verdict(value, picture) for _, value, picture in zip(rows, values.tolist(), shown, strict=True)]


def _verdict(value: float, picture: Tensor | None) -> Verdict:
    if isfinite(value):
        return Verdict(value, None, picture)
    error = ValueError(f"its score is {value}. Run the probe's model or the VAE in a wider precision (fp32)")
    return Verdict(None, error, picture)


def score_and_show(probe: Probe, rows: list[Features]) -> tuple[Tensor, Tensor | None]:
    """Compute scores ``[rows]``, and small pictures ``[rows, H, W, 3]`` where the probe decodes its rows."""
    scores, images = scored_and_decoded(probe, rows)
    if images is None:
        return scores, None
    scale = min(1.0, PREVIEW_PX / max(images.shape[1:3]))
    size = [max(1, round(side * scale)) for side in images.shape[1:3]]
    small = torch.nn.functional.interpolate(images.movedim(-1, 1), size, mode="area").movedim(1, -1)
    return scores, small
