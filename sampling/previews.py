"""Small pictures of what rows look like so far, by ComfyUI's own previewers."""

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
    if previews while sampling are off. None if the model has none.
    """
    latent_format = model.get_model_object("latent_format")
    previewer = latent_preview.get_previewer(model.load_device, latent_format) or _rgb_previewer(latent_format)
    if previewer is None:
        return None
    latents = latent_format.process_in(torch.stack([row.denoised for row in rows])).to(model.load_device)
    pictures = [previewer.decode_latent_to_preview_image("PNG", latent[None])[1] for latent in latents]
    return torch.stack([torch.from_numpy(np.array(picture)).float() / 255 for picture in pictures])


def _rgb_previewer(latent_format: Any) -> latent_preview.Latent2RGBPreviewer | None:
    if latent_format.latent_rgb_factors is None:
        return None
    return latent_preview.Latent2RGBPreviewer(
        latent_format.latent_rgb_factors,
        latent_format.latent_rgb_factors_bias,
        latent_format.latent_rgb_factors_reshape,
    )
