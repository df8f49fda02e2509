"""Test of whether guidance computes each row independently, by running it again on the model's outputs.

Some guidance averages or normalises over the whole batch, counts rows, or keeps values of earlier steps. One evaluation
is stored as the guidance got it; then it is run again on the same model outputs, with other rows changed or omitted,
or with other kept values. The model isn't run again, and everything is restored.
"""

import copy
from dataclasses import dataclass
from typing import Any

import comfy.model_patcher
import torch
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

from .kept_state import Slot, Snapshot
from .patches import OURS, inner_wrappers, together
from .random_state import random_state, set_random_state
from .rows import part_of_row

SAME = 1e-5
"""Largest difference of a row, as a share of its norm, that counts as rounding: guidance is computed in float32."""


@dataclass(frozen=True)
class GuidanceEffects:
    """Effects of guidance beyond each row's own values; each field names the possible causes, empty for no effect.

    Attributes:
        couples: other rows' values change a row.
        counts: a row alone gives another result than in the batch.
        remembers: values kept from other evaluations change the result.
        reads_inside: the guidance uses values from inside of the model's calls besides their output.
        unknown: the guidance could not be tested.
    """

    couples: str = ""
    counts: str = ""
    remembers: str = ""
    reads_inside: str = ""
    unknown: str = ""


@dataclass
class Call:
    """Model call for a list of conditionings, as the guidance made it.

    Attributes:
        x: ``[rows, channels, ...]``.
        outputs: x0 by conditioning, of the same shape.
        changed: values that the guidance keeps and the call has changed.
    """

    x: Tensor
    outputs: list[Tensor]
    changed: list[Slot]


class GuidedEvaluation:
    """Evaluation of a run with guidance of other nodes.

    Args:
        guidance: functions of the guidance, by name.
        around: objects by name that the functions may change, to be restored.
        begin: values that the functions kept when the run began.
        guider, model_options: of the run.
        x, timestep: of the evaluation.
    """

    def __init__(
        self,
        guidance: dict[str, Any],
        around: dict[str, Any],
        begin: Snapshot,
        guider: Any,
        x: Tensor,
        timestep: Tensor,
        model_options: dict[str, Any],
    ):
        self.guidance, self.around, self.begin, self.guider = guidance, around, begin, guider
        self.x, self.timestep = x.clone(), timestep.clone()
        self.before, self.attributes = Snapshot(guidance), dict(vars(guider))
        self.options = comfy.model_patcher.create_model_options_clone(model_options)
        self.random = random_state(x.device)
        self.calls: list[Call] = []

    def begin_call(self, x: Tensor) -> None:
        """Note that the model is about to be called for ``x``."""
        self._x, self._kept = x.clone(), Snapshot(self.guidance)

    def end_call(self, outputs: list[Tensor]) -> None:
        """Note the outputs of the call."""
        changed = Snapshot(self.guidance).changed_since(self._kept)
        self.calls.append(Call(self._x, [output.clone() for output in outputs], changed))

    def effects(self, model_options: dict, seed: int | None, x0: Tensor) -> GuidanceEffects:
        """Run the guidance again on changed rows, and return its effects.

        Args:
            model_options, seed: of the evaluation.
            x0: its result, ``[rows, channels, ...]``.
        """
        end, around = Snapshot(self.guidance), Snapshot(self.around, copies=False)
        random, names = random_state(self.x.device), together(self.guidance)
        attributes, left = dict(vars(self.guider)), comfy.model_patcher.create_model_options_clone(model_options)

        def holds(state: Snapshot, row: int | None = None, later: bool = False, **changes: Any) -> bool:
            """Return whether the evaluation gives the same again, in one row or in all; ``later``: after itself."""
            of_run = (left, attributes) if later else (self.options, self.attributes)
            try:
                result = self._again(state, *of_run, seed, row, **changes)
            except Exception:  # a function that can't be run again is not known to hold
                return False
            finally:
                around.restore()
                end.restore()
            if row is not None and len(result) > 1:
                result = result[row : row + 1]
            return _same(result, x0 if row is None else x0[row : row + 1])

        try:
            inside = names if any(call.changed for call in self.calls) else ""
            if not (self.before.complete and holds(self.before)):
                return GuidanceEffects(unknown=names, reads_inside=inside)
            rows = sorted({0, len(x0) // 2, len(x0) - 1}) if len(x0) > 1 else []
            moved = bool(end.changed_since(self.begin))
            independent = all(holds(self.before, row, others=x0.clone()) for row in rows)
            alone = all(any(holds(self.before, row, interleaved=by) for by in (False, True)) for row in rows)
            repeatable = holds(end, later=True) and (not moved or holds(self.begin))
            return GuidanceEffects(
                couples="" if independent else names,
                counts="" if alone else names,
                remembers="" if repeatable else names,
                reads_inside=inside,
            )
        finally:
            set_random_state(random, self.x.device)

    def _again(
        self,
        state: Snapshot,
        model_options: dict[str, Any],
        attributes: dict[str, Any],
        seed: int | None,
        row: int | None,
        others: Tensor | None = None,
        interleaved: bool = False,
    ) -> Tensor:
        """Run the evaluation again, without the model, and return its x0.

        Args:
            state: values that the functions keep, restored before.
            model_options, attributes: of the run and of its guider.
            seed: of the run.
            row: alone, or in the batch if there are ``others``; None: all rows.
            others: outputs of each conditioning for all rows but that one.
            interleaved: order of rows in kept tensors, see :func:`rows.part_of_row`.
        """
        alone, calls = row is not None and others is None, iter(self.calls)

        def part(values: Tensor) -> Tensor:
            return part_of_row(values, row, len(self.x), interleaved) if alone else values.clone()

        def model_output(output: Tensor) -> Tensor:
            if others is None:
                return part(output)
            return torch.cat([others[:row], output[row : row + 1], others[row + 1 :]])

        def answer(_executor, _model, _conds, x, _timestep, _options):
            call = next(calls)
            mine = slice(None) if row is None else slice(row, row + 1)
            if not _same(x if alone else x[mine], call.x[mine]):
                raise ValueError("the guidance calls the model for another latent than before")
            for slot in call.changed:
                slot.restore(part)
            return [model_output(output) for output in call.outputs]

        set_random_state(self.random, self.x.device)
        state.restore(part if alone else None)
        options = comfy.model_patcher.create_model_options_clone(model_options)
        wrappers = options["transformer_options"].setdefault("wrappers", {})
        wrappers[WrappersMP.CALC_COND_BATCH] = {OURS: [answer]}
        guider = copy.copy(self.guider)
        vars(guider).update(attributes)
        inner = inner_wrappers(options, WrappersMP.PREDICT_NOISE)
        executor = WrapperExecutor.new_class_executor(guider.predict_noise, guider, inner)
        return executor.execute(part(self.x), part(self.timestep), options, seed)


def _same(result: Tensor, expected: Tensor) -> bool:
    """Return whether rows ``[rows, ...]`` differ by rounding only."""
    if result.shape != expected.shape:
        return False
    result, expected = result.flatten(1).float(), expected.flatten(1).float()
    return bool(((result - expected).norm(dim=1) <= SAME * expected.norm(dim=1)).all())
