"""The search itself: sample candidates together, score them at moments, and finish those that a policy chooses.

Every finished latent is what the stock sampler returns for its prompt and seed alone (see ``hub``).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..capture.scoring import NOT_CAPTURED, row_scores, score_and_show
from ..core.features import Features
from ..core.probe import Probe
from ..runs.loaded import load_for
from ..runs.seeds import KEY as SEEDS_KEY
from .candidates import Candidate
from .hub.coroutine import Run, current_run
from .hub.hub import Hub
from .hub.row_check import RowCheck
from .looking import Looker
from .policies.marked import all_finish, goals_with_marks
from .policies.plan import expected_steps
from .policies.policy import Policy
from .progress import RowProgress
from .result import FinalReward, SearchResult, closing_line, none_finished, search_result
from .state import CandidateState, SearchState
from .watcher import Unwatched, Watcher

KEY = "diffusion_probe_search"


@dataclass(frozen=True)
class SearchOptions:
    """Settings of a search beyond its candidates, probe and policy.

    Attributes:
        max_rows: most rows per model call; 0: as many as fit in memory. See :class:`Hub`.
        final_reward: scores the finished candidates; None: their last score of the probe orders them.
        watcher: observes the search and may mark candidates.
    """

    max_rows: int = 0
    final_reward: FinalReward | None = None
    watcher: Watcher = Unwatched()


def seed_search(
    model: Any,
    candidates: Sequence[Candidate],
    probe: Probe,
    policy: Callable[[int], Policy],
    survivors: int = 1,
    options: SearchOptions = SearchOptions(),  # noqa: B008 (frozen)
) -> SearchResult:
    """Sample candidates together, and finish those that a policy chooses by a probe's scores.

    Args:
        model: the MODEL, without an attached probe and without seeds of its own.
        candidates: at least one; all with the same number of steps.
        probe: scores the candidates at the policy's moments, all that pause at one moment in one call.
        policy: makes the policy for a number of steps. It counts steps of the schedule; a sampler that evaluates
            the model more than once per step spends that much more on each.
        survivors: how many finished candidates are returned, at most.

    Raises:
        ValueError: no candidate; a MODEL with a probe or seeds; or no candidate could be finished, and why.
        InterruptProcessingException: the user stopped the prompt. The model is clean.
    """
    if not candidates:
        raise ValueError("there is no candidate. Give at least one seed.")
    if model.get_wrappers(WrappersMP.OUTER_SAMPLE, SEEDS_KEY):
        raise ValueError(
            "this MODEL brings seeds of its own, which give all candidates the same noise. "
            "Connect the MODEL from before the seeds are set: a search sets them itself."
        )
    search = _Search(model, candidates, probe, options)
    try:
        search.run(policy, survivors)
        search.progress.complete()
        search.hub.close(keep=search.sampled())
    finally:
        search.progress.close()
        search.hub.close()
    result = search_result(
        search.state,
        probe,
        survivors,
        marks=options.watcher.marks,
        final_reward=options.final_reward,
        warnings=[*search.hub.warnings, *search.looker.warnings],
        check_rows=search.hub.extra_rows,
    )
    logging.info("Diffusion Probe: %s", closing_line(result.outcome, search.clock))
    return result


class _Search:
    """Loop of one search over its state: decide, sample, score.

    Attributes:
        guiders: guider of each run inside of its sampler call, for what has to be loaded there.
    """

    def __init__(self, model: Any, candidates: Sequence[Candidate], probe: Probe, options: SearchOptions):
        shared = {id(thing): thing for candidate in candidates for thing in candidate.shared}
        self.hub = Hub(model, options.max_rows, tuple(shared.values()), RowCheck(model))
        self.looker = Looker(self.hub, probe)
        self.hub.model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, self._sampler_sample)
        self.guiders: dict[Run, Any] = {}
        self.probe, self.watcher, self.clock = probe, options.watcher, options.watcher.clock
        self.progress = RowProgress(self.hub.model, 1)
        self.state = SearchState([self._added(number, candidate) for number, candidate in enumerate(candidates)])

    def _added(self, number: int, candidate: Candidate) -> CandidateState:
        return CandidateState(candidate, self.hub.add(self._sample(number, candidate)))

    def _sample(self, number: int, candidate: Candidate) -> Callable[[], Tensor]:
        callback = self.progress.callback(number)
        return lambda: candidate.sample(self.hub.model, callback)

    def _sampler_sample(self, executor, guider, *args, **kwargs):
        """Keep the guider of a run while it samples: a SAMPLER_SAMPLE wrapper."""
        run = current_run()
        self.guiders[run] = guider
        try:
            return executor(guider, *args, **kwargs)
        finally:
            del self.guiders[run]

    def run(self, make_policy: Callable[[int], Policy], survivors: int) -> None:
        """Sample and score the candidates as the policy decides, until it returns no more goals."""
        state, last = self.state, len(self.state.candidates) - 1
        if self.hub.check.foreign and last > 0:
            self.hub.rehearse(self._sample(last, state.candidates[last].candidate))
        state.steps = self._start()
        policy = make_policy(state.steps)
        state.moments = policy.moments(state.steps)
        self.progress.steps = expected_steps(policy, len(state.candidates), state.steps)
        last_cut = False
        while goals := self._goals(policy, survivors):
            if not last_cut and all_finish(goals, state.steps):
                last_cut = True
                self.watcher.on_last_cut(state, lambda: self._goals(policy, survivors))
                continue  # decide again with the marks made meanwhile
            self.watcher.on_goals(state, goals)
            self._advance(goals)

    def _goals(self, policy: Policy, survivors: int) -> dict[int, int]:
        return goals_with_marks(policy, self.state.for_policy(), self.watcher.marks, survivors)

    def _start(self) -> int:
        """Start candidates until one starts well, and return the number of steps of its schedule."""
        for each in self.state.candidates:
            with self.clock.starting():
                self.hub.advance({each.run: 0})
            if each.run.error is None:
                return each.run.steps
        raise ValueError(none_finished(self.state)) from self.state.candidates[0].run.error

    def _advance(self, goals: dict[int, int]) -> None:
        """Sample candidates to their goals, and score those that pause there."""
        candidates = self.state.candidates
        alive = self.state.for_policy().alive
        wrong = [number for number, goal in goals.items() if number not in alive or goal <= candidates[number].reached]
        if wrong:
            raise ValueError(f"the policy sends candidates {wrong} where they can't go: {goals}")
        self.clock.sample()
        self.hub.plan(len(goals))
        load_for(self.guiders.values(), self.hub.memory)
        self.hub.advance({candidates[number].run: goal for number, goal in goals.items()}, self._show_progress)
        for number, goal in goals.items():
            self._note_reached(candidates[number], goal)
        for moment in sorted(set(goals.values())):
            paused = [number for number, goal in goals.items() if goal == moment and candidates[number].run.paused]
            self._score(paused, moment)

    def _note_reached(self, candidate: CandidateState, goal: int) -> None:
        run = candidate.run
        if run.sampled and not run.samples.isfinite().all():
            run.fail(FloatingPointError("its latent is NaN"))
        if run.error is None:
            candidate.reached = self.state.steps if run.sampled else goal
            if run.sampled and goal < self.state.steps:
                candidate.leave_unscored(goal, NOT_CAPTURED)

    def _show_progress(self) -> None:
        runs = [each.run for each in self.state.candidates]
        steps = sum(min(run.position, self.state.steps) for run in runs)
        rows = sum(run.model_rows for run in runs)
        self.clock.sampled(rows, self.progress.update(rows, steps))
        self.watcher.on_progress(self.state)

    def _score(self, numbers: list[int], moment: int) -> None:
        """Score the candidates that pause at a moment, and show them to the watcher."""
        captured = self._captured(numbers, moment)
        if not captured:
            return
        results = row_scores(lambda rows: score_and_show(self.probe, rows), list(captured.values()))
        scores = {}
        for (number, features), result in zip(captured.items(), results, strict=True):
            candidate = self.state.candidates[number]
            candidate.features, candidate.picture = features, result.picture
            if result.error is None:
                scores[number] = candidate.scores[moment] = result.score
            else:
                candidate.leave_unscored(moment, result.error)
        self.watcher.on_scores(self.state, list(captured))
        for number in captured:  # attention takes the most memory, and nothing reads it later
            candidate = self.state.candidates[number]
            candidate.features = replace(candidate.features, attention=None)
        self.progress.shown = max(scores, key=scores.get, default=self.progress.shown)

    def _captured(self, numbers: list[int], moment: int) -> dict[int, Features]:
        """Return the features of those candidates that can be scored at a moment, by number."""
        captured: dict[int, Features] = {}
        candidates = [self.state.candidates[number] for number in numbers]
        all_features = self.looker.features([candidate.run for candidate in candidates])
        for number, candidate, features in zip(numbers, candidates, all_features, strict=True):
            if features is not None and not features.denoised.isfinite().all():
                candidate.run.fail(FloatingPointError(f"its latent is NaN at step {moment}"))
            elif why := self.looker.why_not_scored(candidate.run, features):
                candidate.leave_unscored(moment, why)
            else:
                captured[number] = features
        return captured

    def sampled(self) -> list[Run]:
        """Return the runs that are sampled to the end and not yet cleaned up."""
        return [each.run for each in self.state.candidates if each.run.sampled]
