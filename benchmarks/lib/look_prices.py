"""Prices of looks at 1024², in evaluations: what a decoder and a reward compute, by what an evaluation does."""

EVALUATION = {"flux": 69.5, "sdxl": 13.5}
"""TFLOP of an evaluation: FLUX.1-dev with 256 text tokens, SDXL with both conditionings of CFG."""

DECODERS = {"VAE": 10.5, "fast decoder": 0.57}
"""TFLOP of one image's decode: the VAE of either family, and a TAESD."""

REWARD = 0.12
"""TFLOP of ImageReward for an image. CLIP-H, of other rewards, takes .33."""

TFLOPS = 100.0
"""TFLOP a second at which seconds are stated: about what a large consumer card reaches in bfloat16."""


def look_price(model: str, decoder: str) -> float:
    """Return the evaluations that compute as much as one look at a preview."""
    return (DECODERS[decoder] + REWARD) / EVALUATION[model]


def seconds(model: str, evaluations: float) -> float:
    """Return the seconds that so many evaluations take at :data:`TFLOPS`."""
    return evaluations * EVALUATION[model] / TFLOPS
