"""Capture of a search's candidates: a recording of each run, up to where it pauses."""

from collections.abc import Sequence
from typing import Any, cast

from comfy.patcher_extension import WrappersMP

from ..capture.hooks.families import family_for
from ..capture.hooks.wrapper import captured_call
from ..capture.moments import Moment, percent_of_sigma, sampling_on_host
from ..capture.prompt.encode import SharedTexts
from ..capture.recording import Recording
from ..capture.scoring import NOT_CAPTURED, why_not_scored
from ..core.features import DENOISED, Features
from ..core.probe import Probe
from ..core.readback import to_host
from ..core.samplers import traits_of
from ..runs.keys import RECORDING
from .hub.coroutine import Run, current_run
from .hub.hub import Hub


class GoalPlan:
    """Plan of the evaluations to capture, as a ``MomentPlan``: the last one before the run's goal.

    Evaluations of the step before the goal are captured, and a later one replaces an earlier one. Of samplers that
    choose their own sigmas all evaluations are captured, because any may be the last. On the way to the end of a
    run nothing is captured, because nothing is scored there.
    """

    def __init__(self, run: Run, model_sampling: Any):
        self.run, self.model_sampling = run, model_sampling
        self.own_sigmas = traits_of(run.sampler).own_sigmas

    def percent(self, sigma: float) -> float:
        """Return where a noise level is in the whole noise range."""
        return percent_of_sigma(self.model_sampling, sigma)

    def wanted(self, step: int, sigma: float) -> list[Moment]:
        """Return the moment that an evaluation at noise level ``sigma`` may be; an empty list if it is none."""
        goal = self.run.goal
        if goal >= self.run.steps or not (self.own_sigmas or self.run.position_at(sigma) >= goal - 1):
            return []
        return [Moment(step=int(goal))]


class Looker:
    """Recorder of what a probe needs of the runs of a hub; without a probe, of x0 for their pictures.

    Raises:
        ValueError: a probe is attached to the model already, or its family's attention is not known.
    """

    def __init__(self, hub: Hub, probe: Probe | None):
        if hub.model.get_attachment(RECORDING) is not None:
            raise ValueError(
                "a probe is attached to this MODEL already, and a search captures by itself. "
                "Connect the MODEL from before the probe was attached, and the probe to the input probe."
            )
        self.needs = frozenset(probe.needs if probe else {DENOISED})
        self.projection = probe.projection if probe else None
        self.family = family_for(self.needs, hub.model)
        self._texts = SharedTexts()
        self._recordings: dict[Run, Recording] = {}
        self._on_host: tuple[Any, Any] | None = None
        self._notes: dict[str, None] = {}
        hub.model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, RECORDING, self._predict_noise)
        hub.model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, RECORDING, captured_call)

    def _predict_noise(self, executor, x, timestep, model_options, seed=None):
        """Record an evaluation: a PREDICT_NOISE wrapper, inside of the hub's."""
        run = current_run()
        if run not in self._recordings:
            recording = Recording(self.family, self.needs, None, self.projection, on_device=True, texts=self._texts)
            recording.plan = cast(Any, GoalPlan(run, self._sampling(executor.class_obj.inner_model.model_sampling)))
            self._recordings[run] = recording
        return self._recordings[run].evaluate(executor, x, timestep, model_options, seed)

    def _sampling(self, model_sampling: Any) -> Any:
        """Return :func:`sampling_on_host` of a run's sampling object, made once for all runs."""
        if self._on_host is None or self._on_host[0] is not model_sampling:
            self._on_host = model_sampling, sampling_on_host(model_sampling)
        return self._on_host[1]

    def features(self, runs: Sequence[Run]) -> list[Features | None]:
        """Return and release what was captured last of runs at their goals, all read from the device at once.

        None for a run of which nothing was captured there.
        """
        captured = [self._released(run) for run in runs]
        tensors = [tensor for row in captured for tensor in (row.tensors() if row is not None else ())]
        copies = iter(to_host(tensors))
        return [None if row is None else row.with_tensors(copies) for row in captured]

    def _released(self, run: Run) -> Features | None:
        recording = self._recordings.get(run)
        if recording is None:
            return None
        features = recording.row_features(0)
        self._notes |= dict.fromkeys(recording.notes())
        recording.clear()
        return features.get(str(Moment(step=int(run.goal))))

    def why_not_scored(self, run: Run, features: Features | None) -> str | None:
        """Return why a run can't be scored from its features, None if it can."""
        if features is not None:
            return why_not_scored(features, self.needs)
        recording = self._recordings.get(run)
        why = recording and (recording.why_not.get(Moment(step=int(run.goal))) or recording.broken)
        return why or NOT_CAPTURED

    @property
    def warnings(self) -> list[str]:
        """Sentences that the user should read about what was captured."""
        return list(self._notes)
