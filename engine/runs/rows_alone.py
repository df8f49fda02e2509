"""Test of whether the rows of a run can be computed separately: by its watch, and by one row computed alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import comfy.model_patcher
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .keys import STEP_CACHE
from .patches import inner_wrappers, together
from .random_state import random_state, set_random_state
from .rows import cut_entry, part_of_row, why_not_cut

if TYPE_CHECKING:
    from .kept_state import Snapshot
    from .run_watch import RunWatch

SAME, ROUNDING = 1e-4, 8.0
"""Largest difference of a row alone from the row in its batch, as a share of its norm: the larger one of the first
number and the second times the rounding of the model's precision."""

NUDGE = 0.01
"""Relative change of a latent that is so small that a cache takes it for the same."""


def why_not_separately(run: RunWatch, guider: Any, model_options: dict[str, Any]) -> str | None:
    """Return why the rows of a run can't be computed separately with the same result, None if they can.

    Where other nodes have patched the inside of the model, its last row is computed once more, alone; and three times
    more if patches keep something for each row.
    """
    guidance, keeping = run.guidance, run.holds_rows & run.remembers
    if guidance.couples:
        return f"{guidance.couples} works on all rows of the batch together"
    if guidance.reads_inside:
        return f"{guidance.reads_inside} takes more from the model's calls than their output for each row"
    if guidance.unknown:
        return f"it is not known whether {guidance.unknown} computes each row independently"
    if run.cache or not run.patches:
        return None
    if keeping:
        return f"{together(keeping)} keeps whole batches from one evaluation to the next"
    if run.first_call is None or run.rows == 1:
        return None
    return OneRow(run, guider, model_options).why_not()


class OneRow:
    """Last row of a run's first model call at the moment, computed alone."""

    def __init__(self, run: RunWatch, guider: Any, model_options: dict[str, Any]):
        self.run, self.guider, self.model_options = run, guider, model_options
        self.conds, self.x, self.sigma, self.random, self.outputs = run.first_call
        self.row, count = len(self.x) - 1, len(self.x)
        self.cuts = [partial(part_of_row, row=self.row, count=count, interleaved=each) for each in (True, False)]
        self.tolerance = max(SAME, ROUNDING * torch.finfo(guider.inner_model.get_dtype_inference()).eps)

    def why_not(self) -> str | None:
        """Return why the row alone differs from the row in the batch, or may do so; None if it doesn't."""
        if why_not_cut(self.conds, self.model_options["transformer_options"]) is not None:
            return None  # the caller reports that reason by itself
        kept, random = self.run.kept(), random_state(self.x.device)
        if not kept.complete:
            return f"it is not known whether {together(self.run.patches)} computes each row independently"
        try:
            return self._differs(kept)
        except Exception:  # a patch that can't take one row can't take fewer, either
            return f"{' or '.join(self.run.patches)} can't take a row alone"
        finally:
            kept.restore()
            set_random_state(random, self.x.device)

    def _differs(self, kept: Snapshot) -> str | None:
        x, expected = self.x[self.row :], [output[self.row :] for output in self.outputs]
        self.run.before.restore()
        if not self._same(self._call(x), expected):
            return f"{' or '.join(self.run.patches)} gives another result for a row alone than in the batch"
        if not self.run.holds_rows:
            return None
        moved = x + NUDGE * x.std() * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
        self.run.begin.restore()
        fresh = self._call(moved)
        for cut in self.cuts:
            kept.restore(cut)
            if not self._same(self._call(moved), fresh):
                return f"{together(self.run.holds_rows)} keeps whole batches from one evaluation to the next"
        return None

    def _call(self, x: Tensor) -> list[Tensor]:
        set_random_state(self.random, x.device)
        controls: dict[Any, Any] = {}
        cut = [entries and [cut_entry(entry, [self.row], controls) for entry in entries] for entries in self.conds]
        options = _plain(self.model_options)
        return comfy.samplers.calc_cond_batch(self.guider.inner_model, cut, x, self.cuts[0](self.sigma), options)

    def _same(self, outputs: list[Tensor], expected: list[Tensor]) -> bool:
        return all(_close(own, other, self.tolerance) for own, other in zip(outputs, expected, strict=True))


def _plain(model_options: dict[str, Any]) -> dict[str, Any]:
    """Return the options without the pack's own wrappers and cache, so that the call is not captured or predicted."""
    options = comfy.model_patcher.create_model_options_clone(model_options)
    of_call = options["transformer_options"]
    of_call.pop(STEP_CACHE, None)
    wrappers = of_call.setdefault("wrappers", {})
    wrappers[WrappersMP.CALC_COND_BATCH] = {"others": inner_wrappers(options, WrappersMP.CALC_COND_BATCH)}
    return options


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return a.shape == b.shape and bool((a - b).float().norm() <= tolerance * b.float().norm())
