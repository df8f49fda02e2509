"""Rows of a LATENT: keys by their content, and selections of rows."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

SMALL = 8
"""Height and width of a latent that is decoded to see whether it can be."""


def row_keys(samples: Tensor) -> list[bytes]:
    """Return a key per row of a latent that depends on the row's content only.

    Rows are compared in half precision, because sampler nodes differ in the precision of their result with
    ``--fp16-intermediates``.
    """
    rows = samples.detach().to(device="cpu", dtype=torch.float16).contiguous()
    return [hashlib.blake2b(row.view(torch.uint8).numpy().tobytes(), digest_size=16).digest() for row in rows]


def small_row(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of one small row, ``[channels, …, height, width]``, of latents of a shape ``[rows, …]``."""
    return (*shape[1:-2], *(min(SMALL, side) for side in shape[-2:]))


def image_size(model: Any, samples: Tensor) -> tuple[int, int]:
    """Return height and width in pixels of the images that latents ``[rows, …, h, w]`` of a MODEL stand for."""
    scale = getattr(model.get_model_object("latent_format"), "spacial_downscale_ratio", 8)
    height, width = samples.shape[-2:]
    return height * scale, width * scale


def keep_rows(latent: dict[str, Any], rows: Sequence[int]) -> dict[str, Any]:
    """Return some rows of a LATENT as a new LATENT, in the order of ``rows``.

    ``noise_mask`` and ``batch_index`` follow their rows, as in ComfyUI's Latent From Batch.

    Raises:
        ValueError: no row, or a row that the latent doesn't have.
    """
    samples = latent["samples"]
    count = samples.shape[0]
    if not rows or min(rows) < 0 or max(rows) >= count:
        raise ValueError(f"rows {list(rows)} of a latent of {count}; accepted are 0 to {count - 1}")
    index = torch.tensor(list(rows))
    kept = latent.copy()
    kept["samples"] = samples[index.to(samples.device)]
    mask = latent.get("noise_mask")
    if mask is not None and mask.shape[0] > 1:
        kept["noise_mask"] = mask[index.to(mask.device) % mask.shape[0]]
    batch_index = latent.get("batch_index", range(count))
    kept["batch_index"] = [batch_index[row] for row in rows]
    return kept
