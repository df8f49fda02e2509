"""Table of the traits of ComfyUI's samplers, by the names of their functions."""

from dataclasses import dataclass
from typing import Any

STREAM, BROWNIAN_CPU, BROWNIAN_GPU = "stream", "Brownian on the CPU", "Brownian on the device"
"""Sources of the noise that samplers add at their steps."""

ADAPTIVE_NOTE = "dpm_adaptive chooses its steps by all rows together"
"""Reason why rows of dpm_adaptive depend on the other rows of their batch."""


@dataclass(frozen=True)
class SamplerTraits:
    """Traits of a sampler's steps.

    Attributes:
        exact_when_cut: keeps no history and draws no noise: a run cut in two sampler nodes gives what one run gives.
        own_sigmas: chooses its own sigmas between the ends of the schedule that it gets.
        adaptive: chooses its steps by an error estimate of all rows together: a small difference of large numbers,
            so that rows rounded as in another batch give other steps.
        step_noise: source of the noise that it adds at each step; empty for a sampler that adds none.
    """

    exact_when_cut: bool = False
    own_sigmas: bool = False
    adaptive: bool = False
    step_noise: str = ""


_PLAIN = SamplerTraits()

SAMPLERS: dict[str, SamplerTraits] = {
    **dict.fromkeys(
        ("sample_euler", "sample_euler_cfg_pp", "sample_heun", "sample_dpm_2", "sample_exp_heun_2_x0"),
        SamplerTraits(exact_when_cut=True),
    ),
    **dict.fromkeys(("dpm_fast_function", "sample_dpm_fast"), SamplerTraits(own_sigmas=True)),
    **dict.fromkeys(("dpm_adaptive_function", "sample_dpm_adaptive"), SamplerTraits(own_sigmas=True, adaptive=True)),
    **dict.fromkeys(
        (
            "sample_euler_ancestral",
            "sample_euler_ancestral_cfg_pp",
            "sample_exp_heun_2_x0_sde",
            "sample_dpm_2_ancestral",
            "sample_dpmpp_2s_ancestral",
            "sample_dpmpp_2s_ancestral_cfg_pp",
            "sample_ddpm",
            "sample_lcm",
            "sample_res_multistep_ancestral",
            "sample_res_multistep_ancestral_cfg_pp",
            "sample_er_sde",
            "sample_seeds_2",
            "sample_seeds_3",
            "sample_sa_solver",
            "sample_sa_solver_pece",
        ),
        SamplerTraits(step_noise=STREAM),
    ),
    **dict.fromkeys(
        ("sample_dpmpp_sde", "sample_dpmpp_2m_sde", "sample_dpmpp_2m_sde_heun", "sample_dpmpp_3m_sde"),
        SamplerTraits(step_noise=BROWNIAN_CPU),
    ),
    **dict.fromkeys(
        (
            "sample_dpmpp_sde_gpu",
            "sample_dpmpp_2m_sde_gpu",
            "sample_dpmpp_2m_sde_heun_gpu",
            "sample_dpmpp_3m_sde_gpu",
        ),
        SamplerTraits(step_noise=BROWNIAN_GPU),
    ),
}
"""Traits of ComfyUI's samplers by function name. ``ddim`` is Euler's function. Samplers that are missing keep a
history. Tests run all samplers, cut and row by row, and compare them with this table."""


AT_STEPS = frozenset(
    f"sample_{name}"
    for name in (
        "ddpm", "deis", "dpmpp_2m", "dpmpp_2m_cfg_pp", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "dpmpp_2m_sde_heun",
        "dpmpp_2m_sde_heun_gpu", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "er_sde", "euler", "euler_ancestral",
        "euler_ancestral_cfg_pp", "euler_cfg_pp", "gradient_estimation", "gradient_estimation_cfg_pp", "ipndm",
        "ipndm_v", "lcm", "lms", "res_multistep", "res_multistep_ancestral", "res_multistep_ancestral_cfg_pp",
        "res_multistep_cfg_pp", "sa_solver", "unipc", "unipc_bh2",
    )
)  # fmt: skip
"""Functions of ComfyUI's samplers that evaluate the model once in each step, at the noise level where it begins."""


def sampler_name(sampler: Any) -> str:
    """Return the name of a SAMPLER's function, as ``sample_euler``; of another sampler the name of its class."""
    function = getattr(sampler, "sampler_function", sampler)
    return getattr(function, "__name__", type(function).__name__)


def traits_of(name: str) -> SamplerTraits:
    """Return the traits of a sampler function by its name; default traits for one that isn't in the table."""
    return SAMPLERS.get(name, _PLAIN)


def called(name: str) -> str:
    """Return a sampler function's name as users know it, from the list of samplers."""
    return name.removeprefix("sample_").removesuffix("_function") or "This sampler"


def history_note(name: str) -> str:
    """Return why a run of this sampler, cut here and continued in another node, gives another image."""
    exact = sorted({called(other) for other, traits in SAMPLERS.items() if traits.exact_when_cut} | {"ddim"})
    return (
        f"{called(name)} does not continue exactly when a run is cut in two nodes: the finished images differ from "
        f"those of one uninterrupted run. Exact are {', '.join(exact[:-1])} and {exact[-1]}."
    )
