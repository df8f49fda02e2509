"""Values of a parametrized test of which ``make test`` runs some, and ``make test-all`` all."""

from collections.abc import Iterable
from typing import Any

import pytest

ONE_OF_EACH_KIND = (
    "euler", "euler_ancestral", "heun", "dpm_2", "dpm_fast", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_sde_gpu", "lcm",
    "res_multistep_ancestral_cfg_pp", "seeds_2", "uni_pc",
)  # fmt: skip
"""Samplers with one and with several evaluations a step, with a history, with noise of each source, and cfg++."""


def some_long(values: Iterable[Any], long: Iterable[Any]) -> list[Any]:
    """Return values for ``pytest.mark.parametrize``, of which those in ``long`` are marked so.

    A tuple has the values of several names.
    """
    values, long = list(values), list(long)
    assert all(value in values for value in long), f"{long}: not all are values of this test"
    return [_long(value) if value in long else value for value in values]


def _long(value: Any) -> Any:
    return pytest.param(*value if isinstance(value, tuple) else (value,), marks=pytest.mark.long)


def each_sampler(without: tuple[str, ...] = ()) -> list[Any]:
    """Return the samplers of ComfyUI for ``pytest.mark.parametrize``: one of each kind, and all others as long."""
    import comfy.samplers

    names = [name for name in comfy.samplers.SAMPLER_NAMES if name not in without]
    return some_long(names, set(names).difference(ONE_OF_EACH_KIND))
