"""Watch of a recorded run, which finds out whether it can be cut, and whether its rows can be sampled alone."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .conditioning import what_differs
from .continuing import Outside, Records, originals_of
from .guidance import GuidanceEffects, GuidedEvaluation
from .kept_state import OfModule, Slot, Snapshot
from .keys import RECORDING, STEP_CACHE
from .patches import guidance_of, patches_of
from .random_state import random_state
from .row_noise import draws_by_row
from .rows import cache_on
from .step_noise import StepNoise

WATCH_KEY = "diffusion_probe_watch"
"""Key of the watch's wrappers on a MODEL."""

THE_MODEL = "the diffusion model"
"""Name for users of values that are kept in the model itself."""


class RunWatch:
    """Watch of one run.

    Attributes:
        rows: number of rows of the batch.
        masked: whether the run has a noise mask.
        moving_mask: whether a function changes the mask along the run.
        outside: picture and noise outside of the mask; None without a mask.
        shows_outside: whether the sampler gives access to them, so that another run can get them.
        per_row: names of fields that differ from row to row, by conditioning.
        guarantees: whether a keyframe of a hook (LoRA strengths by step) is guaranteed several steps.
        by_row: whether the sampler draws its noise for each row from the row's own seed.
        noise: the test of whether the sampler adds noise.
        draws: whether random numbers are drawn inside of the model or its guidance.
        cache: name of a known cache on the MODEL, or empty.
        cache_couples: whether that cache decides for all rows together.
        guidance: effects of other nodes' guidance on the rows.
        remembers: names of patches that keep values from one evaluation to the next.
        may_remember: names of patches that keep values which may be made anew in each evaluation.
        holds_rows: names of patches that keep values with an entry for each row.
        begin, before: values of the patches when the run began, and before the evaluation at the moment.
        patches: patches of other nodes inside of the model, by name.
        first_call: conditioning, latent, sigma, random state and outputs of the model's first call at the moment.
    """

    def __init__(self, guider: Any, store: Records, latent_image: Tensor, mask: Tensor | None, starts: bool):
        self.rows, self.masked = len(latent_image), mask is not None
        self.moving_mask = self.masked and "denoise_mask_function" in guider.model_options
        self.outside = Outside(None if starts else originals_of(store, latent_image)) if self.masked else None
        self.by_row = self.draws = self.shows_outside = False
        self.noise = StepNoise(mask)
        self.noise.install(guider.model_options)
        own = _wrappers_of_runs(guider).get(STEP_CACHE, ())
        self.cache = cache_on(guider.model_options["transformer_options"]) or ("TC-Padé Cache" if own else "")
        self.cache_couples = not own or own[0].config.veto is not None
        self.guidance = GuidanceEffects()
        nothing: frozenset[str] = frozenset()
        self.remembers = self.may_remember = self.holds_rows = nothing
        self.first_call: tuple | None = None
        self._evaluation: GuidedEvaluation | None = None
        self._evaluations = 0
        self.per_row: dict[str, tuple[str, ...]] = {}
        self.guarantees = False
        self.patches: dict[str, Any] = {}
        self._guidance: dict[str, Any] = {}
        self._roots: dict[str, Any] = {}
        with self._guarded():
            self.per_row, self.guarantees = _per_row(guider), _guarantees_steps(guider)

    def begin_sampler(self, guider: Any, sampler: Any, noise: Tensor, mask: Tensor | None, seed: int | None) -> None:
        """Start to watch a sampler: the model is loaded, with all patches on it."""
        self.by_row = draws_by_row(sampler)
        if self.outside is not None:
            self.outside.encode_again(guider, noise, mask, seed)
        if not self.guidance.unknown:
            with self._guarded():
                self._find_patches(guider)

    def _find_patches(self, guider: Any) -> None:
        known_cache = bool(cache_on(guider.model_options["transformer_options"]))  # which is reason enough
        guidance, patches = ({}, {}) if known_cache else (guidance_of(guider), patches_of(guider))
        roots = {**patches, THE_MODEL: OfModule(guider.model_patcher.model.diffusion_model)}
        self.begin, self._guidance_begin = Snapshot(roots, copies=False), Snapshot(guidance)
        self._guidance, self.patches, self._roots = guidance, patches, roots

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Run code of the watch inside of the run: after an error nothing is known of the run, which goes on."""
        try:
            yield
        except Exception:
            logging.warning("Diffusion Probe: a run could not be watched.", exc_info=True)
            self.guidance = GuidanceEffects(unknown="what other nodes have put on the MODEL")
            self._guidance, self.patches, self._roots = {}, {}, {}

    def evaluate(
        self, executor: Any, capturing: bool, x: Tensor, timestep: Tensor, model_options: dict, seed: int | None
    ) -> Tensor:
        """Watch one evaluation, which is not changed by that, and return its x0."""
        self._evaluations += 1
        with self._guarded():
            self.noise.begin(x)
        random, testing = random_state(x.device), capturing and bool(self._roots)
        if testing:
            with self._guarded():
                self._prepare_test(executor.class_obj, x, timestep, model_options)
        try:
            x0 = executor(x, timestep, model_options, seed)
        finally:
            evaluation, self._evaluation = self._evaluation, None
        with self._guarded():
            self.noise.end(x0)
        self.draws = self.draws or random_state(x.device) != random
        if testing and self._roots:
            with self._guarded():
                self._test(evaluation, model_options, seed, x0)
        return x0

    def calc_cond_batch(
        self, executor: Any, model: Any, conds: list, x: Tensor, timestep: Tensor, options: dict
    ) -> list[Tensor]:
        """Watch a model call of an evaluation: the run's CALC_COND_BATCH wrapper."""
        evaluation = self._evaluation
        if evaluation is None:
            return executor(model, conds, x, timestep, options)
        with self._guarded():
            evaluation.begin_call(x)
            arguments = x.clone(), timestep.clone(), random_state(x.device)
        outputs = executor(model, conds, x, timestep, options)
        with self._guarded():
            evaluation.end_call(outputs)
            if self.first_call is None:
                self.first_call = (conds, *arguments, [output.clone() for output in outputs])
        return outputs

    def kept(self) -> Snapshot:
        """Return the current values of the patches inside of the model."""
        return Snapshot(self._roots, copies=False)

    def originals(self, finished: bool) -> list[Any]:
        """Return the original of each row for a continuation of the run; None for a row without one."""
        originals = self.outside.rows(self.rows) if self.outside is not None else [None] * self.rows
        self.shows_outside = None not in originals
        return [None] * self.rows if finished else originals

    def _prepare_test(self, guider: Any, x: Tensor, timestep: Tensor, model_options: dict) -> None:
        self.first_call, self.before = None, self.kept()
        if self._guidance or self.patches:
            of_run = (self._guidance, self._roots, self._guidance_begin, guider)
            self._evaluation = GuidedEvaluation(*of_run, x, timestep, model_options)

    def _test(self, evaluation: Any, model_options: dict, seed: int | None, x0: Tensor) -> None:
        before, end = self.before, self.kept()
        if self._guidance:
            self.guidance = evaluation.effects(model_options, seed, x0)
        shared, first = Snapshot(self._guidance), self._evaluations == 1
        moved = [slot for slot in end.changed_since(before) if not shared.of(slot)]
        held = [slot for slot in end.tensors_since(self.begin) if not shared.of(slot) and self._has_rows(slot.owner)]
        old = [slot for slot in held if before.of(slot) and not first]
        counting = [slot for slot in moved if slot.counts_on(before.of(slot)) and not first]
        self.remembers, self.holds_rows = _names([*old, *counting]), _names(held)
        self.may_remember = _names([*held, *([] if first else moved)]) - self.remembers

    def _has_rows(self, values: Tensor) -> bool:
        return self.rows > 1 and values.ndim > 1 and len(values) > 0 and len(values) % self.rows == 0


