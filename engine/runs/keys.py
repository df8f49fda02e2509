"""Names under which this pack's rooms leave things for each other in the ``transformer_options`` of a sampler run."""

from collections.abc import Callable
from contextvars import ContextVar

RECORDING = "diffusion_probe"
"""The recording of a run, and on a MODEL the attachment that records its runs."""

STEP_CACHE = "diffusion_probe_step_cache"
"""The state of a run's step cache, and on a MODEL the wrapper that makes it."""

TAPS = "diffusion_probe_taps"
"""Captures that read the rows of a conditioning entry, by the entry's uuid."""

LOOKING = "diffusion_probe_looking"
"""Set in an evaluation that is captured: a step cache has to compute it."""

_NEXT_LOOK: ContextVar[Callable[[], int]] = ContextVar("diffusion_probe_next_look")


def announce_looks(next_look: Callable[[], int]) -> None:
    """Let what runs in this context know where the run will be looked at next; see :func:`next_look`."""
    _NEXT_LOOK.set(next_look)


def next_look() -> int:
    """Give the step after which the run that calls this is looked at next.

    0 if nowhere: on the way to the end, and outside of a run that is stopped on its way.
    """
    asked = _NEXT_LOOK.get(None)
    return asked() if asked is not None else 0
