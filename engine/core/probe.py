"""The interface of everything that turns captured features into a score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from .features import NEEDS, Features
from .texts import plain


@runtime_checkable
class Probe(Protocol):
    """A signal read early in a run that predicts how good the finished image will be.

    A probe that was trained for certain models also has ``family`` and ``blocks``, the names of the
    attention blocks that it reads, as in :class:`Features`; other models are refused. It may have
    ``search_skill``, the fields of ``engine.core.skill.Skill`` as measured, or None. And one that needs the
    activation may have a ``projection`` ``[kept channels, channels]`` of it; without, it gets all channels.

    Attributes:
        name: short name shown to the user, for example ``"attention focus"``.
        label: what the score is measured in, for example ``"focus"`` or ``"ImageReward"``. Scores of
            different labels are never compared.
        needs: which parts of :class:`Features` have to be captured, a subset of ``features.NEEDS``.
        skilled: whether picking by the score at the default moment was measured to gain at least
            what full images of other seeds gain at the same cost (README, "What the scores are
            worth"). A score without skill drops nothing by default.
        calibration: scores on images it was not trained on, as ``engine.core.scores.Scores.calibration``
            holds them; empty for a probe without training.
    """

    name: str
    label: str
    needs: frozenset[str]
    skilled: bool
    calibration: tuple[float, ...]

    def score(self, rows: Sequence[Features]) -> Tensor:
        """Score rows captured at one moment.

        Returns:
            float32 tensor ``[len(rows)]``, higher is better.

        Raises:
            ValueError: features that the probe needs are missing, or of a shape it can't use.
        """
        ...


def scored(probe: Probe, rows: Sequence[Features]) -> Tensor:
    """A probe's scores of rows captured at one moment, ``[rows]`` float32, whoever wrote the probe.

    Raises:
        ValueError: it gave something else; or as :meth:`Probe.score`.
    """
    return require_scores(probe, probe.score(rows), len(rows))


def require_scores(probe: Probe, values: Any, count: int) -> Tensor:
    """What a probe gave as its scores of ``count`` rows, ``[rows]`` float32.

    Raises:
        ValueError: it is something else.
    """
    return one_number_each(f"the probe {plain(probe.name)}", values, count, "row")


def one_number_each(who: str, values: Any, count: int, thing: str) -> Tensor:
    """Values as numbers, ``[count]`` float32.

    Args:
        who: gave them, for the error.
        thing: what each of them is for.

    Raises:
        ValueError: they are something else.
    """
    try:
        numbers = torch.as_tensor(values).detach().float()
    except (TypeError, ValueError, RuntimeError):
        numbers = None
    if numbers is None or numbers.shape != (count,):
        given = "no numbers" if numbers is None else f"scores of shape {list(numbers.shape)}"
        raise ValueError(f"{who} gave {given} for {count} {thing}s; it has to give one number per {thing}.")
    return numbers


@dataclass
class CaptureAll:
    """Stands where a probe is attached, so that one run records what every probe needs; it scores nothing.

    Attributes:
        projection: see :class:`Probe`.
    """

    projection: Tensor | None = None
    name, label, needs, skilled, calibration = "capture", "", frozenset(NEEDS), False, ()

    def score(self, rows: Sequence[Features]) -> Tensor:
        raise ValueError(
            "this MODEL comes from Attach Recorder, which captures and scores nothing. "
            "Connect one that comes from Attach Probe."
        )
