"""Pruning: after one moment of a run dropped rows are not computed any more.

The sampler continues with the whole batch, so that history, noise and random numbers of the kept rows are those
of the unpruned run. Only the model gets fewer rows: for a dropped row every conditioning gets the row's x0 of
that moment, which no guidance changes.
"""

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from comfy.model_management import InterruptProcessingException
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..capture.attach import Attachment
from ..capture.recording import Recording
from ..capture.scoring import why_not_scored
from ..core.probe import scored
from ..core.samplers import ADAPTIVE_NOTE, traits_of
from ..core.scores import Scores
from ..runs.keys import RECORDING
from ..runs.loaded import loaded_again
from ..runs.rows import cut_entry, why_not_cut
from ..runs.rows_alone import why_not_separately
from .select import OFF, Selection, select

PRUNING_KEY = "diffusion_probe_pruning"
"""Key of the pruning's wrappers on a MODEL."""

BATCH_COUPLED_NOTE = f"{ADAPTIVE_NOTE}, so the images of the kept rows are not quite those of the whole batch."


@dataclass(frozen=True)
class PruneRule:
    """Rule that keeps rows, by the limits of :func:`engine.selection.select.select`."""

    top_k: int = 0
    threshold: float = 0.0
    threshold_on: str = OFF
    use_unskilled: bool = False

    def select(self, scores: Scores) -> Selection:
        """Return the kept and dropped rows. Raises ValueError as :func:`select`."""
        return select(scores, self.top_k, self.threshold, self.threshold_on, self.use_unskilled)

    def install(self, model: Any) -> None:
        """Add the pruning's wrappers to a MODEL that has an attachment, inside the wrappers of its recording."""
        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, PRUNING_KEY, partial(_outer_sample, self))
        model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, PRUNING_KEY, _predict_noise)
        model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, PRUNING_KEY, _calc_cond_batch)


@dataclass
class RowPruning:
    """Pruning of one run.

    Attributes:
        rule: chooses the kept rows.
        latent_image: the latent that the run starts from, as it came from the sampler node.
        moment: the moment at which rows were dropped; None until then.
        kept, dropped: numbers of rows.
        held: x0 of all rows at the moment, ``[rows, channels, ...]``.
        note: sentences for the user about the decision.
        uncut: the reason why all rows are computed although some were dropped, if they are.
        controls: ControlNets for the kept rows, by the original.
        given_up: whether rows could not be chosen, so that all are kept.
    """

    rule: PruneRule
    latent_image: Tensor
    moment: str | None = None
    kept: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()
    held: Tensor | None = None
    note: str = ""
    uncut: str | None = None
    controls: dict[Any, Any] = field(default_factory=dict)
    given_up: bool = False

    @property
    def decided(self) -> bool:
        """Whether rows are chosen, and nothing more has to be captured."""
        return self.moment is not None or self.given_up

    def give_up(self, why: str) -> None:
        """Keep all rows, because they can't be scored: a probe doesn't end a run."""
        self.given_up = True
        self.note = f"Prune in Flight dropped nothing: {why}"
        logging.warning(self.note)

    def decide(self, scores: Scores, x0: Tensor) -> None:
        """Drop the rows that the rule drops, for the rest of the run."""
        selection = self.rule.select(scores)
        self.moment, self.held = scores.moment, x0
        self.kept, self.dropped = selection.kept, selection.dropped
        self.note = f"Prune in Flight at {scores.moment}: {selection.reason}"
        if self.dropped and traits_of(scores.sampler).adaptive:
            self.note += f" {BATCH_COUPLED_NOTE}"
        logging.info(self.note)

    def dropped_at(self, row: int) -> str | None:
        """Return the moment after which a row was not computed any more, None for a kept row."""
        return self.moment if row in self.dropped else None

    def hold(self, values: Tensor, held: Tensor) -> Tensor:
        """Return ``values`` with the dropped rows replaced by those of ``held``, both ``[rows, ...]``."""
        values, rows = values.clone(), list(self.dropped)
        values[rows] = held[rows].to(values)
        return values

    def calc_cond_batch(self, executor, model, conds, x, timestep, model_options) -> list[Tensor]:
        """Return x0 by conditioning, computed for the kept rows only where that doesn't change them."""
        self.uncut = self.uncut or self._why_not_cut(conds, x, model_options)
        if self.uncut:
            return executor(model, conds, x, timestep, model_options)
        outputs = [self.held.clone() for _ in conds]
        if self.kept:
            rows = list(self.kept)
            cut = [entries and [cut_entry(entry, rows, self.controls) for entry in entries] for entries in conds]
            sigma = timestep[rows] if timestep.shape[:1] == x.shape[:1] else timestep
            for output, computed in zip(outputs, executor(model, cut, x[rows], sigma, model_options), strict=True):
                output[rows] = computed
        return outputs

    def _why_not_cut(self, conds: list, x: Tensor, model_options: dict) -> str | None:
        why = why_not_cut(conds, model_options["transformer_options"])
        if why is None and x.shape != self.held.shape:
            why = "the batch reaches the model in parts"
        if why is not None:
            self.compute_all(why)
        return why

    def compute_all(self, why: str) -> None:
        """Compute all rows to the end, and note why."""
        self.uncut = why
        note = f"Nothing is saved: {why}, so all rows are computed, and the dropped ones removed at the end."
        logging.warning("Prune in Flight: %s", note)
        self.note += f" {note}"


