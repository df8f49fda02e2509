"""Preview reward: decode the x0 prediction of an unfinished run and score it with a reward.

Needs no training, and is the baseline that every learned probe has to beat: on public FLUX and SDXL
trajectories with ImageReward its within-prompt Spearman is about .24/.22 at 20 % of the steps and
.51/.45 at 30 %. Its price is a VAE decode and a reward forward per row.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..engine.core.features import DENOISED, Features
from ..engine.core.pictures import at_most
from ..engine.core.probe import Probe
from ..engine.core.reward import Reward, rewards_of
from ..engine.core.texts import plain

CHUNK = 2
"""Number of rows that are decoded at once: previews should not need more memory than the final decode of a batch, and
on a CPU larger tensors take longer per row (a sixth with eight rows of the testbed)."""

JUDGED = 8
"""Number of rows that are scored at once: no more full-size images than that exist at a time."""

Decode = Callable[[Tensor], Tensor]
"""Function from latents ``[rows, channels, height, width]`` to images ``[rows, H, W, 3]`` float in 0 … 1.

With an axis of frames before height, of one, where the model has such an axis.
"""


class PreviewReward(Probe):
    """Probe that scores the image that a run would show if it stopped at the moment.

    Args:
        decode: turns latents into images, normally a VAE's decode.
        reward: scores the images; its label is that of the probe.
        prompt: what the images should show, the same for all rows.
        fast: returns a faster decoder for the rows of a MODEL, or None if there is none for it; see :meth:`for_model`.
    """

    name = "preview reward"
    needs = frozenset({DENOISED})
    skilled = True

    def __init__(self, decode: Decode, reward: Reward, prompt: str, fast: Callable[[Any], Decode | None] | None = None):
        self.decode, self.fast = decode, fast
        self.reward = reward
        self.prompt = prompt
        self.label = reward.label

    def score(self, rows: Sequence[Features]) -> Tensor:
        """Score the previews of rows captured at one moment, ``[rows]`` float32."""
        return self.score_and_decode(rows)[0]

    def for_model(self, model: Any) -> "PreviewReward":
        """Return the probe with a fast decoder for unfinished rows of a MODEL, if there is one."""
        decode = self.fast(model) if self.fast is not None else None
        if decode is None:
            return self
        mine = copy.copy(self)
        mine.decode = decode
        return mine

    def score_and_decode(self, rows: Sequence[Features], longest: int | None = None) -> tuple[Tensor, Tensor]:
        """Decode the rows' previews and score them; see :meth:`Probe.score_and_decode`."""
        latents, scores, shown = _latents(rows), [], []
        size = JUDGED if self.reward.any_device else len(latents)  # others may score the rows of a call together
        for first in range(0, len(latents), size):
            images = self._images(latents[first : first + size])
            scores.append(self.score_images(images, first))
            shown.append(images if longest is None else at_most(images, longest))
        return torch.cat(scores), torch.cat(shown).cpu()

    def images(self, rows: Sequence[Features]) -> Tensor:
        """Decode the rows' previews, ``[rows, H, W, 3]`` float32 in 0 … 1, on the device that the decoder returns.

        Raises:
            ValueError: no x0 prediction was captured, the rows differ in size, or the decoder gave
                back something other than images.
        """
        return self._images(_latents(rows))

    def _images(self, latents: Tensor) -> Tensor:
        return torch.cat([self._decoded(part) for part in latents.split(CHUNK)]).clamp_(0, 1)

    def score_images(self, images: Tensor, first: int = 0) -> Tensor:
        """Score previews with the reward, ``[rows]`` float32 on the CPU; ``first`` is the number of the first row.

        Raises:
            ValueError: the reward returned another number of scores than there are images, or NaN.
        """
        images = images if self.reward.any_device else images.cpu()
        scores = rewards_of(self.reward, images, self.prompt).cpu()
        if not scores.isfinite().all():
            bad = ((~scores.isfinite()).nonzero().flatten() + first).tolist()
            raise ValueError(f"preview reward: the reward {plain(self.label)} gave NaN or infinity for rows {bad}.")
        return scores

    def _decoded(self, latents: Tensor) -> Tensor:
        images = self.decode(latents)
        if not isinstance(images, Tensor):
            raise ValueError("preview reward: the decoder gave no images. Connect the VAE of the sampled model.")
        images = images.detach().float()
        if images.ndim == 5 and images.shape[1] == 1:  # a VAE that knows frames, of one
            images = images[:, 0]
        if images.ndim != 4 or images.shape[0] != len(latents) or images.shape[-1] != 3:
            raise ValueError(
                f"preview reward: the decoder gave {list(images.shape)} for {len(latents)} latents instead of "
                "images [rows, height, width, 3]. Connect the VAE of the sampled model; videos can't be scored."
            )
        if images.device.type == "cpu" and not images.isfinite().all():  # elsewhere that would wait for the device
            raise ValueError("preview reward: the decoded previews hold NaN. Try the VAE in fp32 (--fp32-vae).")
        return images


def _latents(rows: Sequence[Features]) -> Tensor:
    """Stack the rows' x0 predictions, ``[rows, channels, ...]``."""
    if not rows:
        raise ValueError("preview reward: there are no rows to score.")
    missing = [number for number, row in enumerate(rows) if row.denoised is None]
    if missing:
        raise ValueError(
            f"preview reward: no x0 prediction was captured for rows {missing}. "
            "Attach the same probe to the MODEL before sampling."
        )
    shapes = {tuple(row.denoised.shape) for row in rows}
    if len(shapes) > 1:
        raise ValueError(f"preview reward: the rows have different sizes {sorted(shapes)}; score them separately.")
    return torch.stack([row.denoised for row in rows])
