"""Hub: batches the model calls of many sampler runs.

Where a run (see ``coroutine``) would call the model it pauses; the hub joins the rows of all runs that wait, calls
the model once, and resumes each run with its rows of the output. A run that is dropped is not resumed.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import comfy.model_management
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...core.readback import forget_sigma, note_sigma, sigma_of, to_host
from ...core.samplers import AT_STEPS, sampler_name, traits_of
from ...runs.keys import STEP_CACHE
from ...runs.model_wrappers import HUB, ModelCall, in_front
from ...runs.origins import is_core, listed
from ...runs.rows import cache_on
from .batching import join, joinable, rows_of, split
from .call_plan import CallPlan, control_bytes
from .coroutine import PAUSED, SAMPLED, Run, current_run, is_inside_run, pause
from .forwards import Forwards
from .model_state import ModelState
from .patch_state import Change, PatchState, Slot
from .prefix import Prefix, bytes_of, copy_on_cpu
from .row_check import RowCheck, added_code

KEY = "diffusion_probe_hub"

REHEARSED, WATCHED = 2, 2
"""Evaluations of a run that are rehearsed, and during which tensors of patches are watched for writes in place."""


class Hub:
    """Sampler runs of one MODEL side by side, in inference mode as ComfyUI runs every prompt.

    Args:
        model: the MODEL to sample; the runs have to use :attr:`model`, a clone of it.
        max_rows: most rows (one latent for one cond) per model call; 0 leaves it to ComfyUI's
            memory estimate. A run whose own call is larger is not split.
        shared: objects that the runs share besides the model, such as a guider or a sampler; patches may keep
            state there.
        check: decides which rows of joined calls are compared with calls of single runs; None: none.
        room: how many bytes of results of evaluations are kept, for :meth:`prefix_of`.

    Attributes:
        unjoined: why calls are not joined any more; empty as long as they are.
        calls: how many runs share a call, and the memory for it.
        extra_rows: rows that were computed beside those of the runs, to compare joined calls with single ones.

    A closed hub and its runs do not refer to each other, so their tensors are freed without a pass of the garbage
    collector.
    """

    def __init__(
        self, model: Any, max_rows: int = 0, shared: Sequence[Any] = (), check: RowCheck | None = None, room: int = 0
    ):
        self.model = model.clone()
        self.room = 0 if _has_cache(model) else room
        roots = [model.model_options, model.wrappers, model.callbacks, model.object_patches, *shared]
        self.patches = PatchState(roots, [model.model.diffusion_model])
        self.forwards = Forwards(model.model.diffusion_model)
        self.model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, self._sampler_sample)
        self.model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, self._predict_noise)
        self.runs: list[Run] = []
        self.calls = CallPlan(self.model, max_rows, self.runs)
        self.model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, self.calls.outer_sample)
        self.model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, self.calls.prepare_sampling)
        others = self.model.wrappers.get(WrappersMP.APPLY_MODEL, {})
        self.model.wrappers[WrappersMP.APPLY_MODEL] = {KEY: [self._apply_model], **others}
        self.check = check
        self.unjoined = ""
        self.stock = not any(True for _ in added_code(model))
        self.extra_rows = 0
        self._too_large = self._restored = ""
        self._disturbed = ""
        self._rehearsal: Run | None = None
        self._rehearsed: Tensor | None = None
        self._in_calls: set[Slot] = set()
        self._schedules: dict[tuple[float, ...], Tensor] = {}
        self._kept_bytes = 0
        self._ready: dict[Run, tuple[Tensor, ...]] = {}

    @property
    def warnings(self) -> list[str]:
        """Sentences that the user should read about how it went."""
        too_large = ""
        if self._too_large:
            too_large = (
                f"{self._too_large}; went on with at most {self.calls.max_rows}. "
                "Set max rows per call to that, and the next search starts there."
            )
        return [warning for warning in (too_large, self.unjoined, self._restored) if warning]

    # Inside of a run.

    def _sampler_sample(self, executor, guider, sigmas, extra_args, callback, noise, *args, **kwargs):
        """Note schedule and sampler of a run, sample it, and pause before its clean-up: a SAMPLER_SAMPLE wrapper.

        The clean-up removes what all runs share: the patcher's state, ControlNets, hooks.
        """
        run = current_run()
        run.sigmas = sigmas.tolist()
        options = extra_args["model_options"]["transformer_options"]
        if (schedule := options.get("sample_sigmas")) is not None:  # one object for all that have the same
            values = run.sigmas if schedule is sigmas else schedule.tolist()
            options["sample_sigmas"] = self._schedules.setdefault(tuple(values), schedule)
        run.sampler = sampler_name(executor.class_obj)
        run.at_steps = (
            not run.evaluations and self.stock and evaluates_at_steps(executor.class_obj) and is_core(type(guider))
        )
        run.state.add_hooks(extra_args["model_options"])
        run.begin_sampler(extra_args["model_options"])
        run.samples = executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)
        run.position = run.steps
        pause(SAMPLED)
        return run.samples

    def _predict_noise(self, executor, x, timestep, model_options, *args, **kwargs):
        """Pause a run at its goal, and pass its model calls to the hub: a PREDICT_NOISE wrapper."""
        run = current_run()
        if run.at_steps and run.evaluations < run.steps:  # known without waiting for the device
            note_sigma(timestep, run.sigmas[run.evaluations])
        run.sigma = sigma_of(timestep)
        run.position = max(run.position, run.position_at(run.sigma))
        run.x = x
        while run.goal <= run.position and run.goal < run.steps:
            pause(PAUSED)
        if run.evaluations == REHEARSED and self._rehearsal is not None:
            self._compare(run, x)
        run.evaluations += 1
        output = run.known_output()
        if output is None:
            run.leave_prefix(x)
            with run.evaluation_kept(model_options), in_front(model_options, HUB, self._wait_for_output):
                output = executor(x, timestep, model_options, *args, **kwargs)
        forget_sigma(timestep)
        self._keep(run, output)
        return output.to(x.device, copy=True) if run.prefix else output

    def _keep(self, run: Run, output: Tensor) -> None:
        """Keep the result of an evaluation as long as there is room for it."""
        run.keeps = run.keeps and self._kept_bytes + bytes_of(output) <= self.room
        if not run.keeps:
            self._release(run)
            return
        run.outputs.append(output if run.prefix else output.detach().clone())
        self._kept_bytes += bytes_of(output)

    def _outputs_to_host(self) -> None:
        """Copy the results that are kept to the CPU, all at once."""
        runs = [run for run in self.runs if run.outputs]
        copies = iter(to_host([output for run in runs for output in run.outputs]))
        for run in runs:
            run.outputs[:] = [next(copies) for _ in run.outputs]

    def _release(self, run: Run) -> None:
        """Release the results that are kept of a run."""
        self._kept_bytes -= sum(map(bytes_of, run.outputs))
        run.outputs.clear()

    def _wait_for_output(self, call: ModelCall) -> Tensor:
        """Pause until the hub has called the model for this run, and return the output."""
        if not is_inside_run():  # on another thread, as ComfyUI calls the model of another GPU
            return call.execute()
        call.hooks = self.model.current_hooks
        if (run := current_run()).at_steps:
            call.sigma = run.sigma
        return pause(call)

    def _apply_model(
        self, executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kw
    ):
        """Pass calls that bypass ``model_function_wrapper`` to the hub: an APPLY_MODEL wrapper."""
        arguments = {"c_concat": c_concat, "c_crossattn": c_crossattn, "control": control, **kw}
        arguments["transformer_options"] = transformer_options
        return self._wait_for_output(ModelCall(executor, x, t, arguments))

    # Between runs.

    def add(self, sample: Callable[[], Tensor], prefix: Prefix | None = None) -> Run:
        """Add a run without starting it.

        Args:
            sample: samples it.
            prefix: results of its first evaluations, which are not computed again. If they are not those of this
                run, it is :attr:`Run.strayed` in the end.
        """
        run = Run(sample, ModelState(self.model), self.patches, prefix=prefix, keeps=self.room > 0)
        self.runs.append(run)
        return run

    def prefix_of(self, run: Run) -> Prefix | None:
        """Return the results of the evaluations so far of a run that pauses or waits; None if none can be used later.

        They can't where patches of other packs keep values from one evaluation to the next, or draw random numbers.
        """
        between = run.paused or run.waiting is not None
        if not (between and run.keeps and run.outputs) or run.strayed or self.patches.origins:
            return None
        return Prefix(tuple(run.outputs), copy_on_cpu(run.x), run.position)

    @torch.inference_mode()
    def rehearse(self, sample: Callable[[], Tensor]) -> None:
        """Sample one candidate for two evaluations before any other, to find out later whether others disturb it.

        The last run that is added has to reach its third evaluation with the same latent, or :meth:`advance`
        raises: then some code keeps state between steps that could not be found.

        Args:
            sample: samples the last run.
        """
        self._rehearsal = run = self.add(sample)
        try:
            self.advance({run: 1 << 30})
        finally:
            run.stop()
            self._release(run)
            run.forget()
            self.runs.remove(run)
            self.extra_rows += run.model_rows

    def _compare(self, run: Run, x: Tensor) -> None:
        """Keep the latent of the rehearsal before its third evaluation, and compare the last run's with it."""
        if run is self._rehearsal:
            self._rehearsed = x.clone()
            pause(PAUSED)
        elif run is self.runs[-1] and self._rehearsed is not None:
            if self.check.differ(x, self._rehearsed, steps=True):
                self._disturbed = (
                    f"the candidates disturb each other: with {listed(self.check.foreign)} on this MODEL, the second "
                    "step of a candidate among others is not what it is alone. Take it out, or sample the seeds one by "
                    "one."
                )
            self._rehearsed = None

    @torch.inference_mode()
    def advance(self, goals: Mapping[Run, int], after_call: Callable[[], None] = lambda: None) -> None:
        """Resume runs until each pauses at its goal or ends; all together, in as few model calls as fit.

        Args:
            goals: run → position (:attr:`Run.position`); 0 only starts it, its number of steps or more is the end.
            after_call: called after every model call.

        Raises:
            ValueError: the second step of a run differs from the rehearsal: see :meth:`rehearse`.
            InterruptProcessingException: the user stopped the prompt. :meth:`close` is still to be called.
            torch.OutOfMemoryError: not even a call of a single run fits; :meth:`close` is still to be called.
        """
        if self.check is not None:
            self.check.renew()
        for run, goal in goals.items():
            run.goal = goal
            self._ready[run] = ()
        self._resume_ready()
        while waiting := self._waiting():
            comfy.model_management.throw_exception_if_processing_interrupted()
            self._serve(waiting)
            if self._disturbed:
                raise ValueError(self._disturbed)
            after_call()
        self._outputs_to_host()

    def _waiting(self) -> list[Run]:
        """Return the runs that wait for the model, and not only to be resumed with its output."""
        return [run for run in self.runs if run.waiting is not None and run not in self._ready]

    def _resume_ready(self) -> None:
        """Resume runs that can go on.

        Where each holds the outputs of ControlNets while it waits for the model, no more than share a call are resumed.
        """
        waiting = self._waiting()
        holds = any(control_bytes(run.waiting) for run in waiting)
        while self._ready and not (holds and len(waiting) >= (self.calls.per_call or len(self.runs))):
            run = min(self._ready, key=lambda run: run.evaluations) if holds else next(iter(self._ready))
            run.resume(*self._ready.pop(run))
            if run.waiting is not None:
                waiting.append(run)
                holds = holds or control_bytes(run.waiting) > 0

    def _serve(self, waiting: Sequence[Run]) -> None:
        """Call the model once, for the run with the fewest evaluations and all that can join it, and resume them."""
        group = self._group(waiting)
        allowed = self.calls.max_rows
        outputs: Sequence[Any] = self._checked_outputs(group) if len(group) > 1 else self._outputs(group)
        if self.calls.max_rows != allowed:
            logging.warning("Diffusion Probe: %s", self.warnings[0])
        if all(map(comfy.model_management.is_oom, outputs)) and not any(run.model_rows for run in self.runs):
            raise outputs[0]  # for ComfyUI, which unloads its models then
        for run, output in zip(group, outputs, strict=True):
            if isinstance(output, Exception):
                run.fail(output)
            else:
                run.model_rows += rows_of(run.waiting)
                run.waiting = replace(run.waiting, arguments={})  # what ControlNets computed for it is not needed again
                self._ready[run] = (output,)
        self._resume_ready()
        if min((run.evaluations for run in self.runs if run.waiting or run.paused), default=0) > WATCHED:
            self.patches.stop_watching()

    def _group(self, waiting: Sequence[Run]) -> list[Run]:
        last = min(waiting, key=lambda run: run.evaluations)
        if self.unjoined or traits_of(last.sampler).adaptive:  # rounding of another batch would change its steps
            return [last]
        joined = [run for run in waiting if run is not last and self._may_join(last, run)]
        return [last, *joined][: self.calls.runs_that_fit([last, *joined])]

    def _may_join(self, first: Run, second: Run) -> bool:
        return joinable(first.waiting, second.waiting) and self.patches.agree(first.kept, second.kept, self._in_calls)

    def _checked_outputs(self, group: Sequence[Run]) -> Sequence[Tensor | Exception]:
        """Return the outputs of a joined call, compared with calls of single runs where the check is due.

        A run that was compared gets the output of its single call.
        """
        due = self.check.due(group[0].waiting, len(group)) if self.check else []
        before = [run.own_state() for run in group] if due else []
        outputs: list[Any] = list(self._outputs(group))
        if self.unjoined or any(isinstance(output, Exception) for output in outputs):
            return outputs
        for number in due:
            run, joined = group[number], outputs[number]
            run.restore(before[number])
            (outputs[number],) = self._outputs([run])
            self.extra_rows += rows_of(run.waiting)
            if not isinstance(outputs[number], Exception) and self.check.differ(joined, outputs[number]):
                self._stop_joining(
                    f"{listed(self.check.foreign)} computes rows of one call differently from single rows"
                )
                for other, own in zip(group, before, strict=True):
                    other.restore(own)
                return self._outputs_unjoined(group)
        return outputs

    def _stop_joining(self, why: str) -> None:
        if not self.unjoined:
            self.unjoined = f"Every candidate was computed in model calls of its own, which is slower: {why}."
            logging.warning("Diffusion Probe: %s", self.unjoined)

    def _outputs_unjoined(self, group: Sequence[Run]) -> list[Tensor | Exception]:
        """Return the outputs of single calls, after a joined call whose outputs can't be used."""
        self.extra_rows += _rows(group)
        return [output for run in group for output in self._outputs([run])]

    def _outputs(self, group: Sequence[Run]) -> Sequence[Tensor | Exception]:
        """Return the model's output for each run of a group, or the error of its single call.

        A call that fails is tried again in halves. If none of its runs then fails, it was too large, for the memory
        or for another pack that relies on its number of rows: no call as large follows.
        """
        if self.unjoined and len(group) > 1:
            return [output for run in group for output in self._outputs([run])]
        rows, half = _rows(group), len(group) // 2
        wrong, no_memory = "", False
        if len(group) == 1 or not self.calls.max_rows or rows <= self.calls.max_rows:
            try:
                return self._call(group)
            except Exception as error:
                no_memory = comfy.model_management.is_oom(error)
                if len(group) == 1:
                    return [error.with_traceback(None) if no_memory else error]  # its frames hold memory
                wrong = f"Out of memory at {rows} rows in one model call"
                if not no_memory:
                    wrong = f"{rows} rows in one model call fail, fewer work ({type(error).__name__}: {error})"
        if no_memory:
            comfy.model_management.soft_empty_cache()
            self._limit_to(_rows(group[half:]), wrong)
        outputs = [*self._outputs(group[:half]), *self._outputs(group[half:])]
        if wrong and not any(isinstance(output, Exception) for output in outputs):
            self._limit_to(_rows(group[half:]), wrong)
        return outputs

    def _call(self, group: Sequence[Run]) -> Sequence[Tensor | Exception]:
        """Call the model once, with the own state of its first run installed."""
        first, before = group[0], [run.own_state() for run in group]
        calls = [run.waiting for run in group]
        with first.installed() as changes:
            first.state.use_hooks(calls[0].hooks)
            outputs = split(join(calls).execute(), calls) if len(calls) > 1 else [calls[0].execute()]
        self._in_calls.update(change.slot for change in changes)
        if len(group) == 1:
            return outputs
        why = self._why_not_joined(changes, first.drew_since(before[0].random_states))
        if why:
            for run, own in zip(group, before, strict=True):
                run.restore(own)
            self._stop_joining(why)
            return self._outputs_unjoined(group)
        self.patches.share(changes, [run.kept for run in group[1:]])
        return outputs

    def _why_not_joined(self, changes: Sequence[Change], drew: bool) -> str:
        """Return why runs must not share a call with these changes of patches' state; empty if they may."""
        if drew:
            return f"{listed(self.check.foreign if self.check else ())} draws random numbers inside of the model call"
        tied = [self.patches.origins[change.slot] for change in changes if change.ties_runs]
        return f"{listed(tied)} keeps what it computed in one model call for later" if tied else ""

    def _limit_to(self, rows: int, why: str) -> None:
        if not self.calls.max_rows or rows < self.calls.max_rows:
            self.calls.max_rows = rows
            self._too_large = self._too_large or why

    @torch.inference_mode()
    def close(self, keep: Sequence[Run] = ()) -> None:
        """End all runs and clean up after them; those in ``keep``, which are sampled to the end, get their result."""
        for run in self.runs:
            if run not in keep:
                run.stop()
        self._ready.clear()
        for run in keep:
            while run.sampled:
                self.advance({run: run.steps})  # more than once, if it samples more than once
        for run in self.runs:
            run.forget()
        self.patches.end()
        if methods := [*self.patches.changed_methods(), *self.forwards.restore()]:
            self._restored = f"While searching, other code replaced {', '.join(methods)} of the model. It was restored."
            logging.warning("Diffusion Probe: %s", self._restored)
        self.model.wrappers.clear()


def evaluates_at_steps(sampler: Any) -> bool:
    """Tell whether a SAMPLER is one of ComfyUI's that evaluate the model once in each step, where it begins."""
    function = getattr(sampler, "sampler_function", None)
    churns = getattr(sampler, "extra_options", {}).get("s_churn")  # which raises the noise level first
    return is_core(function) and not churns and sampler_name(sampler) in AT_STEPS


def _has_cache(model: Any) -> bool:
    """Tell whether a cache on a MODEL keeps values of evaluations: this pack's, or a known one of others."""
    own = STEP_CACHE in model.wrappers.get(WrappersMP.OUTER_SAMPLE, {})
    return own or bool(cache_on(model.model_options.get("transformer_options", {})))


def _rows(group: Sequence[Run]) -> int:
    return sum(rows_of(run.waiting) for run in group)
