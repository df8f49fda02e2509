"""Detection of samplers that add noise on their way, by what they do and not by their name.

Between two model evaluations a sampler without noise combines what it has been given: latents that it had before, and
what the model made of them. A latent that is no such combination holds something new. Some thousand numbers of each
latent are enough to see it.
"""

from collections import deque
from typing import Any

import torch
from torch import Tensor

WINDOW = 6
"""Evaluations that a latent may be a combination of, at least; ComfyUI's samplers look back at most four."""

MOST_VECTORS = 64
"""Largest number of vectors that are compared with a latent, before those of older evaluations are left out."""

NUMBERS = 2048
"""Of a row's latent that are looked at."""

LEAST_NOISE = 1e-4
"""Share of a latent that is no combination. ComfyUI's samplers without noise leave 5e-6 at most, which is rounding;
those with noise .08 to 1 in one of their steps at least. A test asks all of them."""

LEAST_LENGTH = 1e-6
"""Of what a vector adds to those before it, as a share of the vector: below is rounding."""


class StepNoise:
    """Detector of step noise in one sampler run.

    Attributes:
        found: the sampler has added noise, or something else that isn't a combination.
        blind: noise can't be told in a row, because its mask is 1 nowhere.

    Args:
        mask: the run's noise mask, ``[rows, channels, ...]`` as the sampler gets it. Only where it is 1 are latents the
            sampler's own.
    """

    def __init__(self, mask: Tensor | None = None):
        self.found = False
        self._places = None if mask is None else _places(mask)
        self.blind = self._places is not None and self._places.shape[1] == 0
        self._known: deque[list[Tensor]] = deque(maxlen=WINDOW)
        self._basis: Tensor | None = None
        self._shape: torch.Size | None = None
        self._without: Tensor | None = None

    def listen(self, model_options: dict[str, Any]) -> None:
        """Listen for x0 without the prompt, which some samplers (CFG++) take from the guidance, in a run's options."""
        later = model_options.get("sampler_post_cfg_function", [])
        model_options["sampler_post_cfg_function"] = [self._hear, *later]

    def _hear(self, args: dict[str, Any]) -> Tensor:
        self._without = args["uncond_denoised"]
        return args["denoised"]

    def begins(self, x: Tensor) -> None:
        """Note that an evaluation of ``x``, ``[rows, channels, ...]``, is about to begin."""
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

    def ends(self, x0: Tensor) -> None:
        """Note that the evaluation gave ``x0``."""
        if self._known and not self.found:
            for values in (x0, self._without):
                if values is not None and values.shape == self._shape:
                    self._keep(self._vector(values))
        self._without = None

    def _vector(self, values: Tensor) -> Tensor:
        """Copy some numbers of each row, ``[rows, numbers]``; samplers write into their latents."""
        flat = values.detach().flatten(1)
        if self._places is not None:
            return flat.gather(1, self._places.to(flat.device)).float()
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


def _places(mask: Tensor) -> Tensor:
    """Choose positions where each row's mask is 1, as many for each row, ``[rows, numbers]``; from all over the row."""
    inside = (mask == 1).flatten(1)
    count = min(NUMBERS, int(inside.sum(1).min()))
    spread = torch.rand(inside.shape, generator=torch.Generator().manual_seed(0)).to(mask.device)
    return (inside * (1 + spread)).topk(count, 1).indices


def _with(basis: Tensor | None, vector: Tensor) -> Tensor:
    """Extend orthonormal vectors ``[rows, vectors, numbers]`` by what a further one adds to them."""
    rest = vector if basis is None else _rest(vector, basis)
    length = _length(rest)
    direction = torch.where(length > LEAST_LENGTH * _length(vector), rest / length.clamp_min(1e-30), 0.0)[:, None]
    return direction if basis is None else torch.cat([basis, direction], 1)


def _rest(vector: Tensor, basis: Tensor) -> Tensor:
    """Subtract from ``vector`` its projection on orthonormal vectors; twice, for the rounding."""
    for _ in range(2):
        share = torch.bmm(basis, vector[:, :, None])
        vector = vector - torch.bmm(basis.mT, share)[:, :, 0]
    return vector


def _length(vector: Tensor) -> Tensor:
    return vector.norm(dim=1, keepdim=True)
