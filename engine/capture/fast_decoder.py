"""Fast decoders of latents: the small autoencoders (TAESD) in ``models/vae_approx``, by ComfyUI's own loader.

A preview decoded so costs a twentieth of a VAE's decode, and no weights are moved to and from the card for it.
"""

import logging
from typing import Any

import folder_paths
import latent_preview
import torch
from comfy.taesd.taesd import TAESD
from torch import Tensor

FOLDER = "vae_approx"


class FastDecoder:
    """Decoder of latents in the VAE's scale to images.

    Args:
        path: file of the small decoder.
        latent_format: of the model.
        device: where it decodes; its weights of 5 MB stay there.
    """

    def __init__(self, path: str, latent_format: Any, device: torch.device):
        self.latent_format, self.device = latent_format, device
        self.dtype = torch.float32 if device.type == "cpu" else torch.float16
        network = TAESD(None, path, latent_channels=latent_format.latent_channels)
        self.network = network.eval().requires_grad_(False).to(device, self.dtype, non_blocking=True)

    @torch.no_grad()
    def __call__(self, latents: Tensor) -> Tensor:
        """Decode ``[rows, channels, height, width]`` to ``[rows, H, W, 3]`` float32 in 0 … 1, on the device."""
        scaled = self.latent_format.process_in(latents.to(self.device, non_blocking=True)).to(self.dtype)
        images = [self.network.decode(row) for row in scaled.split(1)]  # one at a time, so that memory is enough
        return torch.cat(images).float().add(1).div(2).clamp(0, 1).movedim(1, -1)


def decoder_file(latent_format: Any) -> str | None:
    """Return the path of the small decoder for a latent format; None if there is none, or it is for video."""
    name = latent_format.taesd_decoder_name
    if name is None or name in latent_preview.VIDEO_TAES:
        return None
    files = folder_paths.get_filename_list(FOLDER)
    return next((folder_paths.get_full_path(FOLDER, file) for file in files if file.startswith(name)), None)


def is_fast(vae: Any) -> bool:
    """Tell whether a VAE is a small one itself; those of the testbeds are, and no other decodes their latents."""
    return isinstance(getattr(vae, "first_stage_model", None), TAESD)


def fast_decoder(model: Any) -> FastDecoder | None:
    """Return the fast decoder for the latents of a MODEL; None where there is none, or its file can't be read."""
    latent_format = model.get_model_object("latent_format")
    path = decoder_file(latent_format)
    if path is None:
        return None
    try:
        return FastDecoder(path, latent_format, model.load_device)
    except Exception as error:  # of another layout, or damaged
        logging.warning(
            f"Diffusion Probe: previews are decoded by the VAE, because {path} can't be used "
            f"({type(error).__name__}: {error})."
        )
        return None
