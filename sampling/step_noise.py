"""Whether a sampler adds noise on its way: found by looking at what it does, whatever it is called.

Between two model evaluations a sampler without noise combines what it has been given: latents that it had before, and
what the model made of them. A latent that is no such combination holds something new.
"""

from collections import deque
from typing import Any

import torch
from torch import Tensor

WINDOW = 6
"""Evaluations that a latent may be a combination of; ComfyUI's samplers look back at most four."""

LEAST_NOISE = 1e-4
"""Share of a latent that is no combination. ComfyUI's samplers without noise leave 5e-6 at most, which is rounding;
those with noise .08 to 1 in one of their steps at least. A test asks all of them."""

LEAST_LENGTH = 1e-6
"""Of what a vector adds to those before it, as a share of the vector: below is rounding."""


class StepNoise:
    """What is seen of one sampler run.

    Attributes:
        found: the sampler has added noise, or something else that isn't a combination.
        blind: noise can't be told in a row, because its mask is 1 nowhere.

    Args:
        mask: the run's noise mask, ``[rows, channels, ...]`` as the sampler gets it. Only where it is 1 are latents the
            sampler's own.
    """

    def __init__(self, mask: Tensor | None = None):
        self.found = False
        self._inside = None if mask is None else (mask == 1).float()
        self.blind = mask is not None and not bool((mask == 1).flatten(1).any(1).all())
        self._known: deque[list[Tensor]] = deque(maxlen=WINDOW)
        self._without: Tensor | None = None

    def listen(self, model_options: dict[str, Any]) -> None:
        """Hear x0 without the prompt, which some samplers (CFG++) take from the guidance, in a run's own options."""
        later = model_options.get("sampler_post_cfg_function", [])
        model_options["sampler_post_cfg_function"] = [self._hear, *later]

    def _hear(self, args: dict[str, Any]) -> Tensor:
        self._without = args["uncond_denoised"]
        return args["denoised"]

    def begins(self, x: Tensor) -> None:
        """An evaluation of ``x``, ``[rows, channels, ...]``, is about to begin."""
        self._without = None
        if self.found:
            return
        vector = self._vector(x)
        if self._known and self._known[-1][0].shape != vector.shape:
            self._known.clear()
        self.found = bool(self._known) and self._holds_something_new(vector)
        if self.found:
            self._known.clear()
        else:
            self._known.append([vector])

    def ends(self, x0: Tensor) -> None:
        """The evaluation gave ``x0``."""
        if not self.found and self._known:
            given = (values for values in (x0, self._without) if values is not None and values.shape == x0.shape)
            self._known[-1] += map(self._vector, given)
        self._without = None

    def _vector(self, values: Tensor) -> Tensor:
        """A copy, since samplers write into their latents; one vector per row."""
        vector = values.detach().float().clone()
        return (vector if self._inside is None else vector * self._inside).flatten(1)

    def _holds_something_new(self, vector: Tensor) -> bool:
        basis: list[Tensor] = []
        newest_first = (known for evaluation in reversed(self._known) for known in evaluation)
        for known in newest_first:
            rest = _rest(known, basis)
            length, whole = _length(rest), _length(known)
            basis.append(torch.where(length > LEAST_LENGTH * whole, rest / length.clamp_min(1e-30), 0.0))
        share = _length(_rest(vector, basis)) / _length(vector).clamp_min(1e-30)
        return float(share.max()) > LEAST_NOISE


def _rest(vector: Tensor, basis: list[Tensor]) -> Tensor:
    """What orthonormal vectors leave of ``vector``, all ``[rows, numbers]``; twice, for the rounding."""
    for direction in (*basis, *basis):
        vector = vector - direction * (direction * vector).sum(1, keepdim=True)
    return vector


def _length(vector: Tensor) -> Tensor:
    return vector.norm(dim=1, keepdim=True)
