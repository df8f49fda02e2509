"""Small pictures of unfinished rows, by ComfyUI's own previewers.

Previewers of other packs are made for one sampler run: some return their last picture again for a while, some draw
only during sampling. They are used where each row gets a picture of its own; else the model's RGB approximation is.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import latent_preview
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..core.features import Features

Draw = Callable[[Tensor], Image.Image | None]
"""Function from one latent ``[1, channels, ...]`` in the model's own scale to its picture."""


def preview_images(model: Any, rows: Sequence[Features]) -> Tensor | None:
    """Draw pictures of the rows' x0 predictions, float 0 to 1, ``[rows, height, width, 3]``.

    They are drawn by the preview method that the user chose in ComfyUI, or by the model's RGB approximation
    if previews are off or that method draws none. None if the model has no approximation, or drawing fails.
    """
    latent_format = model.get_model_object("latent_format")
    for pictures in _drawers(model, latent_format):
        try:
            latents = latent_format.process_in(torch.stack([row.denoised for row in rows])).to(model.load_device)
            drawn = pictures(latents)
        except Exception as error:
            logging.warning(f"Diffusion Probe: no previews could be drawn ({type(error).__name__}: {error}).")
            continue
        if drawn is not None:
            return drawn
    return None


def new_previewer(model: Any) -> Any:
    """Return a previewer by the method that the user chose, None if previews are off."""
    return latent_preview.get_previewer(model.load_device, model.get_model_object("latent_format"))


def is_stock(previewer: Any) -> bool:
    """Return whether a previewer is ComfyUI's own, which keeps nothing between pictures, or None."""
    if previewer is None:
        return True
    draws = previewer.decode_latent_to_preview_image
    return type(previewer).__module__ == getattr(draws, "__module__", None) == latent_preview.__name__


def _drawers(model: Any, latent_format: Any) -> Iterator[Callable[[Tensor], Tensor | None]]:
    """Yield functions that may draw rows, the best first."""
    try:
        previewer = new_previewer(model)
    except Exception as error:
        logging.warning(f"Diffusion Probe: no previewer could be made ({type(error).__name__}: {error}).")
        previewer = None
    if previewer is not None and is_stock(previewer):
        yield lambda latents: _stacked([_picture(previewer, latent) for latent in latents])
    elif previewer is not None:
        yield partial(_separately, lambda: previewer)
        yield partial(_separately, partial(new_previewer, model))
    if latent_format.latent_rgb_factors is not None:
        rgb = latent_preview.Latent2RGBPreviewer(
            latent_format.latent_rgb_factors,
            latent_format.latent_rgb_factors_bias,
            latent_format.latent_rgb_factors_reshape,
        )
        yield lambda latents: _stacked([rgb.decode_latent_to_preview(latent[None]) for latent in latents])


def _picture(previewer: Any, latent: Tensor) -> Image.Image | None:
    preview = previewer.decode_latent_to_preview_image("PNG", latent[None])
    return None if preview is None else preview[1]


def _separately(previewer: Callable[[], Any], latents: Tensor) -> Tensor | None:
    """Draw each row by a previewer of another pack; None if a row gets no picture or that of another latent.

    A latent that is none of the rows is drawn first, which reveals a previewer that repeats an earlier picture.

    Args:
        previewer: returns the previewer for each picture.
        latents: ``[rows, channels, ...]`` in the model's own scale.
    """
    inputs = [-latents[0], *latents]
    drawn = _stacked([_picture(previewer(), latent) for latent in inputs])
    if drawn is None:
        return None
    first: dict[bytes, int] = {}
    for number, picture in enumerate(drawn):
        same = first.setdefault(picture.numpy().tobytes(), number)
        if not torch.equal(inputs[same], inputs[number]):
            return None
    return drawn[1:]


def _stacked(pictures: Sequence[Image.Image | None]) -> Tensor | None:
    """Stack pictures, float 0 to 1, ``[pictures, height, width, 3]``; None if one is missing."""
    if any(picture is None for picture in pictures):
        return None
    return torch.stack([torch.from_numpy(np.array(picture.convert("RGB"))).float() / 255 for picture in pictures])
