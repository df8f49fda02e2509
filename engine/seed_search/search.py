"""The search itself: sample candidates together, score them at moments, and finish those that a policy chooses.

Every finished latent is what the stock sampler returns for its prompt and seed alone (see ``hub``).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..capture.scoring import NOT_CAPTURED, row_scores, score_and_show
from ..core.features import Features
from ..core.probe import Probe
from ..core.readback import to_host
from ..runs.loaded import load_for
from ..runs.seeds import KEY as SEEDS_KEY
from .candidates import Candidate
from .hub.coroutine import Run, current_run
from .hub.hub import Hub
from .hub.row_check import RowCheck
from .looking import Looker
from .policies.chosen import InOrder, after_hold
from .policies.marked import all_finish, goals_with_marks
from .policies.plan import expected_steps, line_on_start
from .policies.policy import Policy
from .prefixes import PrefixStore, RunKey, RunKeys
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
        prefixes: where the first evaluations of candidates that are not finished are kept, and found again; None:
            nowhere.
    """

    max_rows: int = 0
    final_reward: FinalReward | None = None
    watcher: Watcher = Unwatched()
    prefixes: PrefixStore | None = None


def seed_search(
    model: Any,
    candidates: Sequence[Candidate],
    probe: Probe | None,
    policy: Callable[[int], Policy],
    survivors: int = 1,
    options: SearchOptions = SearchOptions(),  # noqa: B008 (frozen)
) -> SearchResult:
    """Sample candidates together, and finish those that a policy chooses by a probe's scores.

    Args:
        model: the MODEL, without an attached probe and without seeds of its own.
        candidates: at least one; all with the same number of steps.
        probe: scores the candidates at the policy's moments, all that pause at one moment in one call. None: the
            watcher sees them there, and none has a score; the policy is to be a :class:`Chosen`.
        policy: makes the policy for a number of steps. It counts steps of the schedule; a sampler that evaluates
            the model more than once per step spends that much more on each.
        survivors: how many finished candidates are returned, at most.

    Raises:
        ValueError: no candidate; a MODEL with a probe or seeds; or no candidate could be finished, and why.
        InterruptProcessingException: the user stopped the prompt. The model is clean.
    """
    search = _Search(model, candidates, probe, options)
    return search.result(lambda: search.run(policy, survivors), survivors)


def finish_candidates(
    model: Any,
    candidates: Sequence[Candidate],
    options: SearchOptions = SearchOptions(),  # noqa: B008 (frozen)
) -> SearchResult:
    """Sample all candidates to the end, without any look at them, and return them in their order.

    Evaluations of which a prefix is kept are not computed again.

    Args:
        model: as of :func:`seed_search`.
        candidates: at least one; all with the same number of steps.

    Raises:
        ValueError, InterruptProcessingException: as :func:`seed_search`.
    """
    search = _Search(model, candidates, None, options)
    return search.result(search.finish, len(candidates))


