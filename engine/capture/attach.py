"""Attachment of a probe to a MODEL: the wrappers that capture features in each run, and the records of its runs.

The life cycle is that of ComfyUI's own EasyCache: wrappers set up the state of one run and take it
down in ``finally``. What outlives a run are row records in the attachment (see ``store``).
"""

import logging
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from uuid import uuid4

from comfy.model_management import InterruptProcessingException
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..core.probe import Probe
from ..core.samplers import sampler_name
from ..core.scores import SeedName
from ..core.texts import plain
from ..runs.exactness import cut_needs, why_not_alone, why_not_cut
from ..runs.keys import RECORDING
from ..runs.latents import row_keys, small_row
from ..runs.run_watch import add_watch
from ..runs.seed_names import name_seeds, seed_number
from .hooks.evaluation import unexpected
from .hooks.families import Family, family_for, require_fit, require_images
from .hooks.wrapper import captured_call
from .moments import AUTO, Moment, parse_moments
from .prompt.sampled_text import sampled_text
from .recording import Recording, captured_conds
from .store import RecordStore, RowRecord


class RowRule(Protocol):
    """Rule that decides in a run, at its one moment, which rows go on."""

    def install(self, model: Any) -> None:
        """Add the rule's wrappers to a MODEL that has an attachment, inside the wrappers of the recording."""
        ...


@dataclass
class Attachment:
    """Probe on a clone of a MODEL, and the records of its runs; clones of the clone share it."""

    probe: Probe
    family: Family
    moments: tuple[Moment, ...] | None
    store: RecordStore = field(default_factory=RecordStore)

    def outer_sample(self, executor, noise, latent_image, sampler, sigmas, denoise_mask, callback, *args, **kwargs):
        """Record one sampler call under the content of the rows that it returns: an OUTER_SAMPLE wrapper.

        Raises:
            ValueError: the probe can't score the rows, which is known before they are sampled.
        """
        guider = executor.class_obj
        options = guider.model_options["transformer_options"]
        recording = Recording(self.family, frozenset(self.probe.needs), self.moments, self.probe.projection)
        recording.prompt = sampled_text(captured_conds(guider))
        self.probe.require_ready(small_row(noise.shape), recording.prompt)
        last_x0: list[Tensor] = []

        def remember_x0(step, x0, x, total_steps):
            last_x0[:] = [x0]
            if callback is not None:
                callback(step, x0, x, total_steps)

        options[RECORDING] = recording
        try:
            output = executor(noise, latent_image, sampler, sigmas, denoise_mask, remember_x0, *args, **kwargs)
            if recording.evaluations:
                self._record_safely(recording, latent_image, output, last_x0, guider)
            return output
        finally:
            options.pop(RECORDING, None)

    def _record_safely(
        self, recording: Recording, latent_image: Tensor, output: Tensor, last_x0: list[Tensor], guider: Any
    ) -> None:
        """Record the rows of a run. If that fails, the run's result is not lost, and reading its scores says why."""
        latent_out = guider.model_patcher.model.process_latent_out
        try:
            self._record(recording, latent_image, [output, *(latent_out(x0.cpu()) for x0 in last_x0)])
        except InterruptProcessingException:
            raise
        except Exception as error:
            logging.warning("Diffusion Probe: the features of a run could not be recorded.", exc_info=error)
            record = RowRecord(
                features={},
                missing={AUTO: f"{unexpected(error)}."},
                seed=SeedName(0),
                sampler=recording.sampler,
                why_not_cut=("The features of the run could not be recorded.",),
                model_rows=recording.model_rows,
                run=uuid4(),
                steps=0,
                finished=None,
            )
            self.store.add_run([(replace(record, id=uuid4()), (key,)) for key in row_keys(output)])

    def _record(self, recording: Recording, latent_image: Tensor, results: list[Tensor]) -> None:
        """Record each row of a run under the keys of its latents in ``results``, each ``[rows, channels, ...]``."""
        keys = list(zip(*(row_keys(result) for result in results), strict=True))
        seeds = self.seed_names(recording, latent_image)
        pruning, watch, finished = recording.pruning, recording.watch, recording.sigmas[-1] == 0
        originals = watch.originals(finished)
        shared = RowRecord(
            features={},
            missing=recording.missing(),
            seed=SeedName(0),
            sampler=recording.sampler,
            why_not_cut=why_not_cut(watch, recording.sampler),
            model_rows=recording.model_rows,
            run=uuid4(),
            steps=len(recording.sigmas) - 1,
            finished=finished,
            note="\n".join(filter(None, (pruning.note if pruning else "", *recording.notes()))),
            cut_needs=cut_needs(watch),
            per_row=watch.per_row,
            why_not_alone=why_not_alone(watch, recording.sampler),
        )
        records = [
            replace(
                shared,
                id=uuid4(),
                features=recording.row_features(row),
                seed=seeds[row],
                dropped_at=pruning and pruning.dropped_at(row),
                original=originals[row],
            )
            for row in range(len(keys))
        ]
        self.store.add_run(list(zip(records, keys, strict=True)))

    def seed_names(self, recording: Recording, latent_image: Tensor) -> list[SeedName]:
        """Return the names of a run's seeds by row: by the initial noise, or from the run that it continues."""
        if not recording.noise.any():
            seed, sources = seed_number(recording.seed), self.store.find_rows(latent_image)
            return [source.seed if source else SeedName(seed, row) for row, source in enumerate(sources)]
        return name_seeds(recording.noise.cpu(), recording.seed)


