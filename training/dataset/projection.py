"""Projection of activations to few channels, which a dataset and the probes trained on it hold.

Probe-Select's released code takes a singular value decomposition of each sample, whose signs and order
are arbitrary. Here all samples have one projection: the principal axes of the first activations that are recorded.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from .header import HEADER
from .writing import PROJECTION, write_once

CHANNELS = 48
"""Number of channels that are kept, as in Probe-Select."""


def fit_projection(activations: Tensor, channels: int = CHANNELS) -> Tensor:
    """Compute the principal axes of activations, scaled to unit variance.

    Args:
        activations: ``[rows, channels, height, width]``.
        channels: number of axes; all if the activations have fewer.

    Returns:
        float32 ``[axes, channels]``, by falling variance; the largest entry of each axis is positive.
    """
    tokens = activations.float().movedim(1, -1).flatten(0, -2)
    variance, axes = torch.linalg.eigh(torch.cov(tokens.T).double())
    variance, axes = variance.flip(0)[:channels], axes.flip(1)[:, :channels].T
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return (axes * largest.sign() / variance.clamp(min=1e-8).sqrt()[:, None]).float()


def reprojection(kept: Tensor, wanted: Tensor) -> tuple[Tensor, float]:
    """Compute what turns activations that one projection shortened into those of another, as well as they tell.

    Args:
        kept: the projection that shortened them, ``[axes, channels]``.
        wanted: the other one, ``[other axes, channels]``.

    Returns:
        ``[other axes, axes]``, and the share of the wanted axes that the kept ones span, 0 … 1: their mean squared
        cosine. What lies across them is lost, and counts as its mean, 0.

    Raises:
        ValueError: they are of models of different width.
    """
    if kept.shape[1] != wanted.shape[1]:
        raise ValueError(f"one is for {kept.shape[1]} channels, and the other for {wanted.shape[1]}")
    axes = torch.linalg.qr(kept.double().T).Q  # the channels' directions that are kept
    directions = torch.nn.functional.normalize(wanted.double(), dim=1)
    matrix = wanted.double() @ torch.linalg.pinv(kept.double())
    return matrix.float(), float((directions @ axes).square().sum(1).mean())


def dataset_projection(folder: Path) -> Tensor | None:
    """Read the projection of a dataset, None where nothing was recorded yet.

    Raises:
        ValueError: it is damaged or missing.
    """
    path = folder / PROJECTION
    if not path.exists():
        if (folder / HEADER).exists() and not path.exists():  # not written a moment ago, between the two looks
            raise ValueError(
                f"{path} is missing, without which the activations of this dataset can't be read or added to. "
                "Copy it again from where it was recorded."
            )
        return None
    try:
        projection = load_file(path)["activation"]
    except (SafetensorError, KeyError) as error:
        raise _damaged(path, error) from error
    if projection.ndim != 2 or 0 in projection.shape or not projection.is_floating_point():
        raise _damaged(path, f"it has the shape {list(projection.shape)} of {projection.dtype}")
    projection = projection.float()
    if not projection.isfinite().all():
        raise _damaged(path, "it holds NaN or infinity")
    return projection


def keep_projection(folder: Path, fitted: Tensor) -> Tensor:
    """Write the projection of a dataset unless it has one, and return the one that it has now.

    Of several processes that do so at once, all get what the first of them wrote.

    Raises:
        ValueError: the dataset's projection is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_once(folder / PROJECTION, save({"activation": fitted}))
    return dataset_projection(folder)


def require_width(projection: Tensor, folder: Path, channels: int) -> None:
    """Refuse activations of another width than those that a dataset was recorded with.

    Raises:
        ValueError: the widths differ; the message says what to do.
    """
    if channels != projection.shape[1]:
        raise ValueError(
            f"the dataset {folder} was recorded with a model of width {projection.shape[1]}, and this one has "
            f"{channels}. One dataset is of one model: record into another folder."
        )


def _damaged(path: Path, why: object) -> ValueError:
    return ValueError(f"{path} is damaged ({why}). Copy it again from where it was recorded.")
