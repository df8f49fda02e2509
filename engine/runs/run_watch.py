"""Watch over a recorded run: what decides whether it can be cut, and whether its rows can be made again alone."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .conditioning import what_differs
from .continuing import Outside, Records, originals_of
from .guidance import GuidedEvaluation, Verdict
from .kept_state import OfModule, Place, Snapshot
from .keys import RECORDING, STEP_CACHE
from .patches import guidance_of, patches_of
from .random_state import random_state
from .row_noise import draws_by_row
from .rows import cache_on
from .step_noise import StepNoise

WATCH_KEY = "diffusion_probe_watch"

THE_MODEL = "the diffusion model"


class RunWatch:
    """Watches one run.

    Attributes:
        rows: of the batch.
        masked: it has a noise mask.
        moving_mask: a function changes the mask along the run.
        outside: what lies outside of the mask; None without one.
        shows_outside: the sampler lets it be seen, and so handed on to another run.
        per_row: what differs from row to row, by the name of the conditioning it is in.
        guarantees: a keyframe of a hook (LoRA strengths by step) is guaranteed several steps.
        by_row: the sampler draws its noise for each row from the row's own seed.
        noise: whether it adds noise.
        draws: random numbers are drawn inside of the model or its guidance.
        cache: name of a known cache on the MODEL, or empty.
        cache_couples: that cache decides for all rows together.
        guidance: what guidance of other nodes does with the rows.
        remembers: names of patches that keep something from one evaluation to the next.
        may_remember: names of patches that keep something which may be made anew in each.
        holds_rows: names of patches that keep something with an entry for each row.
        begin, before: what the patches kept when the run began, and before the evaluation at the moment.
        patches: of other nodes, inside of the model, by name.
        first_call: conditioning, latent, sigma, random state and outputs of the model's first call at the moment.
    """

    def __init__(self, guider: Any, store: Records, latent_image: Tensor, mask: Tensor | None, starts: bool):
        self.rows, self.masked = len(latent_image), mask is not None
        self.moving_mask = self.masked and "denoise_mask_function" in guider.model_options
        self.outside = Outside(None if starts else originals_of(store, latent_image)) if self.masked else None
        self.by_row = self.draws = self.shows_outside = False
        self.noise = StepNoise(mask)
        self.noise.listen(guider.model_options)
        own = _wrappers_of_runs(guider).get(STEP_CACHE, ())
        self.cache = cache_on(guider.model_options["transformer_options"]) or ("TC-Padé Cache" if own else "")
        self.cache_couples = not own or own[0].config.veto is not None
        self.guidance = Verdict()
        self.remembers: frozenset[str] = frozenset()
        self.may_remember: frozenset[str] = frozenset()
        self.holds_rows: frozenset[str] = frozenset()
        self.first_call: tuple | None = None
        self._evaluation: GuidedEvaluation | None = None
        self._evaluations = 0
        self.per_row: dict[str, tuple[str, ...]] = {}
        self.guarantees = False
        self.patches: dict[str, Any] = {}
        self._guidance: dict[str, Any] = {}
        self._roots: dict[str, Any] = {}
        with self._whatever_happens():
            self.per_row, self.guarantees = _per_row(guider), _guarantees_steps(guider)

    def begins(self, guider: Any, sampler: Any, noise: Tensor, mask: Tensor | None, seed: int | None) -> None:
        """Note that the sampler starts; the model is loaded, with everything that was put on it."""
        self.by_row = draws_by_row(sampler)
        if self.outside is not None:
            self.outside.encode_again(guider, noise, mask, seed)
        if not self.guidance.unknown:
            with self._whatever_happens():
                self._look_around(guider)

    def _look_around(self, guider: Any) -> None:
        known_cache = bool(cache_on(guider.model_options["transformer_options"]))  # it says enough
        guidance, patches = ({}, {}) if known_cache else (guidance_of(guider), patches_of(guider))
        roots = {**patches, THE_MODEL: OfModule(guider.model_patcher.model.diffusion_model)}
        self.begin, self._guidance_begin = Snapshot(roots, copies=False), Snapshot(guidance)
        self._guidance, self.patches, self._roots = guidance, patches, roots

    @contextmanager
    def _whatever_happens(self) -> Iterator[None]:
        """Let a run go on that can't be watched, as one of which nothing is known."""
        try:
            yield
        except Exception:
            logging.warning("Diffusion Probe: a run could not be watched.", exc_info=True)
            self.guidance = Verdict(unknown="what other nodes have put on the MODEL")
            self._guidance, self.patches, self._roots = {}, {}, {}

    def evaluate(
        self, executor: Any, capturing: bool, x: Tensor, timestep: Tensor, model_options: dict, seed: int | None
    ) -> Tensor:
        """Execute one evaluation, which isn't changed by being watched."""
        self._evaluations += 1
        with self._whatever_happens():
            self.noise.begins(x)
        random, looking = random_state(x.device), capturing and bool(self._roots)
        if looking:
            with self._whatever_happens():
                self._look(executor.class_obj, x, timestep, model_options)
        try:
            x0 = executor(x, timestep, model_options, seed)
        finally:
            evaluation, self._evaluation = self._evaluation, None
        with self._whatever_happens():
            self.noise.ends(x0)
        self.draws = self.draws or random_state(x.device) != random
        if looking and self._roots:
            with self._whatever_happens():
                self._judge(evaluation, model_options, seed, x0)
        return x0

    def calc_cond_batch(
        self, executor: Any, model: Any, conds: list, x: Tensor, timestep: Tensor, options: dict
    ) -> list[Tensor]:
        """Execute CALC_COND_BATCH of the run."""
        evaluation = self._evaluation
        if evaluation is None:
            return executor(model, conds, x, timestep, options)
        with self._whatever_happens():
            evaluation.asks(x)
            given = x.clone(), timestep.clone(), random_state(x.device)
        outputs = executor(model, conds, x, timestep, options)
        with self._whatever_happens():
            evaluation.gets(outputs)
            if self.first_call is None:
                self.first_call = (conds, *given, [output.clone() for output in outputs])
        return outputs

    def kept(self) -> Snapshot:
        """Take a snapshot of what the patches inside of the model keep now."""
        return Snapshot(self._roots, copies=False)

    def originals(self, finished: bool) -> list[Any]:
        """Return what is outside of each row's mask, for a run that continues; None for each where there is nothing."""
        found = self.outside.rows(self.rows) if self.outside is not None else [None] * self.rows
        self.shows_outside = None not in found
        return [None] * self.rows if finished else found

    def _look(self, guider: Any, x: Tensor, timestep: Tensor, model_options: dict) -> None:
        self.first_call, self.before = None, self.kept()
        if self._guidance or self.patches:
            of_run = (self._guidance, self._roots, self._guidance_begin, guider)
            self._evaluation = GuidedEvaluation(*of_run, x, timestep, model_options)

    def _judge(self, evaluation: Any, model_options: dict, seed: int | None, x0: Tensor) -> None:
        before, end = self.before, self.kept()
        if self._guidance:
            self.guidance = evaluation.judge(model_options, seed, x0)
        shared, first = Snapshot(self._guidance), self._evaluations == 1
        moved = [place for place in end.changed_since(before) if not shared.of(place)]
        held = [
            place for place in end.tensors_since(self.begin) if not shared.of(place) and self._has_rows(place.owner)
        ]
        old = [place for place in held if before.of(place) and not first]
        counting = [place for place in moved if place.counts_on(before.of(place)) and not first]
        self.remembers, self.holds_rows = _names([*old, *counting]), _names(held)
        self.may_remember = _names([*held, *([] if first else moved)]) - self.remembers

    def _has_rows(self, values: Tensor) -> bool:
        return self.rows > 1 and values.ndim > 1 and len(values) > 0 and len(values) % self.rows == 0


