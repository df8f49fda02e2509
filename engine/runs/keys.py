"""Keys of this pack in the ``transformer_options`` of a sampler run, by which its rooms share state."""

from collections.abc import Callable
from contextvars import ContextVar

RECORDING = "diffusion_probe"
"""Key of the recording of a run, and on a MODEL of the attachment that records its runs."""

STEP_CACHE = "diffusion_probe_step_cache"
"""Key of the state of a run's step cache, and on a MODEL of the wrapper that makes it."""

CAPTURES = "diffusion_probe_captures"
"""Key of the captures of an evaluation, by the uuids of the conditioning entries whose rows they read."""

CAPTURING = "diffusion_probe_capturing"
"""Key of a flag that is set during an evaluation that is captured: a step cache has to compute it."""

_NEXT_LOOK: ContextVar[Callable[[], int]] = ContextVar("diffusion_probe_next_look")


def announce_looks(next_look: Callable[[], int]) -> None:
    """Set, for code that runs in this context, the function that :func:`next_look` calls."""
    _NEXT_LOOK.set(next_look)


def next_look() -> int:
    """Return the step after which the calling run is captured next.

    0 if it is not: on the way to its end, and for a run that is not paused on its way.
    """
    next_step = _NEXT_LOOK.get(None)
    return next_step() if next_step is not None else 0


def in_search() -> bool:
    """Tell whether the calling run is one of several whose model calls are joined."""
    return _NEXT_LOOK.get(None) is not None
