"""Differences between the supported versions of ComfyUI, and uses of what it doesn't promise, in one place.

``engine/core/supported.py`` says which versions these are. What is here is found by looking at what is there,
never by a version's number.
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any

import comfy.sample
from comfy.ldm.modules import attention
from torch import Tensor

_KEYFRAME_STATE = "_curr"
"""Prefix of the attributes in a group of hook keyframes that say how far the run is (``_current_keyframe`` …)."""

_PREFERRED = "preferred_attention"
"""Of an attention call, from 0.38 on: the kernel that the checkpoint asks for, of the module that attends."""


def empty_latent_for(model: Any, samples: Tensor, latent: dict[str, Any]) -> Tensor:
    """Give an empty latent the shape that a model takes; return any other as it is.

    Args:
        samples: ``[rows, channels, …]``.
        latent: the LATENT that they are of, which may say by how much its space and time were scaled down. Versions
            that don't know of time are not told of it.
    """
    ratios = {name: latent.get(name) for name in ("downscale_ratio_spacial", "downscale_ratio_temporal")}
    known = inspect.signature(comfy.sample.fix_empty_latent_channels).parameters
    return comfy.sample.fix_empty_latent_channels(
        model, samples, **{name: ratio for name, ratio in ratios.items() if name in known}
    )


def keyframe_state(group: Any) -> dict[str, Any]:
    """Read from a group of hook keyframes (``comfy.hooks.HookKeyframeGroup``) how far its run is, by attribute."""
    return {name: value for name, value in vars(group).items() if name.startswith(_KEYFRAME_STATE)}


def on_several_gpus(control: Any) -> bool:
    """Check whether a ControlNet has clones on other GPUs, which versions before 0.23 don't know."""
    return bool(getattr(control, "multigpu_clones", None))


def found_embedding(answer: tuple, asked: str) -> str | None:
    """Return the name of the embedding that a tokenizer found, None if it found none.

    Args:
        answer: of ``SDTokenizer._try_get_embedding``: what was found, since 0.28 its name, and the rest of the text.
        asked: what it was asked for.
    """
    embedding, *name, _ = answer
    return None if embedding is None else [*name, asked.split()[0]][0]


def preferred_attention(module: Any) -> dict[str, Any]:
    """Return the arguments that a module adds to its attention calls, by name: a replacement has to add them, too."""
    return {_PREFERRED: module.comfy_attention} if hasattr(module, "comfy_attention") else {}


def stock_attention(func: Callable) -> Callable:
    """Find the attention function that a call would have reached without an override. For overrides alone.

    ``wrap_attn`` takes the preferred kernel out of a call before it looks for an override, and keeps it in a
    variable of its own. Where another pack's override comes first, there is none, as without this pack.

    Args:
        func: what the override was given.
    """
    if not hasattr(attention, "ComfyAttention"):  # before 0.38
        return func
    wrapper = sys._getframe(2)  # of the override's caller
    return getattr(wrapper.f_locals.get(_PREFERRED), "function", None) or func
