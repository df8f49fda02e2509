"""Features of a row of a batch, captured at one moment of its run: what a probe reads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .prompt_words import Word

ATTENTION = "attention"
ACTIVATION = "activation"
LATENT = "latent"
DENOISED = "denoised"
TEXT = "text"
NEEDS = (ATTENTION, ACTIVATION, LATENT, DENOISED, TEXT)

LATENT_GRID = 32
"""Longer side of the grid on which trained probes read latents and activations."""

ALL_TEXT = "all text"
"""Name of the one word that stands for all text positions where no words are known."""


def over_words(maps: Tensor, words: Sequence[Word]) -> Tensor:
    """Sum maps of tokens ``[blocks, tokens, height, width]`` to maps of words, ``[blocks, words, height, width]``.

    A word's map is the sum over its positions, not their mean: the positions share one softmax, so the sum is the
    attention to the whole word, however many tokens it has.
    """
    return torch.stack([maps[:, list(word.positions)].sum(1) for word in words], dim=1)


def on_grid(images: Tensor, longest: int = LATENT_GRID) -> Tensor:
    """Average ``[..., channels, height, width]`` by area to a longer side of at most ``longest``, aspect kept.

    Images that are small enough are returned unchanged.
    """
    height, width = images.shape[-2:]
    if max(height, width) <= longest:
        return images
    size = [max(1, round(side * longest / max(height, width))) for side in (height, width)]
    flat = images.reshape(-1, *images.shape[-3:])
    return F.interpolate(flat, size, mode="area").reshape(*images.shape[:-2], *size)


def as_image(latent: Tensor) -> Tensor:
    """Return one row's latent as ``[channels, height, width]``, without the axis of one frame that some models have."""
    return latent.flatten(0, -3)


def halved(values: Tensor) -> Tensor:
    """Return values as float16 on their device, clamped to its range.

    Single channels of large models and text encoders exceed the range, and an infinity would spread in computations.
    """
    largest = torch.finfo(torch.float16).max
    return values.detach().clamp(-largest, largest).half()


def project_channels(images: Tensor, projection: Tensor) -> Tensor:
    """Multiply ``[..., channels, height, width]`` by ``[kept channels, channels]`` along the channels, in float32."""
    return torch.einsum("pc,...chw->...phw", projection.to(images.device, torch.float32), images.float())


@dataclass(frozen=True)
class Features:
    """Features of one row at one moment.

    Attributes:
        family: name of the model family, for example ``"flux"``.
        moment: the moment as the user wrote it, for example ``"20%"`` or ``"step 5"``.
        step: number of the evaluation in the run, counted from 1.
        sigma: noise level of that evaluation, in the model's own sigmas.
        percent: the same as a fraction of the schedule's noise range, 0 (pure noise) to 1.
        blocks: names of the attention blocks, in the order of the first axis of ``attention``.
        attention: cross-attention of image queries to text keys, ``[blocks, tokens, height, width]``
            float16 on the CPU, averaged over heads, area-averaged to a grid of at most
            ``capture.GRID`` on the longer side. Each value is a softmax weight: over all keys
            (text and image) it sums to 1, so over the tokens to at most 1. Tokens of several
            conditioning entries follow each other. None unless needed.
        words: the words of the text and their positions, indices into the tokens of ``attention``.
            Empty if the conditioning has no word information, or the text has no words.
        denoised: the x0 prediction in the VAE's latent space, ``[channels, ...]`` float32 on the
            CPU. None unless needed.
        latent: the noisy latent as the model's first layer gets it (about unit variance at any
            noise level), ``[channels, height, width]`` float16 on the CPU, on the grid of
            :func:`on_grid`. None unless needed.
        activation: output of the family's activation block at the image tokens, ``[channels, height,
            width]`` float16 on the CPU, on the grid of :func:`on_grid`; channels are those of the
            probe's projection, or the model's own. None unless needed.
        text: the embedding of each text token as the model gets it, ``[tokens, channels]``
            float16 on the CPU; the tokens of ``attention``. None unless needed.
        prompt: the text that the run's prompt was encoded from; empty if it isn't known.
        why: reasons why needed features are missing, by the name of the field above or of the attention block.
    """

    family: str
    moment: str
    step: int
    sigma: float
    percent: float
    blocks: tuple[str, ...] = ()
    attention: Tensor | None = None
    words: tuple[Word, ...] = ()
    denoised: Tensor | None = None
    latent: Tensor | None = None
    activation: Tensor | None = None
    text: Tensor | None = None
    prompt: str = ""
    why: Mapping[str, str] = field(default_factory=dict)

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all captured tensors."""
        tensors = (getattr(self, name) for name in NEEDS)
        return tuple(tensor for tensor in tensors if tensor is not None)

    def with_tensors(self, tensors: Iterator[Tensor]) -> "Features":
        """Return the same features with other tensors in the place of :meth:`tensors`, in their order."""
        others: dict[str, Any] = {name: next(tensors) for name in NEEDS if getattr(self, name) is not None}
        return replace(self, **others)

    def text_words(self) -> tuple[Word, ...]:
        """Return the words; without any, one word of all text positions.

        Raises:
            ValueError: neither text nor attention was captured.
        """
        if self.words:
            return self.words
        tokens = len(self.text) if self.text is not None else self._maps().shape[1]
        return (Word(ALL_TEXT, tuple(range(tokens))),)

    def word_embeddings(self) -> Tensor:
        """Return the mean embedding of each of :meth:`text_words`, ``[words, channels]`` float32.

        Raises:
            ValueError: no text was captured.
        """
        if self.text is None:
            raise ValueError("no text was captured. Attach a probe that needs it before sampling.")
        return torch.stack([self.text[list(word.positions)].float().mean(0) for word in self.text_words()])

    def word_maps(self, words: Sequence[Word] | None = None) -> Tensor:
        """Return the attention to each word as softmax weights, ``[blocks, words, height, width]`` float32.

        Args:
            words: those whose maps are returned, each the sum over its positions; :meth:`text_words` by default.

        Raises:
            ValueError: no attention was captured.
        """
        return over_words(self._maps().float(), self.text_words() if words is None else words)

    def _maps(self) -> Tensor:
        if self.attention is None:
            raise ValueError("no attention was captured. Attach a probe that needs it before sampling.")
        return self.attention
