"""Plan of joined calls: how many runs share one, by ComfyUI's own estimates of memory, and what stays free for it."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import comfy.sampler_helpers
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY
from torch import Tensor

from ...runs.loaded import loading_once, memory_of_card
from ...runs.model_wrappers import ModelCall
from .batching import memory_of, rows_of
from .coroutine import Run
from .prefix import bytes_of
from .sizes import best_size, shape_size


class CallPlan:
    """Plan of the joined calls of one MODEL.

    Args:
        model: the hub's own clone.
        max_rows: most rows (one latent for one cond) per model call; 0: no bound but memory.
        runs: all runs of the hub, which the first plan is for.

    Attributes:
        memory: bytes that stay free for the calls that were planned last; 0 before.
        per_call: runs that share one of these calls; 0 before.
    """

    def __init__(self, model: Any, max_rows: int, runs: Sequence[Run]):
        self.model, self.max_rows, self.runs = model, max_rows, runs
        self.compiled = COMPILE_KEY in model.wrappers.get(WrappersMP.APPLY_MODEL, {})
        self.memory = 0.0
        self.per_call = 0
        self._estimate: Callable[[int], float] | None = None
        self._conds = self._rows_per_run = 1

    def outer_sample(self, executor: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Note how many conditionings a call of a run has, for which its model is loaded: an OUTER_SAMPLE wrapper."""
        guider = executor.class_obj
        alone = math.isclose(getattr(guider, "cfg", 0.0), 1.0)
        skips = alone and not guider.model_options.get("disable_cfg1_optimization", False)
        self._conds = 1 if skips else max(1, len(guider.conds))
        return executor(*args, **kwargs)

    def prepare_sampling(
        self, executor: Any, model: Any, noise_shape: Sequence[int], conds: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Load the weights so that memory stays for joined calls, as for a batch: a PREPARE_SAMPLING wrapper."""
        if self._estimate is None:
            self._rows_per_run = noise_shape[0] * self._conds
            self._estimate = partial(_memory_of_rows, model, tuple(noise_shape[1:]), conds)
            self.plan(len(self.runs))
        with loading_once():
            rows = max(1, self.per_call) * self._rows_per_run
            return executor(model, [rows, *noise_shape[1:]], conds, *args, **kwargs)

    def plan(self, waiting: int) -> None:
        """Plan calls of so many runs; the model is to be loaded for them afterwards, see ``loaded.load_for``."""
        if self._estimate is None or waiting < 1:
            return
        if self.max_rows:
            waiting = min(waiting, max(1, self.max_rows // self._rows_per_run))
        self.per_call = best_size(waiting, self.model.model_size(), memory_of_card(self.model), self._memory_of_runs)
        self.memory = self._memory_of_runs(self.per_call)

    def runs_that_fit(self, group: Sequence[Run]) -> int:
        """Return how many runs of a group, which wait with calls that can be joined, fit into one call now."""
        call, count = group[0].waiting, min(len(group), self.per_call or len(group))
        if self.max_rows:
            count = min(count, max(1, self.max_rows // rows_of(call)))
        free = self.model.get_free_memory(call.x.device) if count > 1 else 0.0
        copied = control_bytes(call)
        while count > 1 and (needed := memory_of(self.model.model, call, count) + count * copied) > free:
            count = shape_size(max(1, min(count - 1, int(count * free / needed))))
        return shape_size(count) if self.compiled else count

    def _memory_of_runs(self, count: int) -> float:
        """Estimate the bytes that a call of so many runs needs beside the weights."""
        return self._estimate(count * self._rows_per_run)


def control_bytes(call: ModelCall) -> int:
    """Return the bytes of the outputs of ControlNets that a call has."""
    control = call.arguments.get("control") or {}
    return sum(bytes_of(one) for outputs in control.values() for one in outputs if isinstance(one, Tensor))


def _memory_of_rows(model: Any, shape: tuple[int, ...], conds: Any, rows: int) -> float:
    """Estimate the bytes that a call needs beside the weights, as ComfyUI does for a batch of so many rows."""
    return comfy.sampler_helpers.estimate_memory(model, [rows, *shape], conds)[1]
