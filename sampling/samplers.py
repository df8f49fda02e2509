"""What a sampler is, by the name of its function."""

from typing import Any

ADAPTIVE = ("dpm_adaptive_function", "sample_dpm_adaptive")
"""Names of ComfyUI's sampler functions that choose their steps by what the model gives for all rows together."""

ADAPTIVE_NOTE = "dpm_adaptive chooses its steps by all rows together"


def sampler_name(sampler: Any) -> str:
    """Name of the sampler function of a SAMPLER, as ``sample_euler``; of another sampler its class."""
    function = getattr(sampler, "sampler_function", sampler)
    return getattr(function, "__name__", type(function).__name__)


def adapts_steps(sampler: Any) -> bool:
    """Whether a SAMPLER judges its steps by the model's output, which therefore has to be computed."""
    return sampler_name(sampler) in ADAPTIVE
