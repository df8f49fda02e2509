"""Pictures of the attention to each word, drawn over a preview of the row."""

from typing import Any

import torch
from torch import Tensor

from ...probe_models import signatures
from ..core.features import ATTENTION, Features, over_words
from ..core.prompt_words import Word, named_words
from .attach import probe_of
from .overlay import heat_overlay, with_caption, writable
from .previews import preview_images
from .read import captured

MOST_WORDS = 16
"""Largest number of words of a row that are drawn when none are named."""

MOST_PIXELS = 2**27
"""Largest number of pixels of all pictures together; a pixel takes 12 bytes."""

ALL_ROWS = -1


def attention_preview(
    model: Any,
    latent: dict[str, Any],
    words: str = "",
    row: int = ALL_ROWS,
    moment: str | None = None,
    *,
    opacity: float = 0.75,
    size: int = 256,
    captions: bool = True,
) -> tuple[Tensor, list[str]]:
    """Draw one picture per row and word, the words of the first row first.

    A word's heat at a position is its share of the attention from there to the text,
    averaged over blocks, and stretched from the coldest to the hottest position of the map. Without
    words it is the softmax weight of all text.

    Args:
        model, latent, moment: as for :func:`read.captured`.
        words: as for :func:`prompt_words.named_words`; empty for the first :data:`MOST_WORDS` of each row.
        row: which row of the latent, or :data:`ALL_ROWS`.
        opacity: of the heat over the preview, 0 to 1.
        size: longer side of a picture in pixels, without its caption.
        captions: whether row, word and the word's largest share are written below.

    Returns:
        Images ``[rows * words, height, width, 3]`` float 0 to 1, and a caption of each.

    Raises:
        ValueError: the probe takes no attention, no such row or word, too many pictures, and as
            :func:`read.captured`.
    """
    probe = probe_of(model)
    if ATTENTION not in probe.needs:
        raise ValueError(
            f'the attached probe ("{probe.name}") does not read attention, so none was captured. Attach a probe that '
            "reads attention, and sample again."
        )
    rows = captured(model, latent, moment)
    if row != ALL_ROWS and not 0 <= row < len(rows):
        raise ValueError(f"there is no row {row}. The latent has rows 0 to {len(rows) - 1}; {ALL_ROWS} means all.")
    chosen = range(len(rows)) if row == ALL_ROWS else [row]
    heats = [_heats(rows[number], words) for number in chosen]
    count = sum(len(of_row) for of_row, _ in heats)
    if count * size**2 > MOST_PIXELS:
        raise ValueError(
            f"{count} pictures of {size} pixels take too much memory. Name fewer words, choose one row, or make them "
            f"smaller: up to {int((MOST_PIXELS / count) ** 0.5)} pixels."
        )
    pictures = preview_images(model, [rows[number] for number in chosen])
    images, texts = [], []
    for position, number in enumerate(chosen):
        for word, heat in zip(*heats[position], strict=True):
            picture = torch.full((*heat.shape, 3), 0.5) if pictures is None else pictures[position]
            images.append(heat_overlay(picture, _stretched(heat), opacity, size))
            share = f"{100 * float(heat.max()):.3g} %"
            texts.append(f"row {number}: {word.name}, {share}")
            if captions:
                images[-1] = with_caption(images[-1], f"row {number}: {_written(word)}, {share}")
    return torch.stack(images), texts


def _heats(features: Features, names: str) -> tuple[tuple[Word, ...], Tensor]:
    """Return the words of a row and the heat of each, ``[words, height, width]``."""
    if not features.words:
        if names.strip():
            raise ValueError(
                "the sampled prompt was encoded without its words, so none can be chosen. Encode it with its words, or "
                "leave words empty for one map of all text."
            )
        return features.text_words(), features.word_maps().mean(0)
    words = named_words(features.words, names) or features.words[:MOST_WORDS]
    return words, over_words(signatures.shares(features.attention), words).mean(0)


def _stretched(heat: Tensor) -> Tensor:
    low, high = heat.min(), heat.max()
    return (heat - low) / (high - low) if high > low else torch.zeros_like(heat)


def _written(word: Word) -> str:
    """Return a word's name, with its first text position where the font lacks characters of it."""
    name = writable(word.name)
    return name if name == word.name else f"{name} (position {word.positions[0]})"
