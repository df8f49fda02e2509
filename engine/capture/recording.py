"""Recording of one sampler run: which of its evaluations are captured, and the features of its rows.

A recording lives from the start of a sampler call to its end. It never ends a run: an error of the pack is logged,
and reported where the scores are read.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from comfy.model_management import InterruptProcessingException
from torch import Tensor

from ..core.features import ACTIVATION, ATTENTION, DENOISED, LATENT, NEEDS, TEXT, Features, on_grid
from ..core.readback import forget_sigma, sigma_of, to_host
from .hooks.activation import ActivationMaps
from .hooks.evaluation import EvaluationCapture, unexpected
from .hooks.families import Family, block_names
from .hooks.maps import AttentionMaps
from .moments import AUTO, Moment, MomentPlan
from .prompt.encode import SharedTexts, context_lengths, words_of


class Recording:
    """Recording of one sampler call, filled evaluation by evaluation.

    Args:
        family: of the model.
        needs: which parts of :class:`Features` are captured.
        moments: when; None for the family's default.
        projection: as :attr:`Probe.projection`.

    Attributes:
        captured: the features of all rows by moment.
        prompt: as :attr:`Features.prompt`.
        x0: ``[rows, channels, ...]`` float32 on the CPU in the model's own scale, of the newest captured evaluation.
            Kept for a run that is pruned; else None.
        on_device: whether features stay where they were computed, for a reader that copies those of many runs at once.
        texts: text embeddings that were read before, of this run or of others.
        capturing: whether the current evaluation is one of the moments.
        pruning: the run's :class:`pruning.RowPruning`, or None. Nothing is captured once it has decided.
        watch: the run's :class:`run_watch.RunWatch`, or None.
        why_not: reasons by moment, for moments that came and could not be captured.
        broken: the reason why nothing more is captured in this run; empty as long as captures succeed.
    """

    def __init__(
        self,
        family: Family,
        needs: frozenset[str],
        moments: tuple[Moment, ...] | None,
        projection: Tensor | None = None,
        on_device: bool = False,
        texts: SharedTexts | None = None,
    ):
        self.family, self.on_device = family, on_device
        self.texts = SharedTexts() if texts is None else texts
        self.projection = projection
        self.needs = needs
        self.moments = moments
        self.plan: MomentPlan | None = None
        self.prompt = ""
        self.sampler = ""
        self.sigmas: list[float] = []
        self.noise: Tensor | None = None
        self.seed: int | None = None
        self.evaluations = 0
        self.model_rows = 0
        self.captured: dict[Moment, list[Features]] = {}
        self.x0: Tensor | None = None
        self.capturing = False
        self.pruning: Any = None
        self.watch: Any = None
        self.why_not: dict[Moment, str] = {}
        self.broken = ""
        self._remarks: dict[Moment, tuple[str, ...]] = {}

    def begin(self, model_sampling: Any, sigmas: Tensor, sampler: str, noise: Tensor, seed: int | None) -> None:
        """Start to record a run that begins with this noise and schedule."""
        self.sampler, self.noise, self.seed = sampler, noise, seed
        with self._guarded():
            self.sigmas = sigmas.tolist()
            self.plan = MomentPlan(self.moments, sigmas, model_sampling, sampler, self.family.moment)

    def evaluate(self, executor: Any, x: Tensor, timestep: Tensor, model_options: dict, seed: int | None) -> Tensor:
        """Run one evaluation, capture it if it is one of the moments, and return its x0."""
        self.evaluations += 1
        moments, capture = [], None
        with self._guarded():
            moments = self._wanted(timestep)
            if moments:
                capture = self._new_capture(executor.class_obj, x, moments)
        self.capturing = bool(moments)
        if capture is None:
            forget_sigma(timestep)
            return executor(x, timestep, model_options, seed)
        with capture.installed(model_options):
            denoised = executor(x, timestep, model_options, seed)
        with self._guarded():
            rows = self._features(executor.class_obj, x, timestep, capture, denoised)
            for moment in moments:
                self.captured[moment] = [replace(row, moment=str(moment)) for row in rows]
                self._remarks[moment] = capture.remarks
        forget_sigma(timestep)
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
        return self.plan.wanted(self.evaluations, sigma_of(timestep))

    def _new_capture(self, guider: Any, x: Tensor, moments: list[Moment]) -> EvaluationCapture | None:
        """Return the capture of an evaluation, which replaces an earlier one; None if it can't be captured."""
        for moment in moments:
            self.captured.pop(moment, None)
            self.why_not.pop(moment, None)
        if x.ndim > 4 and x.shape[2] > 1 and self.needs - {DENOISED}:
            why = (
                f"a probe reads single images, and this latent has {x.shape[2]} frames or layers. "
                "Sample an empty latent of one, or connect the MODEL from before the probe"
            )
            self.why_not.update(dict.fromkeys(moments, why))
            return None
        conds = captured_conds(guider)
        diffusion_model, (height, width) = guider.inner_model.diffusion_model, x.shape[-2:]
        maps = activation = None
        if ATTENTION in self.needs:
            maps = AttentionMaps(self.family, diffusion_model, conds, height, width)
        if ACTIVATION in self.needs:
            activation = ActivationMaps(self.family, diffusion_model, conds, height, width, self.projection)
        return EvaluationCapture(len(x), height, width, conds, maps, activation)

    def _features(
        self, guider: Any, x: Tensor, timestep: Tensor, capture: EvaluationCapture, denoised: Tensor
    ) -> list[Features]:
        """Return the features of all rows at one evaluation, still without the name of the moment."""
        x0 = denoised.detach().float().clone()
        conds, sigma = captured_conds(guider), sigma_of(timestep)
        entries = []
        if capture.maps is not None:
            entries = capture.maps.entries()
        elif self.needs - {DENOISED}:
            entries = list(zip(conds, context_lengths(conds), strict=True))
        attention = capture.maps.by_block() if capture.maps is not None else {}
        text = self.texts.of(entries) if TEXT in self.needs else None
        activation = capture.activation.image() if capture.activation is not None else None
        latent = _model_input(guider, x, timestep) if LATENT in self.needs else None
        if not self.on_device:
            x0, text, activation, latent, *maps = to_host([x0, text, activation, latent, *attention.values()])
            attention = dict(zip(attention, maps, strict=True))
        self.x0 = x0 if self.pruning is not None else None
        shared = Features(
            family=self.family.name,
            moment="",
            step=self.evaluations,
            sigma=sigma,
            percent=self.plan.percent(sigma),
            blocks=block_names(attention),
            words=words_of(entries),
            prompt=self.prompt,
            why=capture.why(),
        )
        return [
            replace(
                shared,
                attention=torch.stack([maps[row] for maps in attention.values()]) if attention else None,
                denoised=guider.inner_model.process_latent_out(x0[row : row + 1])[0],
                latent=None if latent is None else latent[row],
                activation=None if activation is None else activation[row],
                text=None if text is None else text[row % len(text)],
            )
            for row in range(len(x0))
        ]

    def missing(self) -> dict[str, str]:
        """Return the reason for each moment that was not captured."""
        if self.plan is None:
            return {str(moment): f"{self.broken}." for moment in self.moments or (AUTO,)} if self.broken else {}
        absent = (moment for moment in self.plan.moments if moment not in self.captured)
        return {str(moment): self._why_missing(moment) for moment in absent}

    def _why_missing(self, moment: Moment) -> str:
        why = self.why_not.get(moment) or self.broken
        return f"{why}." if why else self.plan.why_missing(moment, self.evaluations)

    def notes(self) -> tuple[str, ...]:
        """Return sentences for the user about the captures, for example blocks that had to be left out, and why."""
        notes = [note for moment, rows in self.captured.items() for note in _notes(self._remarks[moment], rows)]
        return tuple(dict.fromkeys(notes))

    def row_features(self, row: int) -> dict[str, Features]:
        """Return the features of one row of the batch by moment, in the order of evaluation."""
        by_step = sorted(self.captured.values(), key=lambda rows: rows[row].step)
        return {rows[row].moment: rows[row] for rows in by_step}

    def clear(self) -> None:
        """Release what was captured."""
        self.captured.clear()
        self.x0 = None


def _notes(remarks: tuple[str, ...], rows: list[Features]) -> list[str]:
    blocks: dict[str, list[str]] = {}
    for name, why in rows[0].why.items():
        if name not in NEEDS:
            blocks.setdefault(why, []).append(name)
    left_out = [f"The attention of {', '.join(names)} is left out, because {why}." for why, names in blocks.items()]
    return [*remarks, *left_out]


def captured_conds(guider: Any) -> list[dict[str, Any]]:
    """Return the conditioning entries of a guider that say what the images should show."""
    return guider.conds.get("positive") or [cond for conds in guider.conds.values() for cond in conds]


def _model_input(guider: Any, x: Tensor, timestep: Tensor) -> Tensor:
    """Return the latent as the model's first layer gets it, ``[rows, channels, height, width]`` float16.

    It has no axis of frames, of which there is one, where the model has such an axis.
    """
    scaled = guider.inner_model.model_sampling.calculate_input(timestep, x.detach())
    return on_grid(scaled.float().flatten(1, -3)).half()