def _sampler_sample(executor, guider, sigmas, extra_args, callback, noise, *args, **kwargs):
    """Begin the recording with the noise that the run really starts from: a SAMPLER_SAMPLE wrapper."""
    recording = extra_args["model_options"]["transformer_options"].get(RECORDING)
    if recording is not None:
        name = sampler_name(executor.class_obj)
        recording.begin(guider.inner_model.model_sampling, sigmas, name, noise, extra_args.get("seed"))
    return executor(guider, sigmas, extra_args, callback, noise, *args, **kwargs)


def _predict_noise(executor, x, timestep, model_options, seed=None):
    recording = model_options.get("transformer_options", {}).get(RECORDING)
    if recording is None:
        return executor(x, timestep, model_options, seed)
    return recording.evaluate(executor, x, timestep, model_options, seed)


def _apply_model(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    recording = (transformer_options or {}).get(RECORDING)
    if recording is not None:
        recording.model_rows += x.shape[0]
    return captured_call(executor, x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)


WRAPPERS = {
    WrappersMP.SAMPLER_SAMPLE: _sampler_sample,
    WrappersMP.PREDICT_NOISE: _predict_noise,
    WrappersMP.APPLY_MODEL: _apply_model,
}


def attach_probe(model: Any, probe: Probe, moments: str = AUTO, rule: RowRule | None = None) -> Any:
    """Return a clone of a MODEL that captures the features that ``probe`` needs whenever a sampler runs it.

    Args:
        model: a MODEL (``ModelPatcher``).
        probe: names the features that are captured, and scores them later.
        moments: see :func:`moments.parse_moments`.
        rule: decides which rows are computed after the moment; then there has to be one moment. None: all rows.

    Raises:
        ValueError: not a model of images, one whose family isn't supported where the probe reads more than x0,
            a probe trained for another model, a probe already attached,
            moments that can't be read or are several with a rule.
    """
    require_images(model)
    family = family_for(probe.needs, model)
    require_fit(probe, model)
    attached = model.get_attachment(RECORDING)
    if attached is not None:
        raise ValueError(
            f'a probe ("{attached.probe.name}") is already attached to this MODEL, which takes one. Connect this one '
            "to the MODEL from before the first, and sample each of them."
        )
    parsed = parse_moments(moments)
    if rule is not None and parsed is not None and len(parsed) > 1:
        raise ValueError(
            f'"{plain(moments)}" are several moments, but rows are dropped at one. Write one, such as "20%".'
        )
    attachment = Attachment(probe.for_model(model), family, parsed)
    model = model.clone()
    model.set_attachments(RECORDING, attachment)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, RECORDING, attachment.outer_sample)
    for kind, wrapper in WRAPPERS.items():
        model.add_wrapper_with_key(kind, RECORDING, wrapper)
    add_watch(model)
    if rule is not None:
        rule.install(model)
    return model


def attachment_of(model: Any) -> Attachment:
    """Return what :func:`attach_probe` put on a MODEL.

    Raises:
        ValueError: no probe is attached.
    """
    attachment = model.get_attachment(RECORDING)
    if attachment is None:
        raise ValueError(
            "no probe is attached to this MODEL. Attach one between the model loader and the sampler, and connect the "
            "MODEL with the probe both to the sampler and here."
        )
    return attachment


def probe_of(model: Any) -> Probe:
    """Return the probe that is attached to a MODEL.

    Raises:
        ValueError: no probe is attached.
    """
    return attachment_of(model).probe
