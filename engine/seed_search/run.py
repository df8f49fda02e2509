"""Seed search: many candidates start together, a policy decides on their scores who is finished.

Every finished latent is what the stock sampler gives for its prompt and seed alone (see ``hub``).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..capture.scoring import NOT_SEEN, score_and_show, verdicts
from ..core.features import Features
from ..core.probe import Probe
from ..runs.loaded import loaded_again
from ..runs.seeds import KEY as SEEDS_KEY
from .candidates import Candidate
from .hub.coroutine import Run, current_run
from .hub.hub import Hub
from .hub.row_check import RowCheck
from .looking import Looker
from .policies.plan import expected_evaluations
from .policies.policy import Policy, State
from .policies.steered import sends_to_the_end, steered
from .progress import RowProgress
from .result import Entry, Judge, SearchResult, none_finished, search_result
from .watcher import Unwatched, Watcher

KEY = "diffusion_probe_search"


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
    marks, warnings = search.watcher.marks, [*search.hub.warnings, *search.looker.warnings]
    return search_result(
        search.entries, search.steps, survivors, probe, marks, judge, judge_label, warnings, search.hub.extra_rows
    )


class _Search:
    """The state of one search."""

    def __init__(self, model, candidates, probe, policy, survivors, max_rows, watcher):
        shared = {id(thing): thing for candidate in candidates for thing in candidate.shared}
        self.hub = Hub(model, max_rows, tuple(shared.values()), RowCheck(model))
        self.looker = Looker(self.hub, probe)
        self.hub.model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, self._sampler_sample)
        self.guiders: dict[Run, Any] = {}
        self.probe, self.policy, self.watcher = probe, policy, watcher
        self.survivors, self.held = survivors, False
        self.progress = RowProgress(self.hub.model, 1)
        self.entries = [self._entry(number, candidate) for number, candidate in enumerate(candidates)]
        self.steps, self.moments = 0, ()

    def _entry(self, number: int, candidate: Candidate) -> Entry:
        return Entry(candidate, self.hub.add(self._sample(number, candidate)))

    def _sample(self, number: int, candidate: Candidate) -> Callable[[], Tensor]:
        callback = self.progress.callback(number)
        return lambda: candidate.sample(self.hub.model, callback)

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
        if self.hub.check.foreign and len(self.entries) > 1:
            self.hub.rehearse(self._sample(len(self.entries) - 1, self.entries[-1].candidate))
        self.steps = self._steps()
        policy = self.policy(self.steps)
        self.moments = policy.moments(self.steps)
        self.progress.evaluations = expected_evaluations(policy, len(self.entries), self.steps)
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
        for entry in self.entries:
            self.hub.advance({entry.run: 0})
            if entry.run.error is None:
                return entry.run.steps
        raise ValueError(none_finished(self.entries)) from self.entries[0].error

    def _state(self) -> State:
        scores = tuple(tuple(entry.scores.get(moment) for moment in self.moments) for entry in self.entries)
        reached = tuple(entry.reached for entry in self.entries)
        alive = (row for row, entry in enumerate(self.entries) if entry.run.error is None and not entry.run.sampled)
        return State(scores, reached, sum(reached), tuple(alive), self.moments, self.steps)

    def _advance(self, goals: dict[int, int]) -> None:
        alive = self._state().alive
        wrong = [row for row, goal in goals.items() if row not in alive or goal <= self.entries[row].reached]
        if wrong:
            raise ValueError(f"the policy sends candidates {wrong} where they can't go: {goals}")
        self.hub.advance({self.entries[row].run: goal for row, goal in goals.items()}, self._served)
        for row, goal in goals.items():
            entry, run = self.entries[row], self.entries[row].run
            if run.sampled and not run.samples.isfinite().all():
                run.fail(FloatingPointError("its latent is NaN"))
            if run.error is None:
                entry.reached = self.steps if run.sampled else goal
                if run.sampled and goal < self.steps:
                    entry.leave_unscored(goal, NOT_SEEN)
        for moment in sorted(set(goals.values())):
            there = [row for row, goal in goals.items() if goal == moment and self.entries[row].run.paused]
            self._look(there, moment)

    def _served(self) -> None:
        runs = [entry.run for entry in self.entries]
        evaluations = sum(min(run.reached, self.steps) for run in runs)
        self.progress.update(sum(run.model_rows for run in runs), evaluations)

    def _look(self, rows: list[int], moment: int) -> None:
        """Score the candidates that stand at a moment."""
        seen = self._seen(rows, moment)
        if not seen:
            return
        with loaded_again(self.guiders.values(), self.hub.memory):
            found = verdicts(lambda some: score_and_show(self.probe, some), list(seen.values()))
        pictures, scores = {}, {}
        for row, verdict in zip(seen, found, strict=True):
            entry = self.entries[row]
            entry.seen = replace(seen[row], attention=None)
            if verdict.picture is not None:
                pictures[row] = entry.picture = verdict.picture
            if verdict.error is None:
                scores[row] = entry.scores[moment] = verdict.score
            else:
                entry.leave_unscored(moment, verdict.error)
        self.watcher.looked(moment, seen, pictures, scores)
        self.progress.shown = max(scores, key=scores.get, default=self.progress.shown)

    def _seen(self, rows: list[int], moment: int) -> dict[int, Features]:
        """What was captured of those that can be scored."""
        seen: dict[int, Features] = {}
        for row in rows:
            entry = self.entries[row]
            features = self.looker.features(entry.run)
            if features is not None and not features.denoised.isfinite().all():
                entry.run.fail(FloatingPointError(f"its latent is NaN at step {moment}"))
            elif why := self.looker.why_not_seen(entry.run, features):
                entry.leave_unscored(moment, why)
            else:
                seen[row] = features
        return seen

    def sampled(self) -> list[Run]:
        return [entry.run for entry in self.entries if entry.run.sampled]
