"""Trial of guidance: evaluated again on what the model gave, it shows whether it takes each row by itself.

Some guidance averages or normalises over the whole batch, counts rows, or remembers earlier steps. One evaluation is
kept as the guidance saw it; then it is run again on the model's same outputs, with other rows changed or left out,
or with another memory. The model isn't run again, and everything is put back as it was.
"""

import copy
from dataclasses import dataclass
from typing import Any

import comfy.model_patcher
import torch
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

from .kept_state import Place, Snapshot
from .patches import OURS, inner_wrappers, together
from .random_state import random_state, set_random_state
from .rows import part_of_row

SAME = 1e-5
"""Largest difference of a row, as a share of its length, that is rounding: guidance is computed in float32."""


@dataclass(frozen=True)
class Verdict:
    """Effects of guidance besides taking each row by itself; each names the possible cause, empty for none.

    Attributes:
        couples: other rows' values change a row.
        counts: a row alone comes out otherwise than in the batch.
        remembers: what it kept from other evaluations changes the result.
        listens: it takes something from inside of the model's calls besides their output.
        unknown: it could not be tried.
    """

    couples: str = ""
    counts: str = ""
    remembers: str = ""
    listens: str = ""
    unknown: str = ""


@dataclass
class Call:
    """One call of the model for a list of conditionings, as guidance saw it.

    Attributes:
        x: ``[rows, channels, ...]``.
        outputs: x0 by conditioning, of the same shape.
        heard: what guidance keeps and the call has changed.
    """

    x: Tensor
    outputs: list[Tensor]
    heard: list[Place]


class GuidedEvaluation:
    """One evaluation of a run with guidance of other nodes.

    Args:
        guidance: its functions, by name.
        around: what else may be changed by them, to be put back.
        begin: what they kept when the run began.
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

    def asks(self, x: Tensor) -> None:
        """Note that the model is about to be called for ``x``."""
        self._asked, self._kept = x.clone(), Snapshot(self.guidance)

    def gets(self, outputs: list[Tensor]) -> None:
        """Note the outputs of the call."""
        heard = Snapshot(self.guidance).changed_since(self._kept)
        self.calls.append(Call(self._asked, [output.clone() for output in outputs], heard))

    def judge(self, model_options: dict, seed: int | None, x0: Tensor) -> Verdict:
        """Find out what the guidance did with the rows.

        Args:
            model_options, seed: of the evaluation.
            x0: what it gave, ``[rows, channels, ...]``.
        """
        end, around = Snapshot(self.guidance), Snapshot(self.around, copies=False)
        random, names = random_state(self.x.device), together(self.guidance)
        attributes, left = dict(vars(self.guider)), comfy.model_patcher.create_model_options_clone(model_options)

        def holds(state: Snapshot, row: int | None = None, later: bool = False, **changes: Any) -> bool:
            """Check whether the evaluation gives the same again, in one row or in all; ``later``: after itself."""
            given = (left, attributes) if later else (self.options, self.attributes)
            try:
                result = self._again(state, *given, seed, row, **changes)
            except Exception:  # a function that can't be tried says nothing about the run
                return False
            finally:
                around.put_back()
                end.put_back()
            if row is not None and len(result) > 1:
                result = result[row : row + 1]
            return _same(result, x0 if row is None else x0[row : row + 1])

        try:
            listens = names if any(call.heard for call in self.calls) else ""
            if not (self.before.complete and holds(self.before)):
                return Verdict(unknown=names, listens=listens)
            rows = sorted({0, len(x0) // 2, len(x0) - 1}) if len(x0) > 1 else []
            moved = bool(end.changed_since(self.begin))
            return Verdict(
                couples="" if all(holds(self.before, row, others=x0.clone()) for row in rows) else names,
                counts=""
                if all(any(holds(self.before, row, apart=by) for by in (False, True)) for row in rows)
                else names,
                remembers="" if holds(end, later=True) and (not moved or holds(self.begin)) else names,
                listens=listens,
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
        apart: bool = False,
    ) -> Tensor:
        """Repeat the evaluation without the model, with the kept ``state``, ``model_options`` and a guider.

        Args:
            row: alone, or in the batch if ``others`` are given; None: all rows.
            others: what each conditioning gives for all rows but that one.
            apart: how what is kept lies in memory, see :func:`rows.part_of_row`.
        """
        alone, calls = row is not None and others is None, iter(self.calls)

        def part(values: Tensor) -> Tensor:
            return part_of_row(values, row, len(self.x), apart) if alone else values.clone()

        def given(output: Tensor) -> Tensor:
            if others is None:
                return part(output)
            return torch.cat([others[:row], output[row : row + 1], others[row + 1 :]])

        def answer(_executor, _model, _conds, x, _timestep, _options):
            call = next(calls)
            mine = slice(None) if row is None else slice(row, row + 1)
            if not _same(x if alone else x[mine], call.x[mine]):
                raise ValueError("the guidance asks the model something else than it did")
            for place in call.heard:
                place.put_back(part)
            return [given(output) for output in call.outputs]

        set_random_state(self.random, self.x.device)
        state.put_back(part if alone else None)
        options = comfy.model_patcher.create_model_options_clone(model_options)
        wrappers = options["transformer_options"].setdefault("wrappers", {})
        wrappers[WrappersMP.CALC_COND_BATCH] = {OURS: [answer]}
        guider = copy.copy(self.guider)
        vars(guider).update(attributes)
        inner = inner_wrappers(options, WrappersMP.PREDICT_NOISE)
        executor = WrapperExecutor.new_class_executor(guider.predict_noise, guider, inner)
        return executor.execute(part(self.x), part(self.timestep), options, seed)


def _same(result: Tensor, expected: Tensor) -> bool:
    """Check whether rows ``[rows, ...]`` differ by rounding only."""
    if result.shape != expected.shape:
        return False
    result, expected = result.flatten(1).float(), expected.flatten(1).float()
    return bool(((result - expected).norm(dim=1) <= SAME * expected.norm(dim=1)).all())
