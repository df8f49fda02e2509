"""Guidance and patches that other nodes have put on a MODEL. Guidance gets the whole batch, patches single calls."""

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
"""Keys in ``model_options`` of functions, or lists of them, that get the outputs of all conditionings."""

OF_EACH_RUN = ("wrappers", "callbacks", "sample_sigmas", "sigmas", "cond_or_uncond", "uuids")
"""Keys in ``transformer_options`` that ComfyUI fills."""

OURS = "diffusion_probe"
"""Prefix of the pack's own keys."""

HARMLESS = (COMPILE_KEY,)
"""Keys of wrappers that change how a model computes, and not its results."""

INSIDE = (WrappersMP.APPLY_MODEL, WrappersMP.DIFFUSION_MODEL)
AROUND = (WrappersMP.PREDICT_NOISE, WrappersMP.CALC_COND_BATCH)


def guidance_of(guider: Any) -> dict[str, Any]:
    """Return the functions of other nodes that combine the predictions for all conditionings, by name.

    Args:
        guider: of a run, with the run's ``model_options``.
    """
    functions = [function for key in GUIDANCE for function in _listed(guider.model_options.get(key))]
    functions += _wrappers(guider.model_options, AROUND)
    if type(guider).predict_noise is not CFGGuider.predict_noise:
        functions.append(type(guider).predict_noise)
    return _named(function for function in functions if not is_ours(function))


def patches_of(guider: Any) -> dict[str, Any]:
    """Return the code and values of other nodes inside of the model's calls, by name.

    These are wrappers, patches of attention and blocks, values in ``transformer_options``, and replaced forwards.
    """
    options = guider.model_options.get("transformer_options", {})
    patches = [*_listed(guider.model_options.get("model_function_wrapper")), *_wrappers(guider.model_options, INSIDE)]
    others = [key for key in options if key not in OF_EACH_RUN and not str(key).startswith(OURS)]
    patches += [value for key in others for value in _leaves(options[key])]
    patches += _replaced_forwards(guider.model_patcher.model.diffusion_model)
    return _named(value for value in patches if not is_ours(value))


def _replaced_forwards(module: Any) -> list[Any]:
    """Return a module's attributes that replace forward methods of its class, but for the class's own methods."""
    own = ((name, value) for name, value in vars(module).items() if "forward" in name and callable(value))
    return [value for name, value in own if getattr(value, "__func__", value) is not getattr(type(module), name, None)]


def inner_wrappers(model_options: dict[str, Any], kind: str) -> list[Any]:
    """Return the wrappers of other nodes that are called inside of the pack's own."""
    groups = list(model_options["transformer_options"].get("wrappers", {}).get(kind, {}).items())
    ours = [number for number, (key, _) in enumerate(groups) if str(key).startswith(OURS)]
    return [wrapper for _, group in groups[max(ours, default=-1) + 1 :] for wrapper in group]


def name_of(value: Any) -> str:
    """Return a name by which a user can recognise a function or object: its node or function, and its pack."""
    function = getattr(value, "__func__", getattr(value, "func", value))
    name = getattr(function, "__qualname__", type(value).__qualname__).partition(".")[0]
    module = getattr(function, "__module__", None) or type(value).__module__
    folder = module.replace("\\", "/").partition("custom_nodes/")[2].partition("/")[0].partition(".")[0]
    return f"{name} of {folder}" if folder else name


def _named(values: Any) -> dict[str, Any]:
    """Return tuples of values by their name."""
    named: dict[str, list[Any]] = {}
    for value in values:
        named.setdefault(name_of(value), []).append(value)
    return {name: tuple(same) for name, same in named.items()}


def _listed(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    return [] if value is None else [value]


def _wrappers(model_options: dict[str, Any], kinds: tuple[str, ...]) -> list[Any]:
    wrappers = model_options.get("transformer_options", {}).get("wrappers", {})
    groups = [item for kind in kinds for item in wrappers.get(kind, {}).items()]
    others = [group for key, group in groups if not str(key).startswith(OURS) and key not in HARMLESS]
    return [wrapper for group in others for wrapper in group]


def _leaves(value: Any) -> list[Any]:
    """Return the values in nested dicts and lists, without plain ones."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in _leaves(part)]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in _leaves(part)]
    return [] if value is None or isinstance(value, (bool, int, float, str)) else [value]


def together(names: Iterable[str]) -> str:
    """Join several names as the subject of a sentence in the singular."""
    return " with ".join(sorted(names))
