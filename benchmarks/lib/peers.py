"""Other ways to skip part of a run's evaluations, which TC-Padé Cache is compared with.

The first three are predictors for the same plan and anchors; they compute as their authors do, over
step indices and without the pack's bound. EasyCache is ComfyUI's own, with one change: it adds what
it predicts in place into the model's input, which in float32 flow sampling is the sampler's own
tensor; here it gets a copy.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from comfy_extras.nodes_easycache import EasyCacheHolder, EasyCacheNode
from diffusion_probe.dev.evaluation_counter import EvaluationCounter
from diffusion_probe.engine.step_cache.config import StepCacheConfig
from diffusion_probe.engine.step_cache.predict import Anchors, Predictor, norm
from torch import Tensor

PUBLISHED_LAMBDA = 10.0


def _taylor1(anchors: Anchors, x: float) -> Tensor:
    """Predict by the difference of the last two anchors."""
    (u0, a), (u1, b) = anchors[:2]
    return (a - b) / (u0 - u1) * x


def _taylor2(anchors: Anchors, x: float) -> Tensor:
    """Predict by backward differences of the derivative before (TaylorSeer, section 3.2)."""
    if len(anchors) < 3:
        return _taylor1(anchors, x)
    (u0, a), (u1, b), (u2, c) = anchors[:3]
    first, first_before = (a - b) / (u0 - u1), (b - c) / (u1 - u2)
    return first * x + (first - first_before) / (u0 - u1) * x**2 / 2


def _published(anchors: Anchors, x: float) -> Tensor:
    """Predict by TC-Padé's formula with the printed indices: R1 is the older residual, R2 the newer."""
    (_, newer), (_, older) = anchors[:2]
    stability = torch.exp(-PUBLISHED_LAMBDA * norm(older - newer) / norm(older + newer))
    predicted = (2 * stability * older - stability * newer) / (1 + stability / PUBLISHED_LAMBDA * older)
    return predicted - newer


TAYLOR1 = Predictor("taylor1", 2, _taylor1, by_step=True)
TAYLOR2 = Predictor("taylor2", 2, _taylor2, by_step=True)
PUBLISHED = Predictor("published", 2, _published)


PUBLISHED_GATE = 0.7
"""Threshold of the trajectory indicator above which an evaluation is computed after all: θ of the fast setting."""

LATE_BETA = 0.1
"""Share of the last change that is added in the last stage. Not stated."""


def as_published(interval: int) -> StepCacheConfig:
    """Return TC-Padé with all of its parts: modulated coefficients, stages and trajectory indicator, at even gaps.

    Coefficients are the printed ones. The first stage reuses, the middle one extrapolates, and the last one adds
    ``LATE_BETA`` of the change. The gate computes where the trajectory has turned; the released code's default is off.
    """
    config = replace(unbounded(PUBLISHED, interval), early="reuse", beta=LATE_BETA, veto=PUBLISHED_GATE)
    return replace(config, even=True)


def with_published_parts(interval: int) -> StepCacheConfig:
    """Return the pack's own cache with what TC-Padé adds: modulation, stages and trajectory indicator."""
    return StepCacheConfig(interval=interval, early="linear", damping=1.0, beta=LATE_BETA, veto=PUBLISHED_GATE)


def unbounded(predictor: Predictor, interval: int) -> StepCacheConfig:
    """Return the configuration of a peer on the pack's plan."""
    return StepCacheConfig(interval=interval, predictor=predictor, trust=math.inf)


class OutOfPlaceEasyCache(EasyCacheHolder):
    """Core's EasyCache that leaves the model's input alone."""

    def apply_cache_diff(self, x: Tensor, uuids: list, is_audio: bool = False) -> Tensor:
        """Add the predicted difference to a copy of the model's input."""
        return super().apply_cache_diff(x.clone(), uuids, is_audio)

    def clone(self) -> "OutOfPlaceEasyCache":
        """Return a fresh holder with the same settings."""
        return OutOfPlaceEasyCache(
            self.reuse_threshold, self.start_percent, self.end_percent, self.subsample_factor,
            self.offload_cache_diff, self.verbose, self.output_channels,
        )  # fmt: skip


def easy_cache(model: Any, threshold: float) -> Any:
    """Return a MODEL with core's EasyCache node on it, its other settings at their defaults."""
    (patched,) = EasyCacheNode.execute(model, threshold, 0.15, 0.95, False).args
    options = patched.model_options["transformer_options"]
    holder = options["easycache"]
    options["easycache"] = OutOfPlaceEasyCache(
        holder.reuse_threshold, holder.start_percent, holder.end_percent, holder.subsample_factor,
        holder.offload_cache_diff, holder.verbose, holder.output_channels,
    )  # fmt: skip
    return patched


class RememberingCounter(EvaluationCounter):
    """Counter that computes no known output again, and counts it all the same.

    Methods that start alike call the model with the same inputs, batch for batch.

    Args:
        memory: outputs by sigma, shared between counters; None: each is computed.
    """

    def __init__(self, memory: dict[float, list[tuple[Tensor, Tensor, Tensor]]] | None = None) -> None:
        super().__init__()
        self.memory = memory

    def compute(self, executor, x, timestep, context, *args, **kwargs):
        """Return the output for these inputs: the known one, or a computed one."""
        if self.memory is None:
            return executor(x, timestep, context, *args, **kwargs)
        calls = self.memory.setdefault(float(timestep[0]), [])
        for known_x, known_context, output in calls:  # a batch that doesn't fit is computed in several calls of one x
            if torch.equal(x, known_x) and torch.equal(context, known_context):
                return output.clone()
        known_x, output = x.clone(), executor(x, timestep, context, *args, **kwargs)
        if not any(torch.equal(known_context, context) for _, known_context, _ in calls):
            calls.append((known_x, context, output.clone()))
        return output