def _names(places: list[Place]) -> frozenset[str]:
    return frozenset(name for place in places for name in place.roots)


def _per_row(guider: Any) -> dict[str, tuple[str, ...]]:
    differing = {side: tuple(what_differs(conds)) for side, conds in getattr(guider, "conds", {}).items()}
    return {side: parts for side, parts in differing.items() if parts}


def _guarantees_steps(guider: Any) -> bool:
    entries = (entry for conds in getattr(guider, "conds", {}).values() for entry in conds)
    hooks = (hook for entry in entries if entry.get("hooks") is not None for hook in entry["hooks"].hooks)
    return any(frame.guarantee_steps > 1 for hook in hooks for frame in hook.hook_keyframe.keyframes)


def _wrappers_of_runs(guider: Any) -> dict[str, list]:
    return guider.model_options["transformer_options"].get("wrappers", {}).get(WrappersMP.OUTER_SAMPLE, {})


def add_watch(model: Any) -> None:
    """Add the wrappers to a MODEL that has an attachment, inside the wrappers of its recording."""
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, WATCH_KEY, _outer_sample)
    model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, WATCH_KEY, _sampler_sample)
    model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, WATCH_KEY, _predict_noise)
    model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, WATCH_KEY, _calc_cond_batch)


def _outer_sample(executor, noise, latent_image, sampler, sigmas, denoise_mask, *args, **kwargs):
    """Wrap OUTER_SAMPLE: a watch for the run, and what is outside of its mask, handed on from run to run."""
    guider = executor.class_obj
    store = guider.model_patcher.get_attachment(RECORDING).store
    watch = RunWatch(guider, store, latent_image, denoise_mask, starts=bool(noise.any()))
    guider.model_options["transformer_options"][RECORDING].watch = watch
    if watch.outside is not None:
        sampler = watch.outside.on(sampler)
    return executor(noise, latent_image, sampler, sigmas, denoise_mask, *args, **kwargs)


def _sampler_sample(executor, guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, *args, **kwargs):
    watch = _watch(extra_args["model_options"])
    if watch is not None:
        watch.begins(guider, executor.class_obj, noise, denoise_mask, extra_args.get("seed"))
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
