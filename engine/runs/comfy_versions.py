"""Differences between the supported versions of ComfyUI, and private parts of it that the pack relies on.

``engine/core/supported.py`` names the versions. Features are detected where they are, never by a version's number.
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any

import comfy.sample
from comfy.ldm.modules import attention
from torch import Tensor

_KEYFRAME_STATE = "_curr"
"""Prefix of the attributes of a group of hook keyframes that hold the state of the run (``_curr_t`` …)."""

_PREFERRED = "preferred_attention"
"""Argument of an attention call from 0.38 on: the kernel that the module's checkpoint prefers."""


def empty_latent_for(model: Any, samples: Tensor, latent: dict[str, Any]) -> Tensor:
    """Return an empty latent in the shape that a model takes; a latent that isn't empty is returned unchanged.

    Args:
        model: a MODEL.
        samples: ``[rows, channels, …]``.
        latent: the LATENT of the samples, which may hold the ratios by which space and time were scaled down. A ratio
            that the version of ComfyUI doesn't know is omitted.
    """
    ratios = {name: latent.get(name) for name in ("downscale_ratio_spacial", "downscale_ratio_temporal")}
    known = inspect.signature(comfy.sample.fix_empty_latent_channels).parameters
    return comfy.sample.fix_empty_latent_channels(
        model, samples, **{name: ratio for name, ratio in ratios.items() if name in known}
    )


def keyframe_state(group: Any) -> dict[str, Any]:
    """Return the state of the running sampler in a group of hook keyframes (``comfy.hooks.HookKeyframeGroup``)."""
    return {name: value for name, value in vars(group).items() if name.startswith(_KEYFRAME_STATE)}


def on_several_gpus(control: Any) -> bool:
    """Return whether a ControlNet has clones on other GPUs, which versions before 0.23 don't support."""
    return bool(getattr(control, "multigpu_clones", None))


def embedding_name(result: tuple, text: str) -> str | None:
    """Return the name of the embedding that a tokenizer loaded, None if it loaded none.

    Args:
        result: of ``SDTokenizer._try_get_embedding``: the embedding, since 0.28 its name, and the rest of the text.
        text: the argument of that call.
    """
    embedding, *name, _ = result
    return None if embedding is None else [*name, text.split()[0]][0]


def preferred_attention(module: Any) -> dict[str, Any]:
    """Return the arguments that a module adds to its own attention calls; a replacement has to add them, too."""
    return {_PREFERRED: module.comfy_attention} if hasattr(module, "comfy_attention") else {}


def stock_attention(func: Callable) -> Callable:
    """Return the attention function that a call would have reached without an override. For overrides only.

    ``wrap_attn`` takes the preferred kernel out of a call before it looks for an override, and keeps it in a
    variable of its own. Where another pack's override comes first, there is none, as without this pack.

    Args:
        func: the function that the override got.
    """
    if not hasattr(attention, "ComfyAttention"):  # before 0.38
        return func
    wrapper = sys._getframe(2)  # of the override's caller
    return getattr(wrapper.f_locals.get(_PREFERRED), "function", None) or func
