"""Scores of rows, in which a row that can't be scored does not affect the others."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import isfinite

import torch
from comfy.model_management import InterruptProcessingException
from torch import Tensor

from ..core.features import ACTIVATION, ATTENTION, NEEDS, Features
from ..core.probe import Probe, scored_and_decoded
from ..core.scores import PICTURE_PX
from .hooks.activation import NO_ACTIVATION
from .hooks.maps import NO_ATTENTION

NOT_CAPTURED = (
    "there was no model evaluation to capture. A cache node on the MODEL (LazyCache and the like) skipped it: "
    "let the cache start later, or take it out"
)


@dataclass(frozen=True)
class RowScore:
    """Score of one row, or why it has none.

    Attributes:
        score: finite, None if there is none.
        error: the reason why there is none.
        picture: the image that was scored, ``[H, W, 3]`` uint8 of at most 512 px, where the probe decodes images.
    """

    score: float | None = None
    error: Exception | None = None
    picture: Tensor | None = None


WITHOUT = {ATTENTION: NO_ATTENTION, ACTIVATION: NO_ACTIVATION}


def why_missing(features: Features, name: str) -> str:
    """Return why a needed field of :class:`Features` was not captured; empty if it was."""
    if getattr(features, name) is not None:
        return ""
    return features.why.get(name) or WITHOUT.get(name, "the conditioning has none")


def why_not_scored(features: Features, needs: Collection[str]) -> str | None:
    """Return why a probe with these needs can't score features, None if it can."""
    reasons = (why_missing(features, name) for name in NEEDS if name in needs)
    return next((f"nothing was captured, because {why}" for why in reasons if why), None)


def row_scores(score: Callable[[list[Features]], tuple[Tensor, Tensor | None]], rows: list[Features]) -> list[RowScore]:
    """Score rows, each one alone if scoring them together raises.

    Args:
        score: returns scores ``[rows]`` and pictures ``[rows, H, W, 3]`` of rows, or None instead of pictures.
        rows: the features.

    Raises:
        InterruptProcessingException: the user stopped the prompt.
    """
    try:
        scores, pictures = score(rows)
        values = scores.tolist()
    except InterruptProcessingException:
        raise
    except Exception as error:
        wrong = error.with_traceback(None)  # its frames hold memory
        values, pictures = None, None
    if values is None:
        if len(rows) == 1:
            return [RowScore(error=wrong)]
        return [alone for row in rows for alone in row_scores(score, [row])]
    shown = [None] * len(rows) if pictures is None else list(pictures)
    return [_row_score(value, picture) for _, value, picture in zip(rows, values, shown, strict=True)]


def _row_score(value: float, picture: Tensor | None) -> RowScore:
    if isfinite(value):
        return RowScore(value, None, picture)
    error = ValueError(f"its score is {value}. Run the probe's model or the VAE in a wider precision (fp32)")
    return RowScore(None, error, picture)


def score_and_show(probe: Probe, rows: list[Features]) -> tuple[Tensor, Tensor | None]:
    """Return scores ``[rows]``, and pictures from a probe that decodes images, else None.

    The pictures are ``[rows, H, W, 3]`` uint8 with a longer side of at most 512 px, so that a picture takes less than
    1 MB.
    """
    scores, images = scored_and_decoded(probe, rows, PICTURE_PX)
    return scores, None if images is None else (images.clamp(0, 1) * 255).round().to(torch.uint8)
