"""Preview reward: decode the x0 prediction of an unfinished run and score it with a reward.

Needs no training, and is the baseline that every learned probe has to beat: on public FLUX and SDXL
trajectories with ImageReward its within-prompt Spearman is about .24/.22 at 20 % of the steps and
.51/.45 at 30 %. Its price is a VAE decode and a reward forward per row.
"""

import copy
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..engine.core.features import DENOISED, Features
from ..engine.core.look_prices import FAST, VAE, look_tflop
from ..engine.core.pictures import at_most
from ..engine.core.probe import Probe
from ..engine.core.readback import to_host
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


NO_PROMPT = (
    "Preview Reward: The prompt is empty, and that of the run isn't known: it can be read from Encode Words, or from a "
    'text that is written in its node. Write or connect "prompt" of Preview Reward.'
)


class PreviewReward(Probe):
    """Probe that scores the image that a run would show if it stopped at the moment.

    Args:
        decode: turns latents into images, normally a VAE's decode.
        reward: scores the images; its label is that of the probe.
        prompt: what the images should show, the same for all rows. Empty: each row's own, ``Features.prompt``.
        channels: number of channels of the latents that ``decode`` takes; None if it isn't known.
        decoder: what ``decode`` is, a key of :data:`look_prices.DECODERS`.
        fast: returns a faster decoder for the rows of a MODEL, or None if there is none for it; see :meth:`for_model`.
    """

    name = "preview reward"
    needs = frozenset({DENOISED})

    def __init__(
        self,
        decode: Decode,
        reward: Reward,
        prompt: str = "",
        channels: int | None = None,
        fast: Callable[[Any], Decode | None] | None = None,
        decoder: str = VAE,
    ):
        self.decode, self.fast, self.decoder = decode, fast, decoder
        self.reward = reward
        self.prompt = prompt
        self.channels = channels
        self.label = reward.label
        self.skilled = reward.previews_skilled
        self.families = reward.preview_families
        self.least_rows = reward.least_images

    def score(self, rows: Sequence[Features]) -> Tensor:
        """Score the previews of rows captured at one moment, ``[rows]`` float32."""
        return self.score_and_decode(rows)[0]

    def for_model(self, model: Any) -> "PreviewReward":
        """Return the probe with a fast decoder for unfinished rows of a MODEL, if there is one."""
        decode = self.fast(model) if self.fast is not None else None
        return self if decode is None else self._changed(decode=decode, fast=None, decoder=FAST)

    def look_tflop(self, pixels: float) -> float:
        """Return what a decode and a reward take; see :meth:`Probe.look_tflop`."""
        return look_tflop(self.decoder, pixels, self.reward.tflop)

    def _changed(self, **values: Any) -> "PreviewReward":
        changed = copy.copy(self)
        vars(changed).update(values)
        return changed

    def score_and_decode(self, rows: Sequence[Features], longest: int | None = None) -> tuple[Tensor, Tensor]:
        """Decode the rows' previews and score them; see :meth:`Probe.score_and_decode`."""
        latents, scores, shown = _latents(rows), [], []
        size = JUDGED if self.reward.any_device else len(latents)  # others may score the rows of a call together
        for first in range(0, len(latents), size):
            images = _images(self.decode, latents[first : first + size])
            scores.append(self._rewards(images, rows[first : first + size]))
            shown.append(images if longest is None else at_most(images, longest))
        values, pictures = to_host([torch.cat(scores), torch.cat(shown)])
        return self._finite(values), pictures

    def score_images(self, images: Tensor, rows: Sequence[Features]) -> Tensor:
        """Score the previews of rows with the reward, ``[rows]`` float32 on the CPU.

        Raises:
            ValueError: the reward returned another number of scores than there are images, or NaN; or a row's
                prompt isn't known.
        """
        return self._finite(self._rewards(images, rows).cpu())

    def _rewards(self, images: Tensor, rows: Sequence[Features]) -> Tensor:
        prompts = [self.prompt if self.prompt.strip() else row.prompt for row in rows]
        if self.reward.reads_prompt and not all(prompt.strip() for prompt in prompts):
            raise ValueError(NO_PROMPT)
        reward = self.reward.at(rows[0].family, rows[0].percent)
        images = images if reward.any_device else images.cpu()
        return rewards_of(reward, images, prompts, in_place=True)

    def _finite(self, scores: Tensor) -> Tensor:
        if not scores.isfinite().all():
            bad = (~scores.isfinite()).nonzero().flatten().tolist()
            raise ValueError(f"preview reward: the reward {plain(self.label)} gave NaN or infinity for rows {bad}.")
        return scores

    def require_ready(self, latent: Sequence[int], prompt: str) -> None:
        """Refuse a wrong VAE, and a prompt that isn't known or that the reward can't read; see :class:`Probe`."""
        prompt = self.prompt if self.prompt.strip() else prompt
        if self.reward.reads_prompt and not prompt.strip():
            raise ValueError(NO_PROMPT)
        try:
            self.reward.require_readable(prompt)
        except ValueError as error:
            message = str(error)
            raise ValueError(f"Preview Reward: {message[:1].upper()}{message[1:]}") from error
        require_channels(self.channels, latent[0], "Preview Reward: ")
        self._try_out(latent, prompt)

    def for_one_search(self, prompt: str) -> "PreviewReward":
        """Return a probe with the prompt of a search, whose scores compare between all of its calls."""
        prompt = self.prompt if self.prompt.strip() else prompt
        return self._changed(reward=self.reward.for_one_search(), prompt=prompt)

    def remarks(self, rows: Sequence[Features] = ()) -> tuple[str, ...]:
        """Return the reward's remarks on the prompts of rows; see :meth:`Probe.remarks`."""
        prompts = [self.prompt] if self.prompt.strip() else [row.prompt for row in rows]
        return tuple(dict.fromkeys(remark for prompt in prompts for remark in self.reward.remarks(prompt)))

    def _try_out(self, latent: Sequence[int], prompt: str) -> None:
        """Decode and score two small grey latents, once for each pair of decoder and reward.

        Raises:
            ValueError: the decoder makes no images of such latents, or the reward can't score them.
        """
        decoder = getattr(self.decode, "__self__", self.decode)
        done = _TRIED.setdefault(decoder, weakref.WeakSet())
        if self.reward in done:
            return
        row = Features(family="", moment="", step=0, sigma=0.0, percent=1.0, denoised=torch.zeros(*latent))
        try:
            images = decoded_previews(self.decode, [row, row]).cpu()
        except torch.OutOfMemoryError:
            return  # says nothing about the VAE
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ValueError(
                f'Preview Reward: "vae" can\'t decode latents {list(latent)} of this MODEL '
                f"({plain(error)}). Connect the VAE of the sampled model."
            ) from error
        rewards_of(self.reward, images, prompt)
        done.add(self.reward)