def _names(slots: list[Slot]) -> frozenset[str]:
    return frozenset(name for slot in slots for name in slot.roots)


def _per_row(guider: Any) -> dict[str, tuple[str, ...]]:
    differing = {side: tuple(what_differs(conds)) for side, conds in getattr(guider, "conds", {}).items()}
    return {side: names for side, names in differing.items() if names}


def _guarantees_steps(guider: Any) -> bool:
    entries = (entry for conds in getattr(guider, "conds", {}).values() for entry in conds)
    hooks = (hook for entry in entries if entry.get("hooks") is not None for hook in entry["hooks"].hooks)
    return any(frame.guarantee_steps > 1 for hook in hooks for frame in hook.hook_keyframe.keyframes)


def _wrappers_of_runs(guider: Any) -> dict[str, list]:
    return guider.model_options["transformer_options"].get("wrappers", {}).get(WrappersMP.OUTER_SAMPLE, {})


def add_watch(model: Any) -> None:
    """Add the watch's wrappers to a MODEL that has an attachment, inside the wrappers of its recording."""
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, WATCH_KEY, _outer_sample)
    model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, WATCH_KEY, _sampler_sample)
    model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, WATCH_KEY, _predict_noise)
    model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, WATCH_KEY, _calc_cond_batch)


def _outer_sample(executor, noise, latent_image, sampler, sigmas, denoise_mask, *args, **kwargs):
    """Watch a run, and pass on the originals of a run that it continues: an OUTER_SAMPLE wrapper."""
    guider = executor.class_obj
    store = guider.model_patcher.get_attachment(RECORDING).store
    watch = RunWatch(guider, store, latent_image, denoise_mask, starts=bool(noise.any()))
    guider.model_options["transformer_options"][RECORDING].watch = watch
    if watch.outside is not None:
        sampler = watch.outside.wrap(sampler)
    return executor(noise, latent_image, sampler, sigmas, denoise_mask, *args, **kwargs)


def _sampler_sample(executor, guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *args, **kwargs):
    watch = _watch(extra_args["model_options"])
    if watch is not None:
        watch.begin_sampler(guider, executor.class_obj, noise, denoise_mask, extra_args.get("seed"))
    return executor(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *args, **kwargs)


def _predict_noise(executor, x, timestep, model_options, seed=None):
    watch = _watch(model_options)
    if watch is None:
        return executor(x, timestep, model_options, seed)
    capturing = model_options["transformer_options"][RECORDING].capturing
    return watch.evaluate(executor, capturing, x, timestep, model_options, seed)


def _calc_cond_batch(executor, model, conds, x, timestep, model_options):
    watch = _watch(model_options)
    if watch is None:
        return executor(model, conds, x, timestep, model_options)
    return watch.calc_cond_batch(executor, model, conds, x, timestep, model_options)


def _watch(model_options: dict[str, Any]) -> RunWatch | None:
    return getattr(model_options.get("transformer_options", {}).get(RECORDING), "watch", None)
