"""Small pictures of what rows look like so far, by ComfyUI's own previewers.

Those of other packs are made for one sampler run: some give their last picture back for a while, some draw
while sampling only. What they draw is used where each row gets a picture of its own; else the model's RGB
approximation is.
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
"""One latent ``[1, channels, ...]`` in the model's own scale → its picture."""


def preview_images(model: Any, rows: Sequence[Features]) -> Tensor | None:
    """Draw the rows' x0 predictions, float 0 to 1, ``[rows, height, width, 3]``.

    Drawn by the preview method that the user chose in ComfyUI, or by the model's RGB approximation
    if previews while sampling are off or that method draws none. None if the model has none, or drawing
    fails: pictures are worth no result.
    """
    latent_format = model.get_model_object("latent_format")
    for pictures in _ways(model, latent_format):
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
    """Make a previewer by the method that the user chose; None if that is none."""
    return latent_preview.get_previewer(model.load_device, model.get_model_object("latent_format"))


def is_stock(previewer: Any) -> bool:
    """Check whether it draws as ComfyUI's own do, which keep nothing from one picture to the next. So does None."""
    if previewer is None:
        return True
    draws = previewer.decode_latent_to_preview_image
    return type(previewer).__module__ == getattr(draws, "__module__", None) == latent_preview.__name__


def _ways(model: Any, latent_format: Any) -> Iterator[Callable[[Tensor], Tensor | None]]:
    """List the ways in which rows may be drawn, the best first."""
    try:
        previewer = new_previewer(model)
    except Exception as error:
        logging.warning(f"Diffusion Probe: no previewer could be made ({type(error).__name__}: {error}).")
        previewer = None
    if previewer is not None and is_stock(previewer):
        yield lambda latents: _stacked([_picture(previewer, latent) for latent in latents])
    elif previewer is not None:
        yield partial(_apart, lambda: previewer)
        yield partial(_apart, partial(new_previewer, model))
    if latent_format.latent_rgb_factors is not None:
        rgb = latent_preview.Latent2RGBPreviewer(
            latent_format.latent_rgb_factors,
            latent_format.latent_rgb_factors_bias,
            latent_format.latent_rgb_factors_reshape,
        )
        yield lambda latents: _stacked([rgb.decode_latent_to_preview(latent[None]) for latent in latents])


def _picture(previewer: Any, latent: Tensor) -> Image.Image | None:
    given = previewer.decode_latent_to_preview_image("PNG", latent[None])
    return None if given is None else given[1]


def _apart(previewer: Callable[[], Any], latents: Tensor) -> Tensor | None:
    """Draw each row separately by a previewer of another pack; None if a row gets no picture of its own.

    What is drawn first is none of the rows, so that a picture from before shows.

    Args:
        previewer: gives one for each picture.
    """
    drawn = _stacked([_picture(previewer(), latent) for latent in (-latents[0], *latents)])
    if drawn is None:
        return None
    given = [-latents[0], *latents]
    first: dict[bytes, int] = {}
    for number, picture in enumerate(drawn):
        same = first.setdefault(picture.numpy().tobytes(), number)
        if not torch.equal(given[same], given[number]):
            return None
    return drawn[1:]


def _stacked(pictures: Sequence[Image.Image | None]) -> Tensor | None:
    """Stack pictures as float 0 to 1, ``[pictures, height, width, 3]``."""
    if any(picture is None for picture in pictures):
        return None
    return torch.stack([torch.from_numpy(np.array(picture.convert("RGB"))).float() / 255 for picture in pictures])
