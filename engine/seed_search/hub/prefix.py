"""Prefix of a sampler run: the results of its first evaluations, by which a later run skips computing them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...runs.patches import GUIDANCE


@dataclass(frozen=True)
class Prefix:
    """Results of the first evaluations of a run, on the CPU.

    A stock run of the same inputs in which these evaluations are not computed comes to the same latent.

    Attributes:
        outputs: x0 after guidance of each evaluation, ``[1, channels, …]``.
        x: the latent that the next evaluation gets.
        position: position in the schedule of that evaluation, see ``Run.position``.
    """

    outputs: tuple[Tensor, ...]
    x: Tensor
    position: int = 0

    def size(self) -> int:
        """Return the memory of its tensors in bytes."""
        return sum(map(bytes_of, (*self.outputs, self.x)))

    def fits(self, x: Tensor) -> bool:
        """Tell whether a run that was answered from it has come to the same latent, bit for bit."""
        return x.dtype == self.x.dtype and torch.equal(x.cpu(), self.x)


def bytes_of(values: Tensor) -> int:
    """Return the memory of a tensor's numbers in bytes."""
    return values.numel() * values.element_size()


def copy_on_cpu(values: Tensor) -> Tensor:
    """Return a copy on the CPU, which no later change of the values reaches."""
    return values.detach().to("cpu", copy=True)


def same_guidance(options: dict[str, Any], of_run: dict[str, Any]) -> bool:
    """Tell whether an evaluation has no guidance besides that of its run.

    Some samplers (those named cfg_pp) add a function of their own, which reads more of an evaluation than its result.
    """
    return all((options.get(key) or []) == (of_run.get(key) or []) for key in GUIDANCE)