class _Search:
    """Loop of one search over its state: decide, sample, score.

    Attributes:
        guiders: guider of each run inside of its sampler call, for what has to be loaded there.
    """

    def __init__(self, model: Any, candidates: Sequence[Candidate], probe: Probe | None, options: SearchOptions):
        if not candidates:
            raise ValueError("there is no candidate. Give at least one seed.")
        if model.get_wrappers(WrappersMP.OUTER_SAMPLE, SEEDS_KEY):
            raise ValueError(
                "this MODEL brings seeds of its own, which give all candidates the same noise. "
                "Connect the MODEL from before the seeds are set: a search sets them itself."
            )
        shared = {id(thing): thing for candidate in candidates for thing in candidate.shared}
        room = 0 if options.prefixes is None else options.prefixes.limit_bytes
        self.hub = Hub(model, options.max_rows, tuple(shared.values()), RowCheck(model), room)
        self.looker = Looker(self.hub, probe)
        self.keys, self.options = RunKeys(model), options
        self.hub.model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, self._sampler_sample)
        self.guiders: dict[Run, Any] = {}
        self.probe, self.watcher, self.clock = probe and probe.for_model(model), options.watcher, options.watcher.clock
        self.policy: Policy = InOrder(len(candidates))  # until run() has one
        self.progress = RowProgress(self.hub.model, 1)
        self.state = SearchState([self._added(number, candidate) for number, candidate in enumerate(candidates)])

    def _added(self, number: int, candidate: Candidate) -> CandidateState:
        return CandidateState(candidate, self.hub.add(self._sample(number, candidate)))

    def result(self, run: Callable[[], None], survivors: int) -> SearchResult:
        """Run the search, keep what it sampled of the others even if it is stopped, and return its result."""
        try:
            try:
                run()
            finally:
                self._keep_prefixes()
            self.progress.complete()
            self.hub.close(keep=self.sampled())
        finally:
            self.progress.close()
            self.hub.close()
        result = search_result(
            self.state,
            self.probe,
            survivors,
            marks=self.watcher.marks,
            final_reward=self.options.final_reward,
            clock=self.clock,
            warnings=self._warnings(),
            check_rows=self.hub.extra_rows,
        )
        logging.info("Diffusion Probe: %s", closing_line(result.outcome, self.clock))
        return result

    def _warnings(self) -> list[str]:
        remarks = self.probe.remarks() if self.probe else ()
        return [text for text in (self.state.remark, *self.hub.warnings, *self.looker.warnings, *remarks) if text]

    def _keep_prefixes(self) -> None:
        """Keep the first evaluations of the candidates that are not finished."""
        if self.options.prefixes is None:
            return
        prefixes = {}
        for each in self.state.candidates:
            prefix = self.hub.prefix_of(each.run)
            key = self._key(each.candidate) if prefix else None
            if key is not None:
                prefixes[key] = prefix
        self.options.prefixes.add(prefixes)

    def _key(self, candidate: Candidate) -> RunKey | None:
        return self.keys.of(candidate.name, candidate.inputs)

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
        state = self.state
        state.steps = self._start()
        policy = self.policy = make_policy(state.steps)
        state.moments = policy.moments(state.steps)
        self.progress.steps = expected_steps(policy, len(state.candidates), state.steps)
        state.remark = line_on_start(policy, len(state.candidates), state.steps)
        if state.remark:
            logging.info("Diffusion Probe: %s", state.remark)
        last_cut = False
        while True:
            goals = self._goals(policy, survivors)
            if not last_cut and self._is_last_cut(goals):
                last_cut = True
                state.hold = self.watcher.on_last_cut(state, partial(self._goals, policy, survivors))
                policy = self.policy = after_hold(policy, state.hold, survivors)
                continue  # decide again with the marks made meanwhile
            if not goals:
                break
            at_least = sum(goals.get(number, each.reached) for number, each in enumerate(state.candidates))
            self.progress.steps = max(self.progress.steps, at_least)
            self.watcher.on_goals(state, goals)
            self._advance(goals)

    def _is_last_cut(self, goals: Mapping[int, int]) -> bool:
        """Tell whether no look follows these goals; without a probe also where there are none, but candidates."""
        undecided = self.probe is None and bool(self.state.for_policy().alive)
        return all_finish(goals, self.state.steps) and (bool(goals) or undecided)

    def finish(self) -> None:
        """Sample all candidates to the end, with the prefixes that are kept of them."""
        state = self.state
        state.finishes = True
        if self.options.prefixes is not None:
            for each in state.candidates:
                each.run.prefix = prefix = self.options.prefixes.find(self._key(each.candidate))
                self.progress.not_computed += prefix.position if prefix else 0
        state.steps = self._start()
        while goals := dict.fromkeys(state.for_policy().alive, state.steps):
            self.watcher.on_goals(state, goals)
            self._advance(goals)
            self._start_again()

    def _start_again(self) -> None:
        """Start those candidates again from the start whose prefix was not that of their run."""
        for number, each in enumerate(self.state.candidates):
            if each.run.strayed:
                logging.warning(f"Diffusion Probe: what was kept of seed {each.candidate.name} is of another run.")
                each.run.stop()
                each.reached, each.run = 0, self.hub.add(self._sample(number, each.candidate))

    def _goals(self, policy: Policy, survivors: int) -> dict[int, int]:
        return goals_with_marks(policy, self.state.for_policy(), self.watcher.marks, survivors)

    def _start(self) -> int:
        """Start candidates until one starts well, and return the number of steps of its schedule."""
        last = len(self.state.candidates) - 1
        if self.hub.check.foreign and last > 0:
            self.hub.rehearse(self._sample(last, self.state.candidates[last].candidate))
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
        self.hub.calls.plan(len(goals))
        load_for(self.guiders.values(), self.hub.calls.memory)
        self.hub.advance({candidates[number].run: goal for number, goal in goals.items()}, self._show_progress)
        self._fail_not_finite([candidates[number].run for number in goals])
        for number, goal in goals.items():
            if not candidates[number].run.strayed:
                self._note_reached(candidates[number], goal)
        for moment in sorted(goal for goal in set(goals.values()) if goal < self.state.steps):
            paused = [number for number, goal in goals.items() if goal == moment and candidates[number].run.paused]
            self._score(paused, moment)

    def _fail_not_finite(self, runs: Sequence[Run]) -> None:
        """Let runs fail that have come to the end with NaN; all are read at once."""
        ended = [run for run in runs if run.sampled and not run.strayed]
        for run, finite in zip(ended, to_host([run.samples.isfinite().all() for run in ended]), strict=True):
            if not finite:
                run.fail(FloatingPointError("its latent is NaN"))

    def _note_reached(self, candidate: CandidateState, goal: int) -> None:
        run = candidate.run
        if run.error is None:
            candidate.reached = self.state.steps if run.sampled else goal
            if run.sampled and goal < self.state.steps and self.probe is not None:
                candidate.leave_unscored(goal, NOT_CAPTURED)

    def _show_progress(self) -> None:
        runs = [each.run for each in self.state.candidates]
        replayed = sum(run.skipped for run in runs)
        steps = sum(min(run.position, self.state.steps) for run in runs) - replayed
        if self.state.finishes:
            self.progress.steps = len(runs) * self.state.steps - replayed
        rows = sum(run.model_rows for run in runs)
        self.clock.sampled(rows, self.progress.update(rows, steps))
        self.watcher.on_progress(self.state)

    def _score(self, numbers: list[int], moment: int) -> None:
        """Score the candidates that pause at a moment, and show them to the watcher."""
        with self.clock.looking(len(numbers)):
            self._look(numbers, moment)

    def _look(self, numbers: list[int], moment: int) -> None:
        captured = self._captured(numbers, moment)
        if not captured:
            return
        scores = self._scores(captured, moment) if self.probe is not None else {}
        self.state.look_price += len(captured) * self.policy.price_at(moment, self.state.steps)
        for number, features in captured.items():
            self.state.candidates[number].features = features
        self.watcher.on_scores(self.state, list(captured))
        for number in captured:  # attention takes the most memory, and nothing reads it later
            candidate = self.state.candidates[number]
            candidate.features = replace(candidate.features, attention=None)
        self.progress.shown = max(scores, key=scores.get, default=self.progress.shown)

    def _scores(self, captured: Mapping[int, Features], moment: int) -> dict[int, float]:
        """Score candidates, and note scores, pictures and errors; return the scores by number."""
        probe = self._probe_at(moment)
        results = row_scores(lambda rows: score_and_show(probe, rows), list(captured.values()))
        scores = {}
        for number, result in zip(captured, results, strict=True):
            candidate = self.state.candidates[number]
            candidate.picture = candidate.picture if result.picture is None else result.picture
            if result.error is None:
                scores[number] = candidate.scores[moment] = result.score
            else:
                candidate.leave_unscored(moment, result.error)
        return scores

    def _probe_at(self, moment: int) -> Probe:
        """Return the probe of a moment: the part that costs nothing, where the policy takes that alone."""
        is_free = self.policy.is_free(moment, self.state.steps)
        return self.probe.free_part if is_free and self.probe.free_part is not None else self.probe

    def _captured(self, numbers: list[int], moment: int) -> dict[int, Features]:
        """Return the features of those candidates that can be scored at a moment, by number."""
        captured: dict[int, Features] = {}
        candidates = [self.state.candidates[number] for number in numbers]
        all_features = self.looker.features([candidate.run for candidate in candidates])
        for number, candidate, features in zip(numbers, candidates, all_features, strict=True):
            if features is not None and not features.denoised.isfinite().all():
                candidate.run.fail(FloatingPointError(f"its latent is NaN at step {moment}"))
            elif why := self.looker.why_not_scored(candidate.run, features):
                if self.probe is not None:
                    candidate.leave_unscored(moment, why)
            else:
                captured[number] = features
        return captured

    def sampled(self) -> list[Run]:
        """Return the runs that are sampled to the end and not yet cleaned up."""
        return [each.run for each in self.state.candidates if each.run.sampled]
