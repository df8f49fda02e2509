"""A run that goes on where another was cut: what it needs that its latent doesn't hold.

With a noise mask a sampler puts noise and the original picture outside of the mask at every step. In the second run of
a cut ComfyUI takes the half-sampled latent for that picture, and no noise for the noise. A MODEL of which both runs
were made hands on those of the first.
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
    """Records of rows that earlier runs left behind, as :class:`capture.store.RecordStore` keeps them."""

    def find_rows(self, samples: Tensor) -> list[Any]:
        """Return the record of each row of a latent, None for rows without one."""
        ...


@dataclass(frozen=True)
class Original:
    """Picture and noise of one row outside of its mask, ``[channels, ...]`` each, in the model's own space."""

    picture: Tensor
    noise: Tensor

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Return both, on the CPU."""
        return self.picture, self.noise


def originals_of(store: Records, latent: Tensor) -> list[Original] | None:
    """Find what earlier runs of the rows of a latent had outside of their masks; None if it is missing for any row."""
    originals = [record.original if record else None for record in store.find_rows(latent)]
    return None if None in originals else originals


class Outside:
    """Content of one masked run outside of its mask, row by row.

    Args:
        given: of the run that it goes on from, one per row; None: its own.
    """

    def __init__(self, given: list[Original] | None = None):
        self.given = given
        self._sampled: Any = None

    def on(self, sampler: Any) -> Any:
        """Copy the SAMPLER for this run: its function samples with the given originals, and its model is noted."""
        function = getattr(sampler, "sampler_function", None)
        if function is None:
            return sampler
        mine = copy.copy(sampler)

        @functools.wraps(function)
        def sample(model, x, *args, **options):
            self._sampled = model
            if self.given is not None:
                model.latent_image, model.noise = self._of("picture", x), self._of("noise", x)
            return function(model, x, *args, **options)

        mine.sampler_function = sample
        return mine

    def encode_again(self, guider: Any, noise: Tensor, mask: Tensor, seed: int | None) -> None:
        """Encode the guider's conditioning with the original picture, which inpainting models look at."""
        if self.given is None:
            return
        model, picture = guider.inner_model, self._of("picture", noise)
        for side, conds in guider.conds.items():
            guider.conds[side] = comfy.samplers.encode_model_conds(
                model.extra_conds, conds, noise, noise.device, side,
                latent_image=picture, denoise_mask=mask, seed=seed, latent_shapes=[noise.shape],
            )  # fmt: skip

    def rows(self, count: int) -> list[Original | None]:
        """Return what another run would need to continue each of ``count`` rows; None where it isn't known."""
        picture = getattr(self._sampled, "latent_image", None)
        noise = getattr(self._sampled, "noise", None)
        self._sampled = None
        if picture is None or noise is None or not len(picture) == len(noise) == count:
            return [None] * count
        return [Original(picture[row].cpu().clone(), noise[row].cpu().clone()) for row in range(count)]

    def _of(self, part: str, like: Tensor) -> Tensor:
        return torch.stack([getattr(original, part) for original in self.given]).to(like)
