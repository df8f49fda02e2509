"""Prices of looks at 1024², in evaluations, as the pack counts them (``engine/core/look_prices.py``), and seconds."""

from diffusion_probe.engine.core import look_prices as prices

FAMILIES = {"flux": "FLUX", "sdxl": "SDXL"}

EVALUATION = {model: prices.EVALUATIONS[family].at(prices.MEGAPIXEL) for model, family in FAMILIES.items()}
"""TFLOP of an evaluation: FLUX.1-dev with 256 text tokens, SDXL with both conditionings of CFG."""

DECODERS = {name: work.at(prices.MEGAPIXEL) for name, work in prices.DECODERS.items()}
"""TFLOP of one image's decode: the VAE of either family, and a TAESD."""

REWARD = prices.REWARDS["ImageReward"]

SLOWNESS = prices.DECODER_SLOWNESS

TFLOPS = 100.0
"""TFLOP a second at which seconds are stated: about what a large consumer card reaches in bfloat16."""


def look_price(model: str, decoder: str) -> float:
    """Return the evaluations that take as long as one look at a preview."""
    tflop = prices.look_tflop(decoder, prices.MEGAPIXEL, REWARD)
    return prices.look_price(FAMILIES[model], prices.MEGAPIXEL, tflop)


def seconds(model: str, evaluations: float) -> float:
    """Return the seconds that so many evaluations take at :data:`TFLOPS`."""
    return evaluations * EVALUATION[model] / TFLOPS
