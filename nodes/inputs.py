"""Checks of a node's arguments against its schema."""

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..engine.capture.prompt.graph_texts import is_link
from ..engine.core import probe as probes
from ..engine.core import reward as rewards
from ..engine.core import scores
from ..engine.core.texts import half_character, plain, quoted
from ..engine.seed_search.prompt_trials import Trials
from .sockets import Probe, Reward, Scores, TrialsSocket

SHOWN = 24
"""Characters of a number in an error at most."""


@dataclass(frozen=True)
class Kind:
    """The values that a socket type carries.

    Attributes:
        fits: returns whether a value is one of them.
        noun: what they are called in an error.
        missing: the advice if None came from a loader.
    """

    fits: Callable[[Any], bool]
    noun: str
    missing: str = ""


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda value: all(hasattr(value, name) for name in names)


def _is_latent(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    samples, mask, indices = value.get("samples"), value.get("noise_mask"), value.get("batch_index")
    if not (isinstance(samples, Tensor) and samples.ndim >= 3 and len(samples) > 0):
        return False
    whole = indices is None or (
        isinstance(indices, list | tuple | range)
        and len(indices) >= len(samples)
        and all(isinstance(index, numbers.Integral) for index in indices)
    )
    return whole and (mask is None or (isinstance(mask, Tensor) and mask.ndim >= 2 and len(mask) > 0))


def _is_image(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4 and 0 not in value.shape and value.shape[-1] in (3, 4)


def _is_conditioning(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, list | tuple) and len(entry) == 2 and isinstance(entry[1], dict) for entry in value
    )


KINDS = {
    io.Model.io_type: Kind(
        _has("model_options", "clone", "get_wrappers"),
        "a MODEL",
        "this checkpoint holds no diffusion model. Load one with Load Diffusion Model",
    ),
    io.Clip.io_type: Kind(
        _has("tokenize", "encode_from_tokens_scheduled"),
        "a CLIP",
        "this checkpoint holds no text encoder. Load one with Load CLIP",
    ),
    io.Vae.io_type: Kind(_has("decode"), "a VAE", "this checkpoint holds no VAE. Load one with Load VAE"),
    io.Latent.io_type: Kind(_is_latent, "a LATENT of images"),
    io.Image.io_type: Kind(_is_image, "an IMAGE"),
    io.Conditioning.io_type: Kind(_is_conditioning, "a CONDITIONING"),
    io.Guider.io_type: Kind(_has("sample", "set_conds"), "a GUIDER"),
    io.Sampler.io_type: Kind(_has("sample"), "a SAMPLER"),
    io.Sigmas.io_type: Kind(lambda value: isinstance(value, Tensor) and value.ndim == 1, "SIGMAS"),
    Probe.io_type: Kind(lambda value: isinstance(value, probes.Probe), "a probe"),
    Scores.io_type: Kind(lambda value: isinstance(value, scores.Scores), "scores, such as those of Probe Score"),
    Reward.io_type: Kind(
        lambda value: isinstance(value, rewards.Reward), "a reward, such as that of Load Reward Model"
    ),
    TrialsSocket.io_type: Kind(lambda value: isinstance(value, Trials), "what another Prompt Loop tried"),
    io.String.io_type: Kind(lambda value: isinstance(value, str), "text"),
    io.Combo.io_type: Kind(lambda value: isinstance(value, str), "one of its choices"),
    io.Int.io_type: Kind(lambda value: isinstance(value, numbers.Integral), "a whole number"),
    io.Float.io_type: Kind(lambda value: isinstance(value, numbers.Real), "a number"),
    io.Boolean.io_type: Kind(lambda value: isinstance(value, numbers.Integral), "true or false"),
}
"""Kinds by socket type. Sockets of other types carry anything."""


def require_inputs(inputs: Sequence[io.Input], given: Mapping[str, Any]) -> None:
    """Refuse values that don't fit a schema. Optional inputs may be None, and lazy ones before they are requested.

    A link to an output is accepted where the node gets it instead of a value.

    Args:
        inputs: of the schema.
        given: values by the ids of inputs; other names are ignored.

    Raises:
        ValueError: a value has another type, is out of its range or none of the options; the message names the input.
    """
    for each in inputs:
        if each.id not in given or given[each.id] is None and (each.optional or each.lazy):
            continue
        value, kind = given[each.id], KINDS.get(each.get_io_type())
        if each.rawLink and is_link(value):
            continue
        if kind is not None:
            _require_kind(each.id, value, kind)
            _require_range(each, value)


def _require_kind(name: str, value: Any, kind: Kind) -> None:
    if kind.fits(value):
        return
    if value is None:
        raise ValueError(f"the {name} is missing: {kind.missing or f'nothing came in. Connect {kind.noun}'}.")
    raise ValueError(f'"{name}" takes {kind.noun}, and what came in is {_described(value)}. Connect {kind.noun}.')


def _require_range(each: io.Input, value: Any) -> None:
    if isinstance(value, str):
        if (at := half_character(value)) is not None:
            raise ValueError(
                f'the text of "{each.id}" holds half a character (a lone surrogate, number {at + 1} of its '
                "characters), which no file and no text encoder can hold. Delete it or write the text again."
            )
        if type(each) is io.Combo.Input and value not in each.options:
            raise ValueError(f'"{each.id}" has no choice {quoted(value)}. It takes {_listed(each.options)}.')
    low, high = getattr(each, "min", None), getattr(each, "max", None)
    if isinstance(value, numbers.Real) and low is not None and not low <= value <= high:
        raise ValueError(f'"{each.id}" is {plain(value, SHOWN)}. It takes numbers from {low} to {high}.')


def _described(value: Any) -> str:
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    if isinstance(value, bool) or isinstance(value, numbers.Real):
        return f"the number {quoted(value)}"
    if isinstance(value, list | tuple) and not _is_conditioning(value):
        return "a list"
    known = (kind.noun for kind in KINDS.values() if kind.fits(value))
    return next(known, "something else")


def _listed(options: Sequence[str]) -> str:
    return ", ".join(quoted(option) for option in options)
