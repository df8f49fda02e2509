"""State of the global random generators, from which nodes draw that have none of their own."""

import random
from typing import Any

import numpy
import torch


def random_state(device: torch.device) -> tuple[Any, ...]:
    """Return the state of Python's, numpy's and torch's generators; equal states compare equal.

    Args:
        device: if it is a GPU, the state of its generator is included.
    """
    of_numpy: Any = numpy.random.get_state()
    kind, keys, *rest = of_numpy
    of_torch = [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
    return random.getstate(), (kind, keys.tobytes(), *rest), *(bytes(state.numpy()) for state in of_torch)


def set_random_state(state: tuple[Any, ...], device: torch.device) -> None:
    """Set the global generators to a state of :func:`random_state`."""
    of_python, (kind, keys, *rest), *of_torch = state
    random.setstate(of_python)
    numpy.random.set_state((kind, numpy.frombuffer(keys, dtype=numpy.uint32), *rest))
    states = [torch.frombuffer(bytearray(held), dtype=torch.uint8) for held in of_torch]
    torch.set_rng_state(states[0])
    for of_gpu in states[1:]:
        torch.cuda.set_rng_state(of_gpu, device)
