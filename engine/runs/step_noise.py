"""Test of whether a sampler adds noise at its steps, from its latents and not from its name.

Between two evaluations a sampler without noise combines earlier latents linearly with the model's outputs for them. A
latent that is no such combination contains noise. Some thousand numbers of each latent are enough for the test.
"""

from collections import deque
from typing import Any

import torch
from torch import Tensor

WINDOW = 6
"""Number of evaluations that a latent may be a combination of, at least; ComfyUI's samplers use at most four."""

MOST_VECTORS = 64
"""Number of vectors that a latent is compared with, before those of older evaluations are left out."""

NUMBERS = 2048
"""Count of numbers of a row's latent that are compared."""

LEAST_NOISE = 1e-4
"""Share of a latent's norm outside of all combinations that counts as noise. Of ComfyUI's samplers without noise it is
5e-6 at most, by rounding; of those with noise .08 to 1 in at least one step. A test runs all of them."""

LEAST_LENGTH = 1e-6
"""Least norm of a vector's part outside of the earlier ones, as a share of its norm; less counts as rounding."""


class StepNoise:
    """Test of one sampler run.

    Attributes:
        found: whether the sampler has added noise, or anything else that isn't a combination.
        blind: whether the test is impossible, because the mask of a row is 1 nowhere.

    Args:
        mask: the run's noise mask, ``[rows, channels, ...]`` as the sampler gets it. Only where it is 1 are latents the
            sampler's own.
    """

    def __init__(self, mask: Tensor | None = None):
        self.found = False
        self._positions = None if mask is None else _positions(mask)
        self.blind = self._positions is not None and self._positions.shape[1] == 0
        self._known: deque[list[Tensor]] = deque(maxlen=WINDOW)
        self._basis: Tensor | None = None
        self._shape: torch.Size | None = None
        self._without: Tensor | None = None

    def install(self, model_options: dict[str, Any]) -> None:
        """Install a hook for x0 without the prompt, which some samplers (CFG++) use, in a run's own options."""
        later = model_options.get("sampler_post_cfg_function", [])
        model_options["sampler_post_cfg_function"] = [self._note_uncond, *later]

    def _note_uncond(self, args: dict[str, Any]) -> Tensor:
        self._without = args["uncond_denoised"]
        return args["denoised"]

    def begin(self, x: Tensor) -> None:
        """Test the latent ``x``, ``[rows, channels, ...]``, of an evaluation that begins."""
        self._without = None
        if self.found or self.blind:
            return
        if x.shape != self._shape:
            self._shape, self._basis = x.shape, None
            self._known.clear()
        vector = self._vector(x)
        if self._basis is not None:
            rest = _rest(vector, self._basis)
            self.found = bool((_length(rest) > LEAST_NOISE * _length(vector)).any())
        self._known.append([])
        self._keep(vector)

    def end(self, x0: Tensor) -> None:
        """Add the result of the evaluation to the known vectors."""
        if self._known and not self.found:
            for values in (x0, self._without):
                if values is not None and values.shape == self._shape:
                    self._keep(self._vector(values))
        self._without = None

    def _vector(self, values: Tensor) -> Tensor:
        """Return a copy of some numbers of each row, ``[rows, numbers]``; samplers write into their latents."""
        flat = values.detach().flatten(1)
        if self._positions is not None:
            return flat.gather(1, self._positions.to(flat.device)).float()
        return flat[:, :: 1 + (flat.shape[1] - 1) // NUMBERS].float().clone()

    def _keep(self, vector: Tensor) -> None:
        self._known[-1].append(vector)
        if self._basis is not None and self._basis.shape[1] >= MOST_VECTORS:
            self._basis = None
            for known in self._known:
                for older in known:
                    self._basis = _with(self._basis, older)
        else:
            self._basis = _with(self._basis, vector)


def _positions(mask: Tensor) -> Tensor:
    """Return positions where each row's mask is 1, equally many of each row, ``[rows, numbers]``, spread at random."""
    inside = (mask == 1).flatten(1)
    count = min(NUMBERS, int(inside.sum(1).min()))
    spread = torch.rand(inside.shape, generator=torch.Generator().manual_seed(0)).to(mask.device)
    return (inside * (1 + spread)).topk(count, 1).indices


def _with(basis: Tensor | None, vector: Tensor) -> Tensor:
    """Return orthonormal vectors ``[rows, vectors, numbers]`` with the direction that a further vector adds."""
    rest = vector if basis is None else _rest(vector, basis)
    length = _length(rest)
    direction = torch.where(length > LEAST_LENGTH * _length(vector), rest / length.clamp_min(1e-30), 0.0)[:, None]
    return direction if basis is None else torch.cat([basis, direction], 1)


def _rest(vector: Tensor, basis: Tensor) -> Tensor:
    """Return the part of ``vector`` that is orthogonal to a basis, projected twice against rounding."""
    for _ in range(2):
        share = torch.bmm(basis, vector[:, :, None])
        vector = vector - torch.bmm(basis.mT, share)[:, :, 0]
    return vector


def _length(vector: Tensor) -> Tensor:
    return vector.norm(dim=1, keepdim=True)
