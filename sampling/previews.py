"""Small pictures of what rows look like so far, by ComfyUI's own previewers."""

import logging
from collections.abc import Sequence
from typing import Any

import latent_preview
import numpy as np
import torch
from torch import Tensor

from ..probe_models.features import Features


def preview_images(model: Any, rows: Sequence[Features]) -> Tensor | None:
    """Pictures of the rows' x0 predictions, float 0 to 1, ``[rows, height, width, 3]``.

    Drawn by the preview method that the user chose in ComfyUI, or by the model's RGB approximation
    if previews while sampling are off or that method draws none. None if the model has none, or drawing
    fails: pictures are worth no result.
    """
    latent_format = model.get_model_object("latent_format")
    try:
        latents = latent_format.process_in(torch.stack([row.denoised for row in rows])).to(model.load_device)
        drawn = _drawn(latent_preview.get_previewer(model.load_device, latent_format), latents)
        return _drawn(_rgb_previewer(latent_format), latents) if drawn is None else drawn
    except Exception as error:
        logging.warning(f"Diffusion Probe: no previews could be drawn ({type(error).__name__}: {error}).")
        return None


def _drawn(previewer: Any, latents: Tensor) -> Tensor | None:
    """By one previewer; those of other packs may draw while sampling only, and give None here."""
    if previewer is None:
        return None
    given = [previewer.decode_latent_to_preview_image("PNG", latent[None]) for latent in latents]
    if None in given:
        return None
    return torch.stack([torch.from_numpy(np.array(picture)).float() / 255 for _, picture, *_ in given])


def _rgb_previewer(latent_format: Any) -> latent_preview.Latent2RGBPreviewer | None:
    if latent_format.latent_rgb_factors is None:
        return None
    return latent_preview.Latent2RGBPreviewer(
        latent_format.latent_rgb_factors,
        latent_format.latent_rgb_factors_bias,
        latent_format.latent_rgb_factors_reshape,
    )
