"""Samplers as coroutines, the model as a batching server.

Every candidate is a stock sampler run of batch 1 with its own seed, in a greenlet of its own: so it
is what KSampler gives for that seed, whatever the sampler does with history and noise. Where a run
would call the model it waits instead; the hub joins the rows of all runs that wait, calls the model
once, and hands each its rows back. A candidate that isn't wanted any more is simply not resumed.
"""

from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import torch
from comfy.patcher_extension import WrappersMP
from greenlet import GreenletExit, getcurrent, greenlet
from torch import Tensor

from .batching import ModelCall, join, joinable, split

KEY = "diffusion_probe_hub"


@dataclass
class Run:
    """One candidate: a sampler run that stands still whenever it wants the model.

    Attributes:
        sample: does the whole run, and returns its latent.
        waiting: the model call it stands at; None before its start and after its end.
        result: the latent, once it has ended well.
        error: what ended it otherwise.
        model_rows: forwards of one latent for one cond that were spent on it.
    """

    sample: Callable[[], Tensor]
    waiting: ModelCall | None = None
    result: Tensor | None = None
    error: Exception | None = None
    model_rows: int = 0

    def __post_init__(self) -> None:
        self._coroutine = greenlet(self.sample)
        self._coroutine.gr_context = copy_context()
        self._random_state = torch.get_rng_state()
        self._grad_enabled = torch.is_grad_enabled()
        self._patcher: Any = None

    def resume(self, value: Any = None) -> None:
        """Go on, with the model's answer, to the next model call or to the end."""
        call, self.waiting = self.waiting, None
        if call is not None:
            call.base_model.current_patcher = self._patcher  # a run that ended has set it to None
        self._switch(lambda: self._coroutine.switch(*(() if call is None else (value,))))

    def fail(self, error: BaseException) -> None:
        """End the run where it stands, as if the model call had raised ``error``."""
        call, self.waiting = self.waiting, None
        if call is not None:
            call.base_model.current_patcher = self._patcher
        self._switch(lambda: self._coroutine.throw(error))

    def _switch(self, switch: Callable[[], Any]) -> None:
        """Generators and grad mode are global to the thread; each run has its own."""
        outer = torch.get_rng_state(), torch.is_grad_enabled()
        torch.set_rng_state(self._random_state)
        torch.set_grad_enabled(self._grad_enabled)
        try:
            returned = switch()
        except comfy.model_management.InterruptProcessingException:
            raise
        except Exception as error:
            self.error = error
        else:
            if isinstance(returned, ModelCall):
                self.waiting = returned
                self._patcher = returned.base_model.current_patcher
            elif not isinstance(returned, GreenletExit):
                self.result = returned
        finally:
            self._random_state, self._grad_enabled = torch.get_rng_state(), torch.is_grad_enabled()
            torch.set_rng_state(outer[0])
            torch.set_grad_enabled(outer[1])


class Hub:
    """Serves the model calls of many runs together, in inference mode as ComfyUI runs every prompt.

    Args:
        model: the MODEL to sample; the runs have to use :attr:`model`, a clone of it.
        max_rows: most rows per model call; 0 leaves it to ComfyUI's memory estimate.
    """

    def __init__(self, model: Any, max_rows: int = 0):
        self.model = model.clone()
        self.model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, self._apply_model)
        self.max_rows = max_rows
        self._current: Run | None = None

    def _apply_model(
        self, executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kw
    ):
        """APPLY_MODEL wrapper: stand still until the hub serves this call."""
        arguments = {"c_concat": c_concat, "c_crossattn": c_crossattn, "control": control, **kw}
        arguments["transformer_options"] = transformer_options
        patcher = executor.class_obj.current_patcher
        if patcher is not None and patcher.current_hooks is not None:
            self._current.model_rows += x.shape[0]
            return executor(x, t, **arguments)  # its own weights are in the model now, and only now
        return getcurrent().parent.switch(ModelCall(executor, executor.class_obj, x, t, arguments))

    @torch.inference_mode()
    def start(self, samples: Sequence[Callable[[], Tensor]]) -> list[Run]:
        """Start runs; each stands at its first model call afterwards, or has ended."""
        runs = [Run(sample) for sample in samples]
        for run in runs:
            self._current = run
            run.resume()
        return runs

    @torch.inference_mode()
    def serve(self, runs: Sequence[Run]) -> None:
        """Answer the call that each of these runs waits for, in as few model calls as fit."""
        waiting = [run for run in runs if run.waiting is not None]
        while waiting:
            group = [run for run in waiting if joinable(waiting[0].waiting, run.waiting)]
            group = group[: self._rows_that_fit(group)]
            waiting = [run for run in waiting if run not in group]
            calls = [run.waiting for run in group]
            x, timestep, arguments = join(calls)
            outputs = split(calls[0].execute(x, timestep, **arguments), calls)
            for run, call, output in zip(group, calls, outputs, strict=True):
                run.model_rows += call.rows
                self._current = run
                run.resume(output)

    def _rows_that_fit(self, group: Sequence[Run]) -> int:
        """How many of a group go into one call, by ComfyUI's own estimate of memory."""
        call, count = group[0].waiting, len(group)
        if self.max_rows:
            count = min(count, max(1, self.max_rows // call.rows))
        free = self.model.get_free_memory(call.x.device)
        while count > 1 and self._memory(call, count) > free:
            count //= 2
        return count

    def _memory(self, call: ModelCall, count: int) -> float:
        shapes = {name: [list(v.shape)] * count for name, v in call.arguments.items() if isinstance(v, Tensor)}
        return 1.5 * call.base_model.memory_required([call.rows * count, *call.x.shape[1:]], cond_shapes=shapes)

    @torch.inference_mode()
    def stop(self, runs: Sequence[Run]) -> None:
        """End runs where they stand; their clean-up runs."""
        for run in runs:
            if run.waiting is not None:
                run.fail(GreenletExit())
