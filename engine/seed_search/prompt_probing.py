"""Probing of a prompt: a few seeds of it are sampled for the first steps, and scored there."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..capture.attach import attach_probe
from ..capture.prompt.sampled_text import KEY as TEXT_KEY
from ..capture.read import score_with_previews
from ..core.probe import Probe
from ..runs.seeds import use_seeds
from .candidates import single_latent
from .ready import ready_to_score

Settings = tuple[int, float, str, str]
"""Steps, cfg, sampler and scheduler, as of KSampler."""


def ready_probe(model: Any, probe: Probe, prompt: str, latent: dict[str, Any]) -> Probe:
    """Return a probe that scores all wordings of a prompt by the prompt itself.

    Args:
        prompt: what the images should show.
        latent: the LATENT that every seed starts from.

    Raises:
        ValueError: the probe can't score; see :meth:`Probe.require_ready`.
    """
    ready, _ = ready_to_score(model, probe, None, [[None, {TEXT_KEY: prompt}]], latent, ())
    return ready


def probed(
    model: Any,
    probe: Probe,
    positive: list,
    negative: list,
    latent: dict[str, Any],
    seeds: Sequence[int],
    settings: Settings,
    cut: int,
) -> tuple[tuple[float, ...], Tensor | None]:
    """Sample seeds of a prompt together to a step, and return their scores there and a picture of each.

    Args:
        cut: the step, before the last one.

    Returns:
        The scores in the order of the seeds; pictures ``[rows, H, W, 3]`` float 0 to 1, None if there are none.

    Raises:
        ValueError: the latent has several rows, the model brings a probe of its own, or the probe can't score.
    """
    import nodes  # ComfyUI's, which is there once a prompt runs

    samples = single_latent(latent)
    rows = {**latent, "samples": samples.repeat(len(seeds), *[1] * (samples.ndim - 1))}
    rows.pop("batch_index", None)
    attached = attach_probe(use_seeds(model, list(seeds)), probe, f"step {cut}")
    steps, cfg, sampler, scheduler = settings
    (sampled,) = nodes.common_ksampler(
        attached, seeds[0], steps, cfg, sampler, scheduler, positive, negative, rows, start_step=0, last_step=cut
    )
    scores, pictures, _ = score_with_previews(attached, sampled)
    return tuple(scores.values), pictures
