"""Layouts of text and image tokens in one attention call, one for each kind of model family."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LLAMA = "encoder_hidden_states_llama3"
"""HiDream's second text, ``[rows, layers, tokens, channels]``."""


@dataclass(frozen=True)
class Tokens:
    """Positions of tokens in the queries and keys of one attention call.

    Attributes:
        image: the queries that are image tokens, row by row. Rows are longer than the image's where a
            reference image is next to it.
        text: the keys that are the conditioning's positions: segments that follow each other, each with all its
            copies. A position's weight is the sum over its copies.
    """

    image: slice
    text: tuple[tuple[slice, ...], ...]


@dataclass(frozen=True)
class Attention:
    """Attention call, as far as layouts need it.

    Attributes:
        queries, keys: their numbers in the call.
        image: number of image tokens.
        cond: the conditioning entry, as the guider processed it.
        options: the call's ``transformer_options``.
        diffusion_model: the model.
        text: number of text tokens before the image, where the block gets them as a separate argument; else None.
    """

    queries: int
    keys: int
    image: int
    cond: dict[str, Any]
    options: dict[str, Any]
    diffusion_model: Any
    text: int | None = None

    @property
    def positions(self) -> int:
        """Number of positions of the conditioning's context, as the text encoder returned it."""
        return self.cond["cross_attn"].shape[1]

    def model_cond(self, name: str) -> list[Any]:
        """Return a list that goes to the model with the conditioning, of reference images and the like."""
        value = self.cond["model_conds"].get(name)
        return [] if value is None else value.cond


def embeddings(cond: dict[str, Any]) -> Tensor:
    """Return the text encoder's output for each position of a processed conditioning entry.

    HiDream's positions of Llama, whose layers all go into the model, have the output of the last layer.

    Returns:
        ``[rows, positions, channels]``.
    """
    llama = cond["model_conds"].get(LLAMA)
    return cond["cross_attn"] if llama is None else torch.cat([cond["cross_attn"], llama.cond[:, -1]], 1)


Layout = Callable[[Attention], Tokens | None]
"""Function that finds the tokens in an attention call; None for an attention of another kind, as of a refiner."""


def text_is_keys(call: Attention) -> Tokens | None:
    """Find the tokens of cross-attention, where prompts are repeated along the token axis to share a call."""
    if call.keys % call.positions:
        return None
    copies = tuple(slice(at, at + call.positions) for at in range(0, call.keys, call.positions))
    return Tokens(slice(0, call.queries), (copies,))


def text_image(call: Attention) -> Tokens | None:
    """Find the tokens of joint attention of ``[text, image, reference images]``, the prompt last in the text.

    FLUX.2 fills up short prompts at the front, and adapters put their tokens there. References whose
    keys are cached are no queries, all of them; other adapters add keys alone: both at the end.
    """
    references = sum(call.options.get("reference_image_num_tokens", ()))
    if call.keys - call.queries >= references:
        references = 0
    text = call.queries - call.image - references
    if text < call.positions or call.text not in (None, text):
        return None
    return Tokens(slice(text, text + call.image), ((slice(text - call.positions, text),),))


def padded_text_image(call: Attention) -> Tokens | None:
    """Find the tokens of joint attention of Lumina 2 and Z-Image: ``[texts, reference images, image]``.

    Each text and image is padded at its end to a multiple of some number of tokens. With reference
    images the texts are those between them first, then the prompt, then the rest.
    """
    multiple = call.diffusion_model.pad_tokens_multiple or 1

    def padded(count: int) -> int:
        return -(-count // multiple) * multiple

    before = call.model_cond("ref_contexts")[: len(call.model_cond("ref_latents"))]
    missing = len(call.model_cond("ref_latents")) - len(before)
    first = sum(padded(text.shape[1]) for text in before) + missing * multiple
    image = call.queries - padded(call.image)
    expected = first + padded(call.positions)
    if image < expected or not call.model_cond("ref_latents") and image > expected:
        return None
    return Tokens(slice(image, image + call.image), ((slice(first, first + call.positions),),))


def image_text_llama(call: Attention) -> Tokens | None:
    """Find the tokens of joint attention of HiDream: ``[image, T5, Llama's last layer, Llama's layer for this block]``.

    The image of HiDream-E1 has its reference next to it, so it is as wide as both.
    """
    llama = call.cond["model_conds"][LLAMA].cond.shape[2]
    image = call.queries - call.positions - 2 * llama
    if image != call.image and (image < call.image or "image_cond" not in call.cond["model_conds"]):
        return None
    t5 = image + call.positions
    return Tokens(
        slice(0, image),
        ((slice(image, t5),), (slice(t5, t5 + llama), slice(t5 + llama, call.queries))),
    )
