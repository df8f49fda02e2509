"""Reading of values that a device computes: each read waits for it, so many are read at once and none twice."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

SIGMA = "diffusion_probe_sigma"
"""Attribute of a tensor of timesteps: the sigma of its first row, as long as an evaluation lasts."""

ALIGNED = 8
"""Bytes of the largest number in a tensor."""


def sigma_of(timestep: Tensor) -> float:
    """Return the sigma of the first row of ``timestep``, ``[rows]`` or one number; an evaluation reads it once."""
    known = getattr(timestep, SIGMA, None)
    if known is None:
        known = float(timestep.flatten()[0])
        note_sigma(timestep, known)
    return known


def note_sigma(timestep: Tensor, sigma: float) -> None:
    """Note the sigma of a tensor of timesteps, which is not read then."""
    setattr(timestep, SIGMA, sigma)


def forget_sigma(timestep: Tensor) -> None:
    """Forget the sigma of a tensor of timesteps at the end of an evaluation: a sampler may write the next one there."""
    if hasattr(timestep, SIGMA):
        delattr(timestep, SIGMA)


def to_host(tensors: Sequence[Any]) -> list[Any]:
    """Copy tensors to the CPU in one transfer, and so with one wait; values that are no such tensors stay as they are.

    Args:
        tensors: of any shapes and types; those on the CPU are returned themselves.
    """
    away = [one for one in tensors if isinstance(one, Tensor) and one.device.type != "cpu"]
    if len(away) < 2 or len({one.device for one in away}) > 1:
        return [one.cpu() if isinstance(one, Tensor) else one for one in tensors]
    copies = iter(_unpacked(torch.cat([_packed(one) for one in away]).cpu(), away))
    return [next(copies) if isinstance(one, Tensor) and one.device.type != "cpu" else one for one in tensors]


def _packed(tensor: Tensor) -> Tensor:
    """Return the bytes of a tensor, filled up to a multiple of :data:`ALIGNED`."""
    data = tensor.detach().contiguous().flatten().view(torch.uint8)
    return torch.nn.functional.pad(data, (0, -len(data) % ALIGNED))


def _unpacked(data: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors with the shapes and types of ``like`` from the bytes of all."""
    sizes = [one.numel() * one.element_size() for one in like]
    ends = torch.tensor([size + -size % ALIGNED for size in sizes]).cumsum(0).tolist()
    starts = [0, *ends[:-1]]
    return [
        data[start : start + size].view(one.dtype).reshape(one.shape).clone()
        for start, size, one in zip(starts, sizes, like, strict=True)
    ]
