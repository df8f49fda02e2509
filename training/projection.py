"""The fixed projection of activations to few channels, which a dataset holds and a probe file brings along.

Probe-Select's released code takes a singular value decomposition of each sample, whose signs and order
are arbitrary; here it is one for all, the principal axes of the first activations that are recorded.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from .dataset import HEADER
from .writing import PROJECTION, write_once

CHANNELS = 48
"""As in Probe-Select."""


def fit_projection(activations: Tensor, channels: int = CHANNELS) -> Tensor:
    """Principal axes of activations, scaled to unit variance.

    Args:
        activations: ``[rows, channels, height, width]``.
        channels: how many axes; all if the activations have fewer.

    Returns:
        float32 ``[axes, channels]``, by falling variance; of each axis the largest entry is positive.
    """
    tokens = activations.float().movedim(1, -1).flatten(0, -2)
    variance, axes = torch.linalg.eigh(torch.cov(tokens.T).double())
    variance, axes = variance.flip(0)[:channels], axes.flip(1)[:, :channels].T
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return (axes * largest.sign() / variance.clamp(min=1e-8).sqrt()[:, None]).float()


def dataset_projection(folder: Path, activations: Tensor | None = None) -> Tensor | None:
    """The projection of a dataset; fitted to ``activations`` and kept, if it has none yet.

    Several processes may come first at once: all get what the first of them kept.

    Raises:
        ValueError: the activations have another number of channels, or what was kept is damaged or gone.
    """
    path = folder / PROJECTION
    if not path.exists():
        if (folder / HEADER).exists() and not path.exists():  # not written a moment ago, between the two looks
            raise ValueError(
                f"{path} is missing, without which the activations of this dataset can't be read or added to. "
                "Copy it again from where it was recorded."
            )
        if activations is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        write_once(path, save({"activation": fit_projection(activations)}))
    try:
        projection = load_file(path)["activation"]
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}). Copy it again from where it was recorded.") from error
    if activations is not None and activations.shape[1] != projection.shape[1]:
        raise ValueError(
            f"the dataset {folder} was recorded with a model of width {projection.shape[1]}, and this one has "
            f"{activations.shape[1]}. One dataset is of one model: record into another folder."
        )
    return projection
