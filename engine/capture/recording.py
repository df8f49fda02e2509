"""One run being recorded: which evaluations are captured, and what of them.

Everything here lives from the start of one sampler call to its end. Nothing here ends a run: what goes wrong is
said where the scores are read.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from comfy.model_management import InterruptProcessingException
from torch import Tensor

from ..core.features import ACTIVATION, ATTENTION, DENOISED, LATENT, TEXT, Features, on_grid
from .moments import AUTO, Moment, MomentPlan
from .prompt.encode import context_lengths, text_of, words_of
from .snapshot import Snapshot
from .taps.activation import ActivationMaps
from .taps.families import Family
from .taps.look import Look, unexpected
from .taps.maps import AttentionMaps


class Recording:
    """The record of one sampler call, filled evaluation by evaluation.

    Attributes:
        capturing: whether the evaluation that runs is one of the moments.
        pruning: the run's :class:`pruning.RowPruning`, or None. Nothing is captured once it has decided.
        watch: the run's :class:`run_watch.RunWatch`, or None.
        why_not: for moments that came and could not be captured, why.
        broken: why nothing more is captured in this run; empty as long as something is.
    """

    def __init__(
        self,
        family: Family,
        needs: frozenset[str],
        moments: tuple[Moment, ...] | None,
        projection: Tensor | None = None,
    ):
        self.family = family
        self.projection = projection
        self.needs = needs
        self.moments = moments
        self.plan: MomentPlan | None = None
        self.sampler = ""
        self.sigmas: list[float] = []
        self.noise: Tensor | None = None
        self.seed: int | None = None
        self.evaluations = 0
        self.model_rows = 0
        self.snapshots: dict[Moment, Snapshot] = {}
        self.capturing = False
        self.pruning: Any = None
        self.watch: Any = None
        self.why_not: dict[Moment, str] = {}
        self.broken = ""

    def begin(self, model_sampling: Any, sigmas: Tensor, sampler: str, noise: Tensor, seed: int | None) -> None:
        """Begin with the sampler's start: the noise, and the schedule."""
        self.sampler, self.noise, self.seed = sampler, noise, seed
        with self._guarded():
            self.sigmas = [float(sigma) for sigma in sigmas]
            self.plan = MomentPlan(self.moments, sigmas, model_sampling, sampler, self.family.moment)

    def evaluate(self, executor: Any, x: Tensor, timestep: Tensor, model_options: dict, seed: int | None) -> Tensor:
        """Execute one model evaluation, captured if it is one of the moments. Returns what the model returns."""
        self.evaluations += 1
        moments, look = [], None
        with self._guarded():
            moments = self._wanted(timestep)
            if moments:
                look = self._look(executor.class_obj, x, moments)
        self.capturing = bool(moments)
        if look is None:
            return executor(x, timestep, model_options, seed)
        with look.on(model_options):
            denoised = executor(x, timestep, model_options, seed)
        with self._guarded():
            snapshot = self._snapshot(executor.class_obj, x, timestep, look, denoised)
            self.snapshots.update(dict.fromkeys(moments, snapshot))
        return denoised

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Run code of the pack inside of the run: an error ends the capturing, not the run."""
        try:
            yield
        except InterruptProcessingException:
            raise
        except Exception as error:
            logging.warning("Diffusion Probe: an error while recording a run, which goes on.", exc_info=error)
            self.broken = unexpected(error)

    def _wanted(self, timestep: Tensor) -> list[Moment]:
        decided = self.pruning is not None and self.pruning.decided
        if self.plan is None or self.broken or decided:
            return []
        return self.plan.wanted(self.evaluations, float(timestep.flatten()[0]))

    def _look(self, guider: Any, x: Tensor, moments: list[Moment]) -> Look | None:
        """Prepare what to capture of an evaluation, in place of an earlier one; None if nothing can be captured."""
        for moment in moments:
            self.snapshots.pop(moment, None)
            self.why_not.pop(moment, None)
        if x.ndim > 4 and x.shape[2] > 1 and self.needs - {DENOISED}:
            why = (
                f"a probe looks at single images, and this latent has {x.shape[2]} frames or layers. "
                "Sample an empty latent of one, or connect the MODEL from before the probe"
            )
            self.why_not.update(dict.fromkeys(moments, why))
            return None
        conds = _looked_at(guider)
        model, (high, wide) = guider.inner_model.diffusion_model, x.shape[-2:]
        maps = AttentionMaps(self.family, model, conds, high, wide) if ATTENTION in self.needs else None
        activation = None
        if ACTIVATION in self.needs:
            activation = ActivationMaps(self.family, model, conds, high, wide, self.projection)
        return Look(len(x), high, wide, conds, maps, activation)

    def _snapshot(self, guider: Any, x: Tensor, timestep: Tensor, look: Look, denoised: Tensor) -> Snapshot:
        maps, conds = look.maps, _looked_at(guider)
        entries = []
        if maps is not None:
            entries = maps.entries()
        elif self.needs - {DENOISED}:
            entries = list(zip(conds, context_lengths(conds), strict=True))
        return Snapshot(
            step=self.evaluations,
            sigma=float(timestep.flatten()[0]),
            maps=maps.maps if maps is not None else {},
            words=words_of(entries),
            text=text_of(entries) if TEXT in self.needs else None,
            activation=look.activation.image() if look.activation is not None else None,
            latent=_model_input(guider, x, timestep) if LATENT in self.needs else None,
            denoised=denoised.detach().float().cpu().clone(),
            why=look.why(),
            remarks=look.notes,
        )

    def missing(self) -> dict[str, str]:
        """Say for each moment without a snapshot why."""
        if self.plan is None:
            return {str(moment): f"{self.broken}." for moment in self.moments or (AUTO,)} if self.broken else {}
        absent = (moment for moment in self.plan.moments if moment not in self.snapshots)
        return {str(moment): self._why_missing(moment) for moment in absent}

    def _why_missing(self, moment: Moment) -> str:
        why = self.why_not.get(moment) or self.broken
        return f"{why}." if why else self.plan.why_missing(moment, self.evaluations)

    def notes(self) -> tuple[str, ...]:
        """Collect what a user should know of what was captured: blocks that had to be left out, and the like."""
        return tuple(dict.fromkeys(note for snapshot in self.snapshots.values() for note in snapshot.notes()))

    def row_features(self, row: int, latent_out: Any) -> dict[str, Features]:
        """Return the features of one row by moment, in the order of evaluation.

        Args:
            row: which row of the batch.
            latent_out: the model's ``process_latent_out``.
        """
        if self.plan is None:  # nothing could be planned, so nothing was captured
            return {}
        by_step = sorted(self.snapshots.items(), key=lambda item: item[1].step)
        of_model = self.family.name, self.plan.model_sampling, latent_out
        return {str(moment): snapshot.features(row, moment, *of_model) for moment, snapshot in by_step}


def _looked_at(guider: Any) -> list[dict[str, Any]]:
    """Find the conditioning entries of a guider whose maps are wanted."""
    return guider.conds.get("positive") or [cond for conds in guider.conds.values() for cond in conds]


def _model_input(guider: Any, x: Tensor, timestep: Tensor) -> Tensor:
    """Return the latent as the model's first layer gets it, ``[rows, channels, height, width]`` float16 on the CPU.

    Without the axis of frames, of which there is one, where the model has such an axis.
    """
    scaled = guider.inner_model.model_sampling.calculate_input(timestep, x.detach())
    return on_grid(scaled.float().flatten(1, -3)).half().cpu()
