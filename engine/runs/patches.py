"""Patches of other nodes on a MODEL: guidance, which sees the whole batch, and patches inside of the model."""

from collections.abc import Iterable
from typing import Any

from comfy.patcher_extension import WrappersMP
from comfy.samplers import CFGGuider
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY

from .origins import is_ours

GUIDANCE = (
    "sampler_calc_cond_batch_function",
    "sampler_pre_cfg_function",
    "sampler_cfg_function",
    "sampler_post_cfg_function",
)
"""Keys of ``model_options``: functions, or lists of them, around the outputs of all conditionings."""

OF_EACH_RUN = ("wrappers", "callbacks", "sample_sigmas", "sigmas", "cond_or_uncond", "uuids")
"""Keys of ``transformer_options`` that ComfyUI fills."""

OURS = "diffusion_probe"
"""Prefix of the pack's own keys."""

HARMLESS = (COMPILE_KEY,)
"""Wrappers that change how a model computes, and not what."""

INSIDE = (WrappersMP.APPLY_MODEL, WrappersMP.DIFFUSION_MODEL)
AROUND = (WrappersMP.PREDICT_NOISE, WrappersMP.CALC_COND_BATCH)


def guidance_of(guider: Any) -> dict[str, Any]:
    """Find functions of other nodes that make one prediction of those for all conditionings, by name.

    Args:
        guider: of a run, with the run's ``model_options``.
    """
    found = [function for key in GUIDANCE for function in _listed(guider.model_options.get(key))]
    found += _wrappers(guider.model_options, AROUND)
    if type(guider).predict_noise is not CFGGuider.predict_noise:
        found.append(type(guider).predict_noise)
    return _named(function for function in found if not is_ours(function))


def patches_of(guider: Any) -> dict[str, Any]:
    """Find what works inside of the model's calls, by name: wrappers, patches of attention and blocks, what they hold
    in ``transformer_options``, and a changed forward."""
    options = guider.model_options.get("transformer_options", {})
    found = [*_listed(guider.model_options.get("model_function_wrapper")), *_wrappers(guider.model_options, INSIDE)]
    found += [
        value
        for key, held in options.items()
        if key not in OF_EACH_RUN and not str(key).startswith(OURS)
        for value in _leaves(held)
    ]
    found += _changed_forwards(guider.model_patcher.model.diffusion_model)
    return _named(value for value in found if not is_ours(value))


def _changed_forwards(module: Any) -> list[Any]:
    """Find methods of a module's own that replace its class's. ComfyUI puts those back as attributes, too."""
    own = ((name, value) for name, value in vars(module).items() if "forward" in name and callable(value))
    return [value for name, value in own if getattr(value, "__func__", value) is not getattr(type(module), name, None)]


def inner_wrappers(model_options: dict[str, Any], kind: str) -> list[Any]:
    """Find wrappers of other nodes that are inside of the pack's own."""
    groups = list(model_options["transformer_options"].get("wrappers", {}).get(kind, {}).items())
    ours = [place for place, (key, _) in enumerate(groups) if str(key).startswith(OURS)]
    return [wrapper for _, group in groups[max(ours, default=-1) + 1 :] for wrapper in group]


def name_of(value: Any) -> str:
    """Name a function or an object as a user recognises it: the node or function it was made in, and its pack."""
    function = getattr(value, "__func__", getattr(value, "func", value))
    name = getattr(function, "__qualname__", type(value).__qualname__).partition(".")[0]
    module = getattr(function, "__module__", None) or type(value).__module__
    folder = module.replace("\\", "/").partition("custom_nodes/")[2].partition("/")[0].partition(".")[0]
    return f"{name} of {folder}" if folder else name


def _named(values: Any) -> dict[str, Any]:
    """Collect functions by name; several with one name together."""
    named: dict[str, list[Any]] = {}
    for value in values:
        named.setdefault(name_of(value), []).append(value)
    return {name: tuple(found) for name, found in named.items()}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def _wrappers(model_options: dict[str, Any], kinds: tuple[str, ...]) -> list[Any]:
    wrappers = model_options.get("transformer_options", {}).get("wrappers", {})
    keyed = [entry for kind in kinds for entry in wrappers.get(kind, {}).items()]
    return [
        wrapper for key, group in keyed if not str(key).startswith(OURS) and key not in HARMLESS for wrapper in group
    ]


def _leaves(value: Any) -> list[Any]:
    """Find the values in nested dicts and lists, without plain ones."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in _leaves(part)]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in _leaves(part)]
    return [] if value is None or isinstance(value, (bool, int, float, str)) else [value]


def together(names: Iterable[str]) -> str:
    """Join several names to the one subject of a sentence."""
    return " with ".join(sorted(names))
