"""Continuation of a masked run that was cut: the picture and noise outside of its mask.

With a noise mask a sampler puts noise and the original picture outside of the mask at every step. In the second run of
a cut ComfyUI uses the half-sampled latent as that picture, and zeros as the noise. If both runs use one MODEL, the
second run gets picture and noise of the first.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from typing import Any, Protocol

import comfy.samplers
import torch
from torch import Tensor


class Records(Protocol):
    """Store of the records of rows of earlier runs, as :class:`capture.store.RecordStore`."""

    def find_rows(self, samples: Tensor) -> list[Any]:
        """Return the record of each row of a latent, None for rows without one."""
        ...


@dataclass(frozen=True)
class Original:
    """Picture and noise of one row of a masked run outside of its mask, ``[channels, ...]`` in the model's space."""

    picture: Tensor
    noise: Tensor

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Return picture and noise, on the CPU."""
        return self.picture, self.noise


def originals_of(store: Records, latent: Tensor) -> list[Original] | None:
    """Return the originals of the runs that rows of a latent come from; None if one of them is not known."""
    originals = [record.original if record else None for record in store.find_rows(latent)]
    return None if None in originals else originals


class Outside:
    """Picture and noise outside of the mask of one run, row by row.

    Args:
        earlier: originals of the run that is continued, one per row; None for a run that starts from noise.
    """

    def __init__(self, earlier: list[Original] | None = None):
        self.earlier = earlier
        self._sampled: Any = None

    def wrap(self, sampler: Any) -> Any:
        """Return a copy of a SAMPLER that samples with the earlier originals, and whose model is noted."""
        function = getattr(sampler, "sampler_function", None)
        if function is None:
            return sampler
        mine = copy.copy(sampler)

        @functools.wraps(function)
        def sample(model, x, *args, **options):
            self._sampled = model
            if self.earlier is not None:
                model.latent_image, model.noise = self._of("picture", x), self._of("noise", x)
            return function(model, x, *args, **options)

        mine.sampler_function = sample
        return mine

    def encode_again(self, guider: Any, noise: Tensor, mask: Tensor, seed: int | None) -> None:
        """Encode the guider's conditioning with the original picture, which inpainting models read."""
        if self.earlier is None:
            return
        model, picture = guider.inner_model, self._of("picture", noise)
        for side, conds in guider.conds.items():
            guider.conds[side] = comfy.samplers.encode_model_conds(
                model.extra_conds, conds, noise, noise.device, side,
                latent_image=picture, denoise_mask=mask, seed=seed, latent_shapes=[noise.shape],
            )  # fmt: skip

    def rows(self, count: int) -> list[Original | None]:
        """Return the originals of the run for each of ``count`` rows; None where they are not known."""
        picture = getattr(self._sampled, "latent_image", None)
        noise = getattr(self._sampled, "noise", None)
        self._sampled = None
        if picture is None or noise is None or not len(picture) == len(noise) == count:
            return [None] * count
        return [Original(picture[row].cpu().clone(), noise[row].cpu().clone()) for row in range(count)]

    def _of(self, field: str, like: Tensor) -> Tensor:
        return torch.stack([getattr(original, field) for original in self.earlier]).to(like)
