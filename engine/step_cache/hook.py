"""Step cache on a MODEL: one wrapper, and the hooks that it installs for the duration of a run.

The hook gets every model call first, before the wrappers of other packs and of this pack's search hub
(``model_wrappers``): a predicted call reaches none of them and costs the hub no model row, and LoRA, compiled models
and other caches are all behind it. The predicted value is the slope (x − x0)/σ of the sampler's path; for flow models
and eps models that is the model's own output.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_patcher
from comfy.model_sampling import CONST
from comfy.patcher_extension import WrappersMP, get_wrappers_with_key
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY
from torch import Tensor

from ..capture.hooks.families import FLUX, find_family
from ..core.samplers import sampler_name, traits_of
from ..runs.keys import CAPTURING, STEP_CACHE, in_search, next_look
from ..runs.model_wrappers import CACHE, ModelCall, in_front
from ..runs.step_noise import StepNoise
from .blocks import JOB, BlockJob, replace_blocks
from .config import StepCacheConfig
from .plan import Plan
from .state import CacheRun, Key
from .times import saving_text

NAME = "TC-Padé Cache"
"""Name of the cache in logs and errors."""


def apply_step_cache(model: Any, config: StepCacheConfig, show: Callable[[str], None] = lambda text: None) -> Any:
    """Return a clone of a MODEL whose runs predict some of their evaluations.

    Args:
        model: a MODEL (``ModelPatcher``), of any family.
        config: the settings.
        show: called at the end of each run with a line on what was predicted and saved.

    Raises:
        ValueError: the MODEL has a step cache already; block space and a model that isn't FLUX.
    """
    if STEP_CACHE in model.wrappers.get(WrappersMP.OUTER_SAMPLE, {}):
        raise ValueError(f"this MODEL has a {NAME} already. Connect the MODEL from before that one, or remove it.")
    if config.space == "blocks" and find_family(model) is not FLUX:
        raise ValueError(
            f'space "blocks" knows the blocks of FLUX only, and this MODEL is a {type(model.model).__name__}. '
            'Choose "output", which works for every model.'
        )
    model = model.clone()
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, STEP_CACHE, StepCache(config, show))
    return model


@dataclass(frozen=True)
class StepCache:
    """OUTER_SAMPLE wrapper that puts a state into the run's own options for the duration of the run."""

    config: StepCacheConfig
    show: Callable[[str], None] = lambda text: None

    def __call__(self, executor, noise, latent_image, sampler, sigmas, *args, **kwargs):
        def sample_uncached(why: str) -> Tensor:
            logging.info(f"{NAME}: nothing to predict, because {why}.")
            self.show(f"nothing to predict, because {why}")
            return executor(noise, latent_image, sampler, sigmas, *args, **kwargs)

        if traits_of(sampler_name(sampler)).adaptive:
            return sample_uncached(f"{sampler_name(sampler)} chooses its steps by the model's outputs")
        guider, notes = executor.class_obj, []
        flow = isinstance(guider.model_patcher.get_model_object("model_sampling"), CONST)
        plan = Plan.of([float(sigma) for sigma in sigmas], self.config, flow)
        if plan.why_nothing is not None:
            return sample_uncached(plan.why_nothing)
        original = guider.model_options
        noise_test = StepNoise(args[0] if args else kwargs.get("denoise_mask"))
        run = CacheRun(self.config, plan, noise_test.blind, noise_test)
        guider.model_options = comfy.model_patcher.create_model_options_clone(original)
        try:
            notes += _install(run, guider)
            output = executor(noise, latent_image, sampler, sigmas, *args, **kwargs)
            summary = run.summary() if run.number else "nothing was predicted, in context windows or on several GPUs"
            notes += _why_rough(noise_test, sampler)
            logging.info(". ".join([f"{NAME}: {summary}", *notes]) + ".")
            self.show(_shown(run) if run.number else summary)
            return output
        finally:
            run.forget()
            guider.model_options = original


