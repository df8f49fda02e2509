"""Seed search: many candidates start together, a policy decides on their scores who is finished.

Every finished latent is what the stock sampler gives for its prompt and seed alone (see ``hub``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..probe_models.features import Features
from ..probe_models.probe import Probe
from ..search.marks import sends_to_the_end, steered
from ..search.outcome import Fate, Outcome
from ..search.plan import expected_evaluations
from ..search.policy import Policy, State
from .candidates import Candidate
from .coroutine import Run, current_run
from .hub import Hub
from .loaded import loaded_again
from .looking import Looker
from .moments import OWN_SIGMAS
from .previews import preview_images
from .progress import RowProgress
from .scoring import NOT_SEEN, Verdict, score_and_show, verdicts, why_not_seen
from .seeds import KEY as SEEDS_KEY
from .watcher import Unwatched, Watcher

KEY = "diffusion_probe_search"

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
    judge_label: str = "",
    watcher: Watcher | None = None,
) -> SearchResult:
    """Sample candidates together, and finish those that a policy chooses by a probe's scores.

    Args:
        model: the MODEL, without an attached probe and without the seeds of Seed Batch.
        candidates: at least one; all with the same number of steps.
        probe: scores the candidates at the policy's moments, all that are at one in one call.
        policy: steps of a run → the policy. A step is what the policy calls an evaluation; a sampler
            that evaluates more than once per step spends that much more on each.
        survivors: how many of the finished come back, at most.
        max_rows: see :class:`Hub`.
        judge: scores the finished; without it their last score of the probe counts.
        judge_label: what the judge's scores are measured in.
        watcher: see there.

    Raises:
        ValueError: a MODEL that brings a probe or seeds; or no candidate could be finished, and why.
        InterruptProcessingException: the user stopped the prompt. The model is clean.
    """
    if not candidates:
        raise ValueError("there is no candidate. Give at least one seed.")
    if model.get_wrappers(WrappersMP.OUTER_SAMPLE, SEEDS_KEY):
        raise ValueError(
            "this MODEL comes from Seed Batch, which gives all candidates the same noise. "
            "Connect the MODEL from before Seed Batch: Seed Search takes the seeds itself."
        )
    search = _Search(model, candidates, probe, policy, survivors, max_rows, watcher or Unwatched())
    try:
        search.run()
        search.hub.close(keep=search.sampled())
    finally:
        search.hub.close()
    return search.result(judge, judge_label)


class _Search:
    """The state of one search."""

    def __init__(self, model, candidates, probe, policy, survivors, max_rows, watcher):
        self.hub = Hub(model, max_rows)
        self.looker = Looker(self.hub, probe)
        self.hub.model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, self._sampler_sample)
        self.guiders: dict[Run, Any] = {}
        self.candidates, self.probe, self.policy, self.watcher = candidates, probe, policy, watcher
        self.survivors, self.held = survivors, False
        self.progress = RowProgress(self.hub.model, 1)
        self.runs = [self._add(number, candidate) for number, candidate in enumerate(candidates)]
        self.reached = [0] * len(candidates)
        self.moments: tuple[int, ...] = ()
        self.scores: list[dict[int, float]] = [{} for _ in candidates]
        self.unscored: dict[int, Exception] = {}
        self.seen: list[Features | None] = [None] * len(candidates)
        self.pictures: dict[int, Tensor] = {}

    def _add(self, number: int, candidate: Candidate) -> Run:
        callback = self.progress.callback(number)
        return self.hub.add(lambda: candidate.sample(self.hub.model, callback))

    def _sampler_sample(self, executor, guider, *args, **kwargs):
        """SAMPLER_SAMPLE wrapper: what a run has loaded, as long as it runs."""
        run = current_run()
        self.guiders[run] = guider
        try:
            return executor(guider, *args, **kwargs)
        finally:
            del self.guiders[run]

    def run(self) -> None:
        """Ask the policy and do what it says until it says nothing more."""
        self.steps = self._steps()
        policy = self.policy(self.steps)
        self.moments = policy.moments(self.steps)
        self.progress.evaluations = expected_evaluations(policy, len(self.runs), self.steps)
        while goals := self._goals(policy):
            self.watcher.decided(goals, self._state())
            self._advance(goals)

    def _goals(self, policy: Policy) -> dict[int, int]:
        """What the policy and the marks say; before anyone is finished the watcher may hold the search once."""
        state = self._state()

        def decide() -> dict[int, int]:
            return steered(policy, state, self.watcher.marks, self.survivors)

        goals = decide()
        if goals and not self.held and sends_to_the_end(goals, self.steps):
            self.held = True
            self.watcher.hold(decide, state)
            goals = decide()
        return goals

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
                if run.sampled and goal < self.steps:
                    self._leave_unscored(row, goal, NOT_SEEN)
        for moment in sorted(set(goals.values())):
            self._look([row for row, goal in goals.items() if goal == moment and self.runs[row].paused], moment)

    def _leave_unscored(self, row: int, moment: int, why: str | Exception) -> None:
        self.unscored[row] = ValueError(f"not scored at step {moment}: {why}")

    def _served(self) -> None:
        evaluations = sum(min(run.reached, self.steps) for run in self.runs)
        self.progress.update(sum(run.model_rows for run in self.runs), evaluations)

    def _look(self, rows: list[int], moment: int) -> None:
        """Score the candidates that stand at a moment."""
        seen: dict[int, Features] = {}
        for row in rows:
            features = self.looker.features(self.runs[row])
            if features is not None and not features.denoised.isfinite().all():
                self.runs[row].fail(FloatingPointError(f"its latent is NaN at step {moment}"))
            elif why := why_not_seen(features, self.probe.needs):
                self._leave_unscored(row, moment, why)
            else:
                seen[row] = features
        if not seen:
            return
        with loaded_again(self.guiders.values()):
            found = verdicts(lambda some: score_and_show(self.probe, some), list(seen.values()))
        for row, verdict in zip(seen, found, strict=True):
            self.seen[row] = replace(seen[row], attention=None)
            if verdict.picture is not None:
                self.pictures[row] = verdict.picture
            if verdict.error is None:
                self.scores[row][moment] = verdict.score
            else:
                self._leave_unscored(row, moment, verdict.error)
        scored = [row for row in seen if row not in self.unscored]
        pictures = {row: self.pictures[row] for row in seen if row in self.pictures}
        self.watcher.looked(moment, seen, pictures, {row: self.scores[row][moment] for row in scored})
        self.progress.shown = max(scored, key=lambda row: self.scores[row][moment], default=self.progress.shown)

    def sampled(self) -> list[Run]:
        return [run for run in self.runs if run.sampled]

    def result(self, judge: Judge | None, judge_label: str) -> SearchResult:
        """The finished candidates in order, and what became of all."""
        marks = self.watcher.marks
        finished = [row for row, run in enumerate(self.runs) if run.result is not None]
        unhindered = finished or not self._errors()
        if marks.discarded and unhindered and all(row in marks.discarded for row in finished):
            raise ValueError("every candidate that could be finished was discarded on the board. Keep at least one.")
        if not finished:
            raise ValueError(self._none_finished()) from next(iter(self._errors().values()), None)
        final = self._judged(finished, judge) if judge else {}
        unjudged = {row: verdict.error for row, verdict in final.items() if verdict.error}
        remarks = {row: str(error) for row, error in self.unscored.items()}
        remarks |= {row: f"not judged: {error}" for row, error in unjudged.items()}
        fates = [
            Fate(
                seed=candidate.seed,
                prompt=candidate.prompt,
                scores=tuple(sorted(self.scores[row].items())),
                reached=self.reached[row],
                model_rows=run.model_rows,
                evaluations=run.evaluations,
                finished=run.result is not None,
                final=final[row].score if row in final else None,
                failure=_said(run.error) if run.error else None,
                remark=remarks.get(row),
                mark=marks.of(row),
            )
            for row, (candidate, run) in enumerate(zip(self.candidates, self.runs, strict=True))
        ]
        sampler = next(run.sampler for run in self.runs if run.sampler)
        outcome = Outcome(
            tuple(fates), self.steps, self.survivors, self.probe.name, self.probe.label, self.probe.skilled, sampler,
            tuple(self.probe.calibration), (*self.hub.warnings, *_budget_warnings(sampler)),
            judge_label if judge else None,
        )  # fmt: skip
        best = outcome.survivors()
        latents = torch.cat([self.runs[row].result for row in best])
        return SearchResult(latents, best, outcome, self.seen, self.pictures)

    def _judged(self, finished: list[int], judge: Judge) -> dict[int, Verdict]:
        rows = [
            Features(
                family="", moment="end", step=self.steps, sigma=0.0, percent=1.0, denoised=self.runs[row].result[0]
            )
            for row in finished
        ]
        return dict(zip(finished, verdicts(lambda some: (judge(some), None), rows), strict=True))

    def _errors(self) -> dict[int, Exception]:
        """What stopped each candidate that failed or got no score."""
        failed = {row: run.error for row, run in enumerate(self.runs) if run.error is not None}
        return {**self.unscored, **failed}

    def _none_finished(self) -> str:
        failed = sum(run.error is not None for run in self.runs)
        counts = f"{failed} of {len(self.runs)} failed"
        if unscored := len(self._errors()) - failed:
            counts += f", {unscored} could not be scored"
        seeds = {_said(error): self.candidates[row].seed for row, error in reversed(self._errors().items())}
        reasons = [f"seed {seed}: {reason}" for reason, seed in reversed(seeds.items())]
        return f"no candidate was finished, {counts}: {'; '.join(reasons[:3])}"


def _said(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _budget_warnings(sampler: str) -> list[str]:
    if sampler not in OWN_SIGMAS:
        return []
    name = sampler.removeprefix("sample_").removesuffix("_function")
    return [f"{name} chooses its steps itself: the budget counts parts of the schedule, whose cost was not known."]


def candidate_pictures(model: Any, result: SearchResult) -> Tensor | None:
    """A picture of each candidate that was looked at, best first, ``[rows, H, W, 3]``: as the probe judged
    it, else by ComfyUI's latent preview. None if there is none."""
    order = [row for row in result.outcome.order() if result.seen[row] is not None]
    if not order:
        return None
    if result.pictures:
        return torch.stack([result.pictures[row] for row in order if row in result.pictures])
    return preview_images(model, [result.seen[row] for row in order])
