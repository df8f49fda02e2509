"""The model as a batching server for many sampler runs at once.

Where a run (see ``coroutine``) would call the model it stands still; the hub joins the rows of all
runs that wait, calls the model once, and hands each its rows back. A run that isn't wanted any more
is simply not resumed.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import comfy.model_management
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .batching import ModelCall, join, joinable, split
from .coroutine import PAUSED, SAMPLED, Run, current_run, leave
from .model_state import ModelState
from .samplers import sampler_name

KEY = "diffusion_probe_hub"

AMPLIFIES_ROUNDING = ("dpm_adaptive_function", "sample_dpm_adaptive")
"""Samplers that choose their steps by an error estimate, which is a small difference of large numbers:
rows rounded as in another batch give other steps. Their runs never share a call, so they are what
KSampler gives bit for bit, and cost the speed that a batch would bring."""


class Hub:
    """Runs side by side, in inference mode as ComfyUI runs every prompt.

    Args:
        model: the MODEL to sample; the runs have to use :attr:`model`, a clone of it.
        max_rows: most rows (one latent for one cond) per model call; 0 leaves it to ComfyUI's
            memory estimate. A run whose own call is larger is not split.

    A closed hub and its runs hold nothing of each other, so their tensors go without a gc pass.
    """

    def __init__(self, model: Any, max_rows: int = 0):
        self.model = model.clone()
        wrappers = {
            WrappersMP.SAMPLER_SAMPLE: self._sampler_sample,
            WrappersMP.PREDICT_NOISE: self._predict_noise,
            WrappersMP.APPLY_MODEL: self._apply_model,
        }
        for kind, wrapper in wrappers.items():
            self.model.add_wrapper_with_key(kind, KEY, wrapper)
        self.max_rows = max_rows
        self.runs: list[Run] = []
        self._too_large = ""
        self._schedules: dict[tuple[float, ...], Tensor] = {}

    @property
    def warnings(self) -> list[str]:
        """What a user should know of how it went."""
        if not self._too_large:
            return []
        return [
            f"{self._too_large}; went on with at most {self.max_rows}. "
            "Set max rows per call to that, and the next search starts there."
        ]

    # What happens inside of a run.

    def _sampler_sample(self, executor, guider, sigmas, extra_args, callback, noise, *args, **kwargs):
        """SAMPLER_SAMPLE wrapper: what the run is; and when it is sampled, it waits for the others.

        The clean-up that follows takes down what they share: the patcher's state, ControlNets, hooks.
        """
        run = current_run()
        run.sigmas = sigmas.tolist()
        options = extra_args["model_options"]["transformer_options"]
        if (schedule := options.get("sample_sigmas")) is not None:  # one object for all that have the same
            options["sample_sigmas"] = self._schedules.setdefault(tuple(schedule.tolist()), schedule)
        run.sampler = sampler_name(executor.class_obj)
        run.state.add_hooks(extra_args["model_options"])
        run.samples = executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)
        run.reached = run.steps
        leave(SAMPLED)
        return run.samples

    def _predict_noise(self, executor, x, timestep, *args, **kwargs):
        """PREDICT_NOISE wrapper: stand still where the run has reached its goal."""
        run = current_run()
        run.reached = max(run.reached, run.place(float(timestep.flatten()[0])))
        while run.goal <= run.reached and run.goal < run.steps:
            leave(PAUSED)
        run.evaluations += 1
        return executor(x, timestep, *args, **kwargs)

    def _apply_model(
        self, executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kw
    ):
        """APPLY_MODEL wrapper: stand still until the hub has called the model for this run."""
        arguments = {"c_concat": c_concat, "c_crossattn": c_crossattn, "control": control, **kw}
        arguments["transformer_options"] = transformer_options
        return leave(ModelCall(executor, executor.class_obj, x, t, arguments, self.model.current_hooks))

    # What happens between them.

    def add(self, sample: Callable[[], Tensor]) -> Run:
        """A run, not started yet."""
        self.runs.append(Run(sample, ModelState(self.model)))
        return self.runs[-1]

    @torch.inference_mode()
    def advance(self, goals: Mapping[Run, int], served: Callable[[], None] = lambda: None) -> None:
        """Take runs to where they should stand next; all together, in as few model calls as fit.

        A run has reached s when all its evaluations at noise levels above ``sigmas[s]`` are done.

        Args:
            goals: run → s; 0 only starts it, its number of steps or more is the end.
            served: called after every model call.

        Raises:
            InterruptProcessingException: the user stopped the prompt. :meth:`close` is still to be called.
            torch.OutOfMemoryError: not even one run's call fits, of any run; so too.
        """
        for run, goal in goals.items():
            run.goal = goal
            run.resume()
        while waiting := [run for run in self.runs if run.waiting is not None]:
            comfy.model_management.throw_exception_if_processing_interrupted()
            self._serve(waiting)
            served()

    def _serve(self, waiting: Sequence[Run]) -> None:
        """One model call, for those that are furthest behind and whoever can join them."""
        last = min(waiting, key=lambda run: run.evaluations)
        group = [last]
        if last.sampler not in AMPLIFIES_ROUNDING:
            group += [run for run in waiting if run is not last and joinable(last.waiting, run.waiting)]
            group = group[: self._runs_that_fit(group)]
        allowed, answers = self.max_rows, self._answers(group)
        if self.max_rows != allowed:
            logging.warning("Diffusion Probe: %s", self.warnings[0])
        if all(map(comfy.model_management.is_oom, answers)) and not any(run.model_rows for run in self.runs):
            raise answers[0]  # for ComfyUI, which unloads its models then
        for run, answer in zip(group, answers, strict=True):
            if isinstance(answer, Exception):
                run.fail(answer)
            else:
                run.model_rows += run.waiting.rows
                run.resume(answer)

    def _answers(self, group: Sequence[Run]) -> Sequence[Tensor | Exception]:
        """What the model says to each run of a group, or what went wrong with it alone.

        A call that fails is tried again in halves. It was too large, for the memory or for another pack
        that counts on its number of rows, if none of its runs then fails alone: none so large follows.
        """
        rows, half = _rows(group), len(group) // 2
        wrong, no_memory = "", False
        if len(group) == 1 or not self.max_rows or rows <= self.max_rows:
            try:
                return self._called([run.waiting for run in group], group[0].state)
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
        answers = [*self._answers(group[:half]), *self._answers(group[half:])]
        if wrong and not any(isinstance(answer, Exception) for answer in answers):
            self._limit_to(_rows(group[half:]), wrong)
        return answers

    def _limit_to(self, rows: int, why: str) -> None:
        if not self.max_rows or rows < self.max_rows:
            self.max_rows = rows
            self._too_large = self._too_large or why

    def _called(self, calls: Sequence[ModelCall], state: ModelState) -> Sequence[Tensor]:
        with state.in_place():
            state.use_hooks(calls[0].hooks)
            if len(calls) == 1:
                return [calls[0].execute(calls[0].x, calls[0].timestep, **calls[0].arguments)]
            x, timestep, arguments = join(calls)
            return split(calls[0].execute(x, timestep, **arguments), calls)

    def _runs_that_fit(self, group: Sequence[Run]) -> int:
        """How many of a group go into one call, by ComfyUI's own estimate of memory."""
        call, count = group[0].waiting, len(group)
        if self.max_rows:
            count = min(count, max(1, self.max_rows // call.rows))
        free = self.model.get_free_memory(call.x.device) if count > 1 else 0.0
        while count > 1 and (needed := call.memory(count)) > free:
            count = max(1, min(count - 1, int(count * free / needed)))
        return count

    @torch.inference_mode()
    def close(self, keep: Sequence[Run] = ()) -> None:
        """End all runs and clean up after them; those sampled to the end and named in ``keep`` get their result."""
        for run in self.runs:
            if run not in keep:
                run.stop()
        for run in keep:
            while run.sampled:
                self.advance({run: run.steps})  # more than once, if it samples more than once
        for run in self.runs:
            run.forget()
        self.model.wrappers.clear()


def _rows(group: Sequence[Run]) -> int:
    return sum(run.waiting.rows for run in group)
