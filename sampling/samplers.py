"""What a sampler is, by the name of its function."""

from typing import Any

NOISE_DRAWING = ("ancestral", "sde", "ddpm", "lcm", "seeds_", "sa_solver")
"""Parts of the names of samplers that add new noise on the way; a test asks all of ComfyUI's."""

ADAPTIVE = ("dpm_adaptive",)
"""Parts of the names of samplers that choose their steps by what the model gives."""


def sampler_name(sampler: Any) -> str:
    """Name of the sampler function of a SAMPLER, as ``sample_euler``; of another sampler its class."""
    function = getattr(sampler, "sampler_function", sampler)
    return getattr(function, "__name__", type(function).__name__)


def draws_noise(sampler: Any) -> bool:
    """Whether a SAMPLER adds noise on the way, so that its trajectory is rough."""
    options = getattr(sampler, "extra_options", {})
    return any(part in sampler_name(sampler) for part in NOISE_DRAWING) or options.get("s_churn", 0) > 0


def adapts_steps(sampler: Any) -> bool:
    """Whether a SAMPLER judges its steps by the model's output, which therefore has to be computed."""
    return any(part in sampler_name(sampler) for part in ADAPTIVE)
