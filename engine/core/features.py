"""Features of one row of a batch, captured at one moment of its run: the input of a probe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
"""Longer side of the grid on which trained probes see latents and activations."""

ALL_TEXT = "all text"
"""Name of all text positions together, where no words are known."""


def over_words(maps: Tensor, words: Sequence[Word]) -> Tensor:
    """Sum maps of tokens ``[blocks, tokens, height, width]`` to maps of words, ``[blocks, words, height, width]``.

    A word's map is the sum over its positions, not their mean: the positions share out one softmax,
    so the sum is what the whole word gets, into however many pieces it was cut.
    """
    return torch.stack([maps[:, list(word.positions)].sum(1) for word in words], dim=1)


def on_grid(images: Tensor, longest: int = LATENT_GRID) -> Tensor:
    """Average ``[..., channels, height, width]`` by area to a longer side of at most ``longest``, aspect kept.

    What is small enough stays as it is, so doing it twice is doing it once.
    """
    height, width = images.shape[-2:]
    if max(height, width) <= longest:
        return images
    size = [max(1, round(side * longest / max(height, width))) for side in (height, width)]
    flat = images.reshape(-1, *images.shape[-3:])
    return F.interpolate(flat, size, mode="area").reshape(*images.shape[:-2], *size)


def as_image(latent: Tensor) -> Tensor:
    """Remove the axis of frames from the latent of one image: ``[channels, height, width]``."""
    return latent.flatten(0, -3)


def halved(values: Tensor) -> Tensor:
    """Convert to float16 on the CPU. Values outside of its range are clamped: single channels of large models and text
    encoders do, and an infinity would spoil whatever is computed of them."""
    largest = torch.finfo(torch.float16).max
    return values.detach().clamp(-largest, largest).half().cpu()


def project_channels(images: Tensor, projection: Tensor) -> Tensor:
    """Project ``[..., channels, height, width]`` by a matrix ``[kept channels, channels]``, in float32."""
    return torch.einsum("pc,...chw->...phw", projection.to(images.device, torch.float32), images.float())


@dataclass(frozen=True)
class Features:
    """One candidate at one moment.

    Attributes:
        family: name of the model family, for example ``"flux"``.
        moment: the moment as it was asked for, for example ``"20%"`` or ``"step 5"``.
        step: which model evaluation of the run this was, counted from 1.
        sigma: noise level of that evaluation, in the model's own sigmas.
        percent: the same as a fraction of the schedule's noise range, 0 (pure noise) to 1.
        blocks: names of the attention blocks, in the order of the first axis of ``attention``.
        attention: cross-attention of image queries to text keys, ``[blocks, tokens, height, width]``
            float16 on the CPU, averaged over heads, area-averaged to a grid of at most
            ``capture.GRID`` on the longer side. Each value is a softmax weight: over all keys
            (text and image) it sums to 1, so over the tokens to at most 1. Tokens of several
            conditioning entries follow each other. None unless asked for.
        words: the words of the text and their positions, indices into the tokens of ``attention``.
            Empty if the conditioning came without them (it wasn't made by Encode Words), or the
            text has none.
        denoised: the x0 prediction in the VAE's latent space, ``[channels, ...]`` float32 on the
            CPU. None unless asked for.
        latent: the noisy latent as the model's first layer is given it (about unit variance at any
            noise level), ``[channels, height, width]`` float16 on the CPU, on the grid of
            :func:`on_grid`. None unless asked for.
        activation: output of the family's activation block at the image tokens, ``[channels, height,
            width]`` float16 on the CPU, on the grid of :func:`on_grid`; channels are those of the
            projection that the probe brings, or the model's own. None unless asked for.
        text: the embedding of each text token as the model is given it, ``[tokens, channels]``
            float16 on the CPU; the tokens of ``attention``. None unless asked for.
        why: why what was asked for is not there, by the name of the part, or of the block of the attention.
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
    why: Mapping[str, str] = field(default_factory=dict)

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all captured tensors."""
        given = (self.attention, self.denoised, self.latent, self.activation, self.text)
        return tuple(tensor for tensor in given if tensor is not None)

    def text_words(self) -> tuple[Word, ...]:
        """Return the words; without any, all text positions count as one.

        Raises:
            ValueError: neither text nor attention was captured.
        """
        if self.words:
            return self.words
        return (Word(ALL_TEXT, tuple(range(len(self.text) if self.text is not None else self._maps().shape[1]))),)

    def word_embeddings(self) -> Tensor:
        """Compute the mean embedding of the positions of each of :meth:`text_words`, ``[words, channels]`` float32.

        Raises:
            ValueError: no text was captured.
        """
        if self.text is None:
            raise ValueError("no text was captured. Attach a probe that needs it.")
        return torch.stack([self.text[list(word.positions)].float().mean(0) for word in self.text_words()])

    def word_maps(self, words: Sequence[Word] | None = None) -> Tensor:
        """Return the attention to each word, ``[blocks, words, height, width]`` float32; see :func:`over_words`.

        Args:
            words: whose maps; :meth:`text_words` by default.

        Raises:
            ValueError: no attention was captured.
        """
        return over_words(self._maps().float(), self.text_words() if words is None else words)

    def _maps(self) -> Tensor:
        if self.attention is None:
            raise ValueError("no attention was captured. Attach a probe that needs it: Attention Focus.")
        return self.attention