def _shown(run: CacheRun) -> str:
    """Return the line that the node shows; without seconds in a search, whose runs share their model calls."""
    return saving_text(run.predicted, run.number, None if in_search() else run.times.saving())


def _why_rough(noise_test: StepNoise, sampler: Any) -> list[str]:
    if noise_test.blind:
        return ["the noise mask is 1 nowhere, so noise of the sampler can't be detected: outputs were reused"]
    if noise_test.found:
        return [f"{sampler_name(sampler)} draws noise on the way: outputs were reused, not extrapolated"]
    return []


def _install(run: CacheRun, guider: Any) -> list[str]:
    """Put the hooks into the run's own options, and return notes for the user."""
    options, notes = guider.model_options.setdefault("transformer_options", {}), []
    options[STEP_CACHE] = run
    run.noise.install(guider.model_options)
    wrappers = options.setdefault("wrappers", {})
    wrappers[WrappersMP.PREDICT_NOISE] = {STEP_CACHE: [_predict_noise], **wrappers.get(WrappersMP.PREDICT_NOISE, {})}
    if run.config.space == "blocks":
        diffusion_model = guider.model_patcher.model.diffusion_model
        if _compiled(options, diffusion_model):
            run.in_blocks = False
            notes.append("the model is compiled, so its output was predicted instead of its blocks")
        else:
            replace_blocks(options, diffusion_model)
    if "easycache" in options:
        notes.append("EasyCache is on this model as well: evaluations that it skipped count as computed")
    return notes


def _compiled(options: dict[str, Any], diffusion_model: Any) -> bool:
    nodes = get_wrappers_with_key(WrappersMP.APPLY_MODEL, COMPILE_KEY, options)
    return bool(nodes) or hasattr(diffusion_model, "_orig_mod")


def _predict_noise(executor, x, timestep, model_options, seed=None):
    run: CacheRun | None = model_options["transformer_options"].get(STEP_CACHE)
    several = "multigpu_clones" in model_options or model_options.get("context_handler") is not None
    if run is None or several:  # windows and devices change from one evaluation to the next
        return executor(x, timestep, model_options, seed)
    run.noise.begin(x)
    run.rough = run.rough or run.noise.found
    run.begin(float(timestep.flatten()[0]))
    try:
        with in_front(model_options, CACHE, _model_call):
            x0 = executor(x, timestep, model_options, seed)
        run.noise.end(x0)
        return x0
    finally:
        run.end()


def _model_call(call: ModelCall) -> Tensor:
    """Compute or predict the result of a model call."""
    run: CacheRun | None = call.options.get(STEP_CACHE)

    def compute(options: dict[str, Any]) -> Tensor:
        return replace(call, arguments={**call.arguments, "transformer_options": options}).execute()

    x, options = call.x, call.options
    if run is None or not run.inside or not options.get("uuids"):
        return call.execute()
    run.compute_until(next_look())
    keys = run.keys(options["uuids"])
    like = (x.shape[0] // len(keys), *x.shape[1:]), x.dtype, x.device
    predicted = run.skips(keys, like, captured=CAPTURING in options)
    if run.in_blocks:
        return _with_blocks(run, keys, like, predicted, compute, options)
    sigma = call.timestep.view(-1, *[1] * (x.ndim - 1))
    if predicted:
        return (x - sigma * run.prediction(keys)).to(x.dtype)
    denoised = compute(options)
    run.keep(keys, like, (x - denoised) / sigma if denoised.shape == x.shape and run.sigma > 0 else None)
    return denoised


def _with_blocks(run: CacheRun, keys: list[Key], like: Any, predicted: bool, compute: Any, options: dict) -> Tensor:
    """Run a call whose blocks are predicted, or computed if another pack has replaced the last block."""
    if predicted:
        job = BlockJob(predicted=run.prediction(keys))
        denoised = compute({**options, JOB: job})
        if job.added is not None:
            return denoised
    job = BlockJob()
    denoised = compute({**options, JOB: job})
    run.keep(keys, like, job.added)
    return denoised
