"""Seed search: many candidates start together, a policy decides on their scores who is finished.

Every finished latent is what the stock sampler gives for its prompt and seed alone (see ``hub``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..probe_models.features import Features
from ..probe_models.preview import PreviewReward
from ..probe_models.probe import Probe
from ..search.outcome import Fate, Outcome
from ..search.plan import expected_evaluations
from ..search.policy import Policy, State
from .candidates import Candidate
from .coroutine import Run
from .hub import Hub
from .looking import Looker
from .previews import preview_images
from .progress import RowProgress

PREVIEW_PX = 256

Judge = Callable[[list[Features]], Tensor]
"""Finished latents, as ``Features.denoised`` → scores ``[rows]``: :meth:`Probe.score` of a probe that needs no more."""


@dataclass(frozen=True)
class SearchResult:
    """Attributes:
    latents: of the survivors, best first, ``[survivors, channels, …]`` float32.
    survivors: their candidates' numbers.
    outcome: what became of every candidate.
    seen: what each candidate looked like when last looked at, without its attention; None if never.
    pictures: the same as the probe judged it, ``[H, W, 3]`` of at most 256 px, where it decodes.
    """

    latents: Tensor
    survivors: list[int]
    outcome: Outcome
    seen: list[Features | None]
    pictures: dict[int, Tensor]


def seed_search(
    model: Any,
    candidates: Sequence[Candidate],
    probe: Probe,
    policy: Callable[[int], Policy],
    survivors: int = 1,
    max_rows: int = 0,
    judge: Judge | None = None,
) -> SearchResult:
    """Sample candidates together, and finish those that a policy chooses by a probe's scores.

    Args:
        model: the MODEL, without an attached probe.
        candidates: at least one; all with the same number of steps.
        probe: scores the candidates at the policy's moments, all that are at one in one call.
        policy: steps of a run → the policy. A step is what the policy calls an evaluation; a sampler
            that evaluates more than once per step spends that much more on each.
        survivors: how many of the finished come back, at most.
        max_rows: see :class:`Hub`.
        judge: scores the finished; without it their last score of the probe counts.

    Raises:
        ValueError: no candidate could be finished; the message has the reason.
        InterruptProcessingException: the user stopped the prompt. The model is clean.
    """
    if not candidates:
        raise ValueError("there is no candidate. Give at least one seed.")
    search = _Search(model, candidates, probe, policy, max_rows)
    try:
        search.run()
        search.hub.close(keep=search.sampled())
    finally:
        search.hub.close()
    return search.result(survivors, judge)


class _Search:
    """The state of one search."""

    def __init__(self, model, candidates, probe, policy, max_rows):
        self.hub = Hub(model, max_rows)
        self.looker = Looker(self.hub, probe)
        self.candidates, self.probe, self.policy = candidates, probe, policy
        self.progress = RowProgress(self.hub.model, 1)
        self.runs = [self._add(number, candidate) for number, candidate in enumerate(candidates)]
        self.reached = [0] * len(candidates)
        self.moments: tuple[int, ...] = ()
        self.scores: list[dict[int, float]] = [{} for _ in candidates]
        self.seen: list[Features | None] = [None] * len(candidates)
        self.pictures: dict[int, Tensor] = {}

    def _add(self, number: int, candidate: Candidate) -> Run:
        callback = self.progress.callback(number)
        return self.hub.add(lambda: candidate.sample(self.hub.model, callback))

    def run(self) -> None:
        """Ask the policy and do what it says until it says nothing more."""
        self.steps = self._steps()
        policy = self.policy(self.steps)
        self.moments = policy.moments(self.steps)
        self.progress.evaluations = expected_evaluations(policy, len(self.runs), self.steps)
        while goals := policy.next(self._state()):
            self._advance(goals)

    def _steps(self) -> int:
        """Of a run's schedule, from the first candidate that starts well."""
        for run in self.runs:
            self.hub.advance({run: 0})
            if run.error is None:
                return run.steps
        raise ValueError(self._all_failed()) from self.runs[0].error

    def _state(self) -> State:
        scores = tuple(tuple(seen.get(moment) for moment in self.moments) for seen in self.scores)
        alive = tuple(row for row, run in enumerate(self.runs) if run.error is None and not run.sampled)
        return State(scores, tuple(self.reached), sum(self.reached), alive, self.moments, self.steps)

    def _advance(self, goals: dict[int, int]) -> None:
        alive = self._state().alive
        wrong = [row for row, goal in goals.items() if row not in alive or goal <= self.reached[row]]
        if wrong:
            raise ValueError(f"the policy sends candidates {wrong} where they can't go: {goals}")
        self.hub.advance({self.runs[row]: goal for row, goal in goals.items()}, self._served)
        for row, goal in goals.items():
            run = self.runs[row]
            if run.sampled and not run.samples.isfinite().all():
                run.fail(FloatingPointError("its latent is NaN"))
            if run.error is None:
                self.reached[row] = self.steps if run.sampled else goal
        for moment in sorted(set(goals.values())):
            self._look([row for row, goal in goals.items() if goal == moment and self.runs[row].paused], moment)

    def _served(self) -> None:
        evaluations = sum(min(run.reached, self.steps) for run in self.runs)
        self.progress.update(sum(run.model_rows for run in self.runs), evaluations)

    def _look(self, rows: list[int], moment: int) -> None:
        """Score the candidates that stand at a moment."""
        found = {row: self.looker.features(self.runs[row]) for row in rows}
        for row, features in found.items():
            if features is not None and not features.denoised.isfinite().all():
                self.runs[row].fail(FloatingPointError(f"its latent is NaN at step {moment}"))
        seen = {row: features for row, features in found.items() if features and self.runs[row].error is None}
        if not seen:
            return
        values, pictures = score_and_show(self.probe, list(seen.values()))
        for number, (row, value) in enumerate(zip(seen, values.tolist(), strict=True)):
            self.scores[row][moment] = value
            self.seen[row] = replace(seen[row], attention=None)
            if pictures is not None:
                self.pictures[row] = pictures[number]
        self.progress.shown = max(seen, key=lambda row: self.scores[row][moment])

    def sampled(self) -> list[Run]:
        return [run for run in self.runs if run.sampled]

    def result(self, survivors: int, judge: Judge | None) -> SearchResult:
        """The finished candidates in order, and what became of all."""
        finished = [row for row, run in enumerate(self.runs) if run.result is not None]
        if not finished:
            raise ValueError(self._all_failed()) from next((run.error for run in self.runs if run.error), None)
        final = self._judged(finished, judge) if judge else {}
        fates = [
            Fate(
                seed=candidate.seed,
                prompt=candidate.prompt,
                scores=tuple(sorted(self.scores[row].items())),
                reached=self.reached[row],
                model_rows=run.model_rows,
                evaluations=run.evaluations,
                finished=run.result is not None,
                final=final.get(row),
                failure=str(run.error) or type(run.error).__name__ if run.error else None,
            )
            for row, (candidate, run) in enumerate(zip(self.candidates, self.runs, strict=True))
        ]
        outcome = Outcome(
            tuple(fates), self.steps, survivors, self.probe.name, self.probe.label, self.probe.skilled,
            sampler=next(run.sampler for run in self.runs if run.sampler), calibration=tuple(self.probe.calibration),
            warnings=tuple(self.hub.warnings),
        )  # fmt: skip
        best = outcome.survivors()
        latents = torch.cat([self.runs[row].result for row in best])
        return SearchResult(latents, best, outcome, self.seen, self.pictures)

    def _judged(self, finished: list[int], judge: Judge) -> dict[int, float]:
        rows = [
            Features(
                family="", moment="end", step=self.steps, sigma=0.0, percent=1.0, denoised=self.runs[row].result[0]
            )
            for row in finished
        ]
        return dict(zip(finished, judge(rows).tolist(), strict=True))

    def _all_failed(self) -> str:
        failed = {row: run.error for row, run in enumerate(self.runs) if run.error is not None}
        reasons = "; ".join(f"seed {self.candidates[row].seed}: {error}" for row, error in list(failed.items())[:3])
        return f"no candidate was finished, {len(failed)} of {len(self.runs)} failed: {reasons}"


def score_and_show(probe: Probe, rows: list[Features]) -> tuple[Tensor, Tensor | None]:
    """Scores ``[rows]``, and small pictures ``[rows, H, W, 3]`` of what a probe that decodes its rows judged."""
    if not isinstance(probe, PreviewReward):
        return probe.score(rows), None
    images = probe.images(rows)
    scale = min(1.0, PREVIEW_PX / max(images.shape[1:3]))
    size = [max(1, round(side * scale)) for side in images.shape[1:3]]
    small = torch.nn.functional.interpolate(images.movedim(-1, 1), size, mode="area").movedim(1, -1)
    return probe.score_images(images), small


def candidate_pictures(model: Any, result: SearchResult) -> Tensor | None:
    """A picture of each candidate that was looked at, best first, ``[rows, H, W, 3]``: as the probe judged
    it, else by ComfyUI's latent preview. None if there is none."""
    order = [row for row in result.outcome.order() if result.seen[row] is not None]
    if not order:
        return None
    if result.pictures:
        return torch.stack([result.pictures[row] for row in order])
    return preview_images(model, [result.seen[row] for row in order])