def _outer_sample(rule, executor, noise, latent_image, sampler, sigmas, denoise_mask, callback, *args, **kwargs):
    """Prune a run, whose result and previews hold the dropped rows' x0: an OUTER_SAMPLE wrapper."""
    guider = executor.class_obj
    pruning = RowPruning(rule, latent_image)
    recording: Recording = guider.model_options["transformer_options"][RECORDING]
    recording.pruning = pruning
    model = guider.model_patcher.model

    def held() -> Tensor:
        if denoise_mask is None:
            return pruning.held
        source = model.process_latent_in(latent_image) if latent_image.any() else latent_image
        mask = denoise_mask.to(pruning.held)
        return pruning.held * mask + source.to(pruning.held) * (1 - mask)

    def show_held(step, x0, x, total_steps):
        callback(step, pruning.hold(x0, held()) if pruning.dropped else x0, x, total_steps)

    output = executor(noise, latent_image, sampler, sigmas, denoise_mask, show_held, *args, **kwargs)
    if not pruning.decided:
        why = " ".join(recording.missing().values()) or "the run ended at the moment."
        pruning.note = f"Prune in Flight dropped nothing: {why}"
        logging.info(pruning.note)
    return pruning.hold(output, model.process_latent_out(held())) if pruning.dropped else output


def _predict_noise(executor, x, timestep, model_options, seed=None):
    """Drop rows at the first evaluation after the moment, and hold their x0 from then on: a PREDICT_NOISE wrapper."""
    recording = model_options.get("transformer_options", {}).get(RECORDING)
    if recording is None:
        return executor(x, timestep, model_options, seed)
    pruning = recording.pruning
    if not pruning.decided and recording.captured and not recording.capturing:
        _decide(pruning, recording, executor.class_obj, x, model_options)
    x0 = executor(x, timestep, model_options, seed)
    return pruning.hold(x0, pruning.held) if pruning.dropped and not pruning.uncut else x0


def _calc_cond_batch(executor, model, conds, x, timestep, model_options):
    recording = model_options.get("transformer_options", {}).get(RECORDING)
    if recording is None or not recording.pruning.dropped:
        return executor(model, conds, x, timestep, model_options)
    return recording.pruning.calc_cond_batch(executor, model, conds, x, timestep, model_options)


def _decide(pruning: RowPruning, recording: Recording, guider: Any, x: Tensor, model_options: dict) -> None:
    """Score the rows in mid-run and drop some; random state and loaded models are restored afterwards."""
    attachment: Attachment = guider.model_patcher.get_attachment(RECORDING)
    try:
        scores, x0 = _scores(attachment, recording, pruning.latent_image, guider, x)
        pruning.decide(scores, x0)
        why = why_not_separately(recording.watch, guider, model_options) if pruning.dropped else None
        if why is not None:
            pruning.compute_all(why)
    except InterruptProcessingException:
        raise
    except ValueError as error:
        pruning.give_up(str(error))
    except Exception as error:
        pruning.give_up(f"the rows could not be scored ({type(error).__name__}: {error}).")
        logging.warning("Diffusion Probe: an error while scoring in mid-run, which goes on.", exc_info=error)


def _scores(
    attachment: Attachment, recording: Recording, latent_image: Tensor, guider: Any, x: Tensor
) -> tuple[Scores, Tensor]:
    """Return the scores of all rows at the moment, and their x0.

    Raises:
        ValueError: what the probe needs was not captured, or as :meth:`Probe.score`.
    """
    probe = attachment.probe
    (rows,) = recording.captured.values()
    if why := why_not_scored(rows[0], probe.needs):
        raise ValueError(f"{why}.")
    with loaded_again([guider]), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        values = scored(probe, rows)
    scores = Scores(
        values=tuple(float(value) for value in values),
        seeds=tuple(attachment.seed_names(recording, latent_image)),
        probe=probe.name,
        label=probe.label,
        moment=rows[0].moment,
        step=rows[0].step,
        skilled=probe.skilled,
        sampler=recording.sampler,
        calibration=tuple(probe.calibration),
    )
    return scores, recording.x0.to(x)
