"""State of a step cache during one sampler run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import torch
from torch import Tensor

from ..runs.step_noise import StepNoise
from .config import StepCacheConfig
from .plan import Plan
from .predict import REUSE, predict, turn, usable
from .times import EvaluationTimes

MIN_GAP = 0.25
"""Least distance of anchors in steps. Of closer ones the newer replaces the older: their difference is the
sampler's trial step, which a tiny spacing would amplify."""

MOST_ANCHORS = 3
"""Largest number of anchors of a key."""

LONGEST_HORIZON = 1.5
"""Longest horizon of a prediction, in lengths of the known path; beyond it values are computed."""

Key = tuple[UUID, int]
"""Conditioning entry, and the number of earlier calls for it in the same evaluation (guidance nodes
such as PAG run an entry a second time, perturbed)."""


@dataclass
class History:
    """Anchors of one key, newest first.

    Attributes:
        like: shape, dtype and device of the latent rows.
        evaluation: number of the evaluation in which the newest was computed.
    """

    like: Any
    values: list[tuple[float, Tensor]]
    evaluation: int

    def add(self, u: float, value: Tensor, evaluation: int) -> None:
        """Add a computed value as the newest anchor."""
        older = self.values[1:] if u - self.values[0][0] < MIN_GAP else self.values
        self.values = [(u, value), *older][:MOST_ANCHORS]
        self.evaluation = evaluation


class CacheRun:
    """State of one run. An *evaluation* is one call of the sampler's model, for all conds and rows.

    Args:
        config: the settings.
        plan: for the run's schedule.
        rough: whether the sampler is known to draw noise at its steps; outputs are reused then.
        noise: tests whether it does.

    Attributes:
        times: durations of the evaluations.
    """

    def __init__(self, config: StepCacheConfig, plan: Plan, rough: bool, noise: StepNoise | None = None):
        self.config, self.plan, self.rough, self.noise = config, plan, rough, noise or StepNoise()
        self.histories: dict[Key, History] = {}
        self.in_blocks = config.space == "blocks"
        self.inside = False
        self.u = self.sigma = 0.0
        self.number = self.last_computed = 0
        self.predicted = 0
        self.times = EvaluationTimes()
        self.fallbacks: Counter[str] = Counter()
        self._not_finite: list[Tensor] = []

    def forget(self) -> None:
        """Drop all anchors."""
        self.histories.clear()
        self._not_finite.clear()

    def begin(self, sigma: float) -> None:
        """Begin an evaluation at ``sigma``. If sigma has risen, all anchors are of another trajectory and dropped."""
        self.times.begin()
        u = self.plan.position(sigma)
        if u < self.u - MIN_GAP:
            self.forget()
        self.u, self.sigma, self.inside = u, sigma, True
        self.number += 1
        self._skip: bool | None = None
        self._computed = False
        self._calls: Counter[UUID] = Counter()
        self._reasons: set[str] = set()

    def end(self) -> None:
        """End the evaluation."""
        self.inside = False
        self.times.end(self._computed)
        self.predicted += not self._computed
        self.fallbacks.update(self._reasons)

    def compute_until(self, step: int) -> None:
        """Compute all steps up to ``step``, at which a search captures the run."""
        self.plan = self.plan.computed_until(step)

    def keys(self, uuids: Sequence[UUID]) -> list[Key]:
        """Return the keys of a call for these conditioning entries."""
        keys = []
        for uuid in uuids:
            keys.append((uuid, self._calls[uuid]))
            self._calls[uuid] += 1
        return keys

    def skips(self, keys: Sequence[Key], like: Any, captured: bool) -> bool:
        """Return whether a call is predicted: it is planned and not captured, the path is straight, it has anchors.

        Args:
            keys: of the call.
            like: as :attr:`History.like`, which has to be equal.
            captured: whether a probe captures this evaluation.
        """
        if self._skip is None:
            self._skip = self.plan.may_predict(self.u) and not self._objection(captured)
            if not self._skip:
                self.last_computed = self.number
        ready = all(key in self.histories and self._fits(self.histories[key], like) for key in keys)
        if self._skip and not ready:
            self._reasons.add("no anchors")
        return self._skip and ready

    def _fits(self, history: History, like: Any) -> bool:
        return history.like == like and history.evaluation >= self.last_computed

    def _objection(self, captured: bool) -> bool:
        if captured:
            self._reasons.add("probed moment")
        elif not self.rough and any(self._too_far(history) for history in self.histories.values()):
            self._reasons.add("too far")
        elif self.config.veto is not None and self._turn() > self.config.veto:
            self._reasons.add("veto")
        return bool(self._reasons)

    def _too_far(self, history: History) -> bool:
        if len(history.values) == 1:
            return False  # it is reused and not extrapolated
        newest, oldest = history.values[0][0], history.values[-1][0]
        wanted = self.config.wanted(self.plan.phase(self.u) == "early")
        return wanted.anchors > 1 and self.u - newest > LONGEST_HORIZON * (newest - oldest)

    def _turn(self) -> float:
        known = [history.values for history in self.histories.values() if len(history.values) == MOST_ANCHORS]
        return max((float(turn(anchors).max()) for anchors in known), default=0.0)

    def keep(self, keys: Sequence[Key], like: Any, values: Tensor | None) -> None:
        """Note the values that a call has computed, ``[rows, ...]``, as many rows for each key; None: no values."""
        self._computed = True
        if values is None:
            return
        for key, value in zip(keys, values.float().chunk(len(keys)), strict=True):
            history = self.histories.get(key)
            if history is None or history.like != like or history.values[0][1].shape != value.shape:
                self.histories[key] = History(like, [(self.u, value)], self.number)
            else:
                history.add(self.u, value, self.number)

    def prediction(self, keys: Sequence[Key]) -> Tensor:
        """Predict the values of a call at the current evaluation, ``[rows, ...]`` float32."""
        phase = self.plan.phase(self.u)
        wanted = REUSE if self.rough else self.config.wanted(phase == "early")
        beta = self.config.beta if phase == "late" else 0.0
        rows = []
        for key in keys:
            anchors = self.histories[key].values
            predictor = usable(wanted, anchors, self.u)
            if predictor is not wanted:
                self._reasons.add(predictor.name)
            time_of = float if predictor.by_step else self.plan.log_snr
            timed = [(time_of(u), known) for u, known in anchors]
            value, failed = predict(timed, time_of(self.u), predictor, self.config.trust, self.config.damping, beta)
            rows.append(value)
            self._not_finite.append(failed.any())
        return torch.cat(rows)

    def summary(self) -> str:
        """Return one line on the numbers of computed and predicted evaluations and of fallbacks."""
        failed = int(torch.stack(self._not_finite).sum()) if self._not_finite else 0
        fallbacks = self.fallbacks + Counter({"not finite": failed})
        listed = ", ".join(f"{count} {reason}" for reason, count in fallbacks.items()) or "none"
        return (
            f"{self.number} evaluations: {self.number - self.predicted} computed, {self.predicted} predicted; "
            f"fallbacks: {listed}"
        )
