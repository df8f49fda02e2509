"""Base class of probes, which turn captured features into scores."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .features import NEEDS, Features
from .skill import Skill
from .texts import plain


class Probe(ABC):
    """Predictor of how good a finished image will be, from features captured early in its run.

    A subclass defines ``name``, ``label``, ``needs`` and :meth:`score`; the other attributes have defaults.

    Attributes:
        name: short name shown to the user, for example ``"attention focus"``.
        label: what the score is measured in, for example ``"focus"`` or ``"ImageReward"``. Scores of
            different labels are never compared.
        needs: which parts of :class:`Features` have to be captured, a subset of ``features.NEEDS``.
        least_rows: how many rows of a prompt have to be scored together, as :attr:`Reward.least_images`.
        skilled: whether picking by the score at the default moment was measured to gain at least
            what full images of other seeds gain at the same cost (``docs/results/probe-accuracy.md``).
            A score without skill drops nothing by default.
        calibration: scores on images it was not trained on, as ``engine.core.scores.Scores.calibration``
            holds them; empty for a probe without training.
        family: name of the model family that the probe was trained for, as ``Features.family``. Models of
            other families are refused. None: the probe reads every model.
        families: names of the model families that an untrained probe can score, where not all. Empty: all.
        blocks: names of the attention blocks that the probe reads, as in ``Features.blocks``. Models
            without them are refused. Empty for a probe that reads whatever was captured.
        projection: ``[kept channels, channels]``, applied to a captured activation. None: all channels are kept.
        search_skill: how well the score predicts the finished image at each moment. None: not measured.
        free_part: probe whose score is part of this one, in the same unit, and costs nothing. None: there is none.
    """

    name: str
    label: str
    needs: frozenset[str]
    least_rows: int = 1
    skilled: bool = False
    calibration: tuple[float, ...] = ()
    family: str | None = None
    families: frozenset[str] = frozenset()
    blocks: tuple[str, ...] = ()
    projection: Tensor | None = None
    search_skill: Skill | None = None
    free_part: "Probe | None" = None

    @abstractmethod
    def score(self, rows: Sequence[Features]) -> Tensor:
        """Score rows captured at one moment.

        Returns:
            float32 tensor ``[len(rows)]``, higher is better.

        Raises:
            ValueError: features that the probe needs are missing, or of a shape it can't use.
        """

    def score_and_decode(self, rows: Sequence[Features], longest: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Score rows as :meth:`score` does, and return the images that were scored.

        Args:
            longest: longest side of the returned images in pixels; None: as they were decoded.

        Returns:
            The scores, and ``[len(rows), H, W, 3]`` float32 on the CPU; None for a probe that decodes no images.
        """
        return self.score(rows), None

    def look_tflop(self, pixels: float) -> float:
        """Return the TFLOP that the score of one row takes beside the model's evaluation; 0 where they are few.

        Args:
            pixels: of the finished image.
        """
        return 0.0

    def for_model(self, model: Any) -> "Probe":
        """Return the probe as it scores rows of one MODEL; the probe itself, if it scores those of all alike."""
        return self

    def require_ready(self, latent: Sequence[int], prompt: str) -> None:  # noqa: B027 (most need nothing)
        """Refuse a run whose rows the probe can't score, before anything is sampled.

        Args:
            latent: shape of a small latent of the model without the axis of rows, ``[channels, ...]``.
            prompt: the text that the run's prompt was encoded from; empty if it isn't known.

        Raises:
            ValueError: what is missing or wrong, and which input to fill.
        """

    def for_one_search(self, prompt: str) -> "Probe":
        """Return a probe whose scores compare between all calls of one search.

        Args:
            prompt: as for :meth:`require_ready`.
        """
        return self

    def remarks(self, rows: Sequence[Features] = ()) -> tuple[str, ...]:
        """Return sentences that the user should read about the scores of rows."""
        return ()


def scored(probe: Probe, rows: Sequence[Features]) -> Tensor:
    """Return a probe's scores of rows captured at one moment, ``[rows]`` float32, and check their shape.

    Raises:
        ValueError: the probe returned something else; or as :meth:`Probe.score`.
    """
    return require_scores(probe, probe.score(rows), len(rows))


def scored_and_decoded(
    probe: Probe, rows: Sequence[Features], longest: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """Return :func:`scored` scores and the images of :meth:`Probe.score_and_decode`.

    Raises:
        ValueError: as :func:`scored`.
    """
    values, images = probe.score_and_decode(rows, longest)
    return require_scores(probe, values, len(rows)), images


def require_scores(probe: Probe, values: Any, count: int) -> Tensor:
    """Return what a probe returned as its scores of ``count`` rows as ``[rows]`` float32.

    Raises:
        ValueError: the values are something else.
    """
    return one_number_each(f"the probe {plain(probe.name)}", values, count, "row")


def one_number_each(source: str, values: Any, count: int, thing: str) -> Tensor:
    """Return values as ``[count]`` float32.

    Args:
        source: where the values come from, for the error.
        values: anything that a probe or a reward returned.
        count: how many numbers are expected.
        thing: what each of the numbers is for.

    Raises:
        ValueError: the values are not ``count`` numbers.
    """
    try:
        numbers = torch.as_tensor(values).detach().float()
    except (TypeError, ValueError, RuntimeError):
        numbers = None
    if numbers is None or numbers.shape != (count,):
        returned = "no numbers" if numbers is None else f"scores of shape {list(numbers.shape)}"
        raise ValueError(f"{source} gave {returned} for {count} {thing}s; it has to give one number per {thing}.")
    return numbers


class CaptureAll(Probe):
    """Stand-in for a probe that needs all features and scores nothing, so that one run records what any probe needs.

    Args:
        projection: as :attr:`Probe.projection`.
    """

    name, label, needs = "capture", "", frozenset(NEEDS)

    def __init__(self, projection: Tensor | None = None):
        self.projection = projection

    def score(self, rows: Sequence[Features]) -> Tensor:
        """Refuse to score.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "a recorder is attached to this MODEL, which captures features and scores nothing. Connect a MODEL with a "
            "probe attached."
        )
