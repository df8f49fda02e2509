"""Predictors of the next value from computed ones, their common bound, and their fallbacks.

Anchors are values that the model computed, newest first, each at its t: the logarithm of signal
over noise. With (t0, A), (t1, B), (t2, C) and the horizon x = t − t0,

    f01 = (A−B)/(t0−t1)    f12 = (B−C)/(t1−t2)    c2 = (f01−f12)/(t0−t2)    c1 = f01 + c2·(t0−t1)

so c1 and c2 are slope and half the curvature, at the newest anchor, of the parabola through all three:
divided differences for spacings that need not be equal. Everything is per row and in float32.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Anchors = Sequence[tuple[float, Tensor]]
"""Pairs (t, value ``[rows, ...]`` float32), newest first, t descending; none closer than ``state.MIN_GAP`` steps."""

LEAST_DENOMINATOR = 0.5
"""Least denominator of the rational form, which may at most double a step."""

TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Predictor:
    """Predictor of the displacement from the newest anchor.

    Attributes:
        name: name for users.
        anchors: number of anchors that it needs.
        displacement: ``displacement(anchors, x)`` returns the change of the value over the horizon x.
        by_step: whether t is the step index instead of the logarithm of signal over noise.
    """

    name: str
    anchors: int
    displacement: Callable[[Anchors, float], Tensor]
    by_step: bool = False


def reuse(anchors: Anchors, x: float) -> Tensor:
    """Return no displacement, which repeats the newest value."""
    return torch.zeros_like(anchors[0][1])


def linear(anchors: Anchors, x: float) -> Tensor:
    """Return the displacement along the chord of the two newest anchors."""
    (t0, a), (t1, b) = anchors[:2]
    return (a - b) * (x / (t0 - t1))


def newton2(anchors: Anchors, x: float) -> Tensor:
    """Return the displacement along the parabola through three anchors."""
    c1, c2 = _slope_and_curvature(anchors)
    return c1 * x + c2 * x**2


def pade11(anchors: Anchors, x: float) -> Tensor:
    """Return the displacement along c1·x / (1 + q·x), the rational of order [1/1] whose curvature comes closest to c2.

    q = −⟨c2,c1⟩/⟨c1,c1⟩ for each row: one number, so the denominator has a scale and no poles of its
    own in single elements.
    """
    c1, c2 = _slope_and_curvature(anchors)
    q = -_inner(c2, c1) / _inner(c1, c1).clamp_min(TINY)
    return c1 * (x / (1 + q * x).clamp_min(LEAST_DENOMINATOR))


REUSE, LINEAR = Predictor("reuse", 1, reuse), Predictor("linear", 2, linear)
PREDICTORS: Mapping[str, Predictor] = {
    p.name: p for p in (REUSE, LINEAR, Predictor("newton2", 3, newton2), Predictor("pade11", 3, pade11))
}


def _slope_and_curvature(anchors: Anchors) -> tuple[Tensor, Tensor]:
    (t0, a), (t1, b), (t2, c) = anchors[:3]
    f01, f12 = (a - b) / (t0 - t1), (b - c) / (t1 - t2)
    c2 = (f01 - f12) / (t0 - t2)
    return f01 + c2 * (t0 - t1), c2


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each row, shaped to be multiplied with rows."""
    return (a * b).flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))


def norm(a: Tensor) -> Tensor:
    """Return the norm of each row, shaped to be multiplied with rows."""
    return _inner(a, a).sqrt()


def usable(wanted: Predictor, anchors: Anchors, u: float) -> Predictor:
    """Return the predictor to use at ``u``: the wanted one, or its fallback.

    With too few anchors, or a horizon longer than their distance, it is ``linear``; with a single
    anchor ``reuse``. Here t of the anchors are step indices.
    """
    needed = wanted.anchors
    if needed > 2 and (len(anchors) < needed or u - anchors[0][0] > anchors[0][0] - anchors[needed - 1][0]):
        wanted = LINEAR
    return wanted if len(anchors) >= wanted.anchors else REUSE


def predict(
    anchors: Anchors, t: float, predictor: Predictor, trust: float, damping: float = 0.0, beta: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Predict the value at ``t``.

    Args:
        anchors: at least as many as the predictor needs.
        t: above that of the newest anchor, in the anchors' unit.
        predictor: returns the displacement d from the newest anchor A.
        trust: d is at most this many times as long as the chord A−B, scaled to the same horizon.
        damping: λ of the factor exp(−λ‖A−B‖/‖A+B‖) on d; 0 is none.
        beta: this share of A−B is added to d.

    Returns:
        value ``[rows, ...]`` float32, and a bool per row: its displacement was not finite, so its
        value is the newest anchor's.
    """
    t0, newest = anchors[0]
    if predictor.anchors == 1:
        return newest.clone(), torch.zeros(len(newest), dtype=torch.bool, device=newest.device)
    t1, before = anchors[1]
    x, chord = t - t0, newest - before
    moved = predictor.displacement(anchors, x)
    if beta:
        moved = moved + beta * chord
    change = norm(chord)
    factor = (trust * abs(x / (t0 - t1)) * change / norm(moved).clamp_min(TINY)).clamp_max(1.0)
    if damping:
        factor = factor * torch.exp(-damping * change / norm(newest + before).clamp_min(TINY))
    moved = moved * factor
    finite = torch.isfinite(moved).flatten(1).all(1)
    return torch.where(finite.view(factor.shape), newest + moved, newest), ~finite


def turn(anchors: Anchors) -> Tensor:
    """Return the turn of each row's trajectory, 0 (straight) to 1 (reversed): half the distance of
    successive unit differences. Published as TSI in TC-Padé, section on trajectory stability.

    Args:
        anchors: at least three.
    """
    (_, a), (_, b), (_, c) = anchors[:3]
    later, earlier = a - b, b - c
    return 0.5 * norm(later / norm(later).clamp_min(TINY) - earlier / norm(earlier).clamp_min(TINY)).flatten()