_TRIED: weakref.WeakKeyDictionary[Any, weakref.WeakSet[Reward]] = weakref.WeakKeyDictionary()
"""Rewards that have scored what a decoder made, by the VAE that it is of."""


def require_channels(decoded: int | None, sampled: int, name: str = "") -> None:
    """Refuse a VAE for latents of another number of channels than the sampled ones.

    Args:
        decoded: channels of the latents that the VAE decodes; None if it isn't known.
        sampled: channels of the sampled latents.
        name: what the message begins with.

    Raises:
        ValueError: the numbers differ.
    """
    if decoded not in (None, sampled):
        raise ValueError(
            f'{name}"vae" decodes latents of {decoded} channels, and those of this MODEL have {sampled}. Connect the '
            "VAE of the sampled model."
        )


def decoded_previews(decode: Decode, rows: Sequence[Features]) -> Tensor:
    """Decode the x0 predictions of rows, ``[rows, H, W, 3]`` float32 in 0 … 1, on the decoder's device.

    Raises:
        ValueError: no x0 prediction was captured, the rows differ in size, or the decoder returned
            something other than images.
    """
    return _images(decode, _latents(rows))


def _images(decode: Decode, latents: Tensor) -> Tensor:
    return torch.cat([_decoded(decode, part) for part in latents.split(CHUNK)]).clamp_(0, 1)


def _decoded(decode: Decode, latents: Tensor) -> Tensor:
    images = decode(latents)
    if not isinstance(images, Tensor):
        raise ValueError("the decoder gave no images. Connect the VAE of the sampled model.")
    images = images.detach().float()
    if images.ndim == 5 and images.shape[1] == 1:  # a VAE that knows frames, of one
        images = images[:, 0]
    if images.ndim != 4 or images.shape[0] != len(latents) or images.shape[-1] != 3:
        raise ValueError(
            f"the decoder gave {list(images.shape)} for {len(latents)} latents instead of "
            "images [rows, height, width, 3]. Connect the VAE of the sampled model; videos can't be scored."
        )
    if images.device.type == "cpu" and not images.isfinite().all():  # elsewhere that would wait for the device
        raise ValueError("the decoded previews hold NaN. Try the VAE in fp32 (--fp32-vae).")
    return images


def _latents(rows: Sequence[Features]) -> Tensor:
    """Stack the rows' x0 predictions, ``[rows, channels, ...]``."""
    if not rows:
        raise ValueError("there are no rows to decode.")
    missing = [number for number, row in enumerate(rows) if row.denoised is None]
    if missing:
        raise ValueError(
            f"no x0 prediction was captured for rows {missing}. Attach the same probe to the MODEL before sampling."
        )
    shapes = {tuple(row.denoised.shape) for row in rows}
    if len(shapes) > 1:
        raise ValueError(f"the rows have different sizes {sorted(shapes)}; decode them separately.")
    return torch.stack([row.denoised for row in rows])
