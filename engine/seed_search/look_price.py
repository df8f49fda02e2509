"""Price of a probe's look at one candidate of a search on a MODEL."""

from collections.abc import Mapping
from typing import Any

from ..capture.hooks.families import find_family
from ..core import look_prices
from ..core.probe import Probe
from ..runs.comfy_versions import empty_latent_for
from ..runs.latents import image_size
from .candidates import single_latent


def price_of_look(probe: Probe | None, model: Any, latent: Mapping[str, Any]) -> float:
    """Return the evaluations of a MODEL that take as long as a probe's look at one candidate; 0 without a probe.

    Args:
        probe: as it scores rows of the MODEL, see :meth:`Probe.for_model`.
        model: a MODEL.
        latent: the LATENT that every candidate starts from.
    """
    if probe is None:
        return 0.0
    height, width = image_size(model, empty_latent_for(model, single_latent(dict(latent)), dict(latent)))
    pixels = height * width
    family = find_family(model)
    return look_prices.look_price(family.name if family else "", pixels, probe.look_tflop(pixels))
