"""Combination of a trained probe and previews into one probe: the weights of their mean, and its skill."""

from dataclasses import replace

from ..engine.core.probe import Probe
from ..engine.core.skill import PREVIEW, PREVIEW_SPREAD, combine
from .combined import CombinedProbe
from .preview import PreviewReward
from .probe_card import ProbeCard
from .probe_file import LearnedProbe


def combine_probes(trained: Probe, preview: Probe) -> CombinedProbe:
    """Combine both scores in a mean that is weighed by how well each predicts at a noise level.

    The skill of the trained probe is in its file, that of previews is their reward's ``preview_skill``, or
    else as measured on real FLUX and SDXL.

    Raises:
        ValueError: not a trained probe and a preview reward, different labels, or a file that doesn't hold the
            probe's skill.
    """
    if not isinstance(preview, PreviewReward):
        raise ValueError(f'"preview" is {preview.name}. Connect a preview reward.')
    if not isinstance(trained, LearnedProbe):
        raise ValueError(f'"trained" is {trained.name}. Connect a trained probe, loaded from a file.')
    card, own = trained.card, trained.search_skill
    if own is None or not card.held_out.get("label_spread", 0) > 0:
        raise ValueError(
            f"the file of {trained.name} doesn't say how well it predicts. Train it again with this version."
        )
    spread = tuple(share * card.held_out["label_spread"] for share in PREVIEW_SPREAD)
    weights, skill = combine(own, preview.reward.preview_skill or replace(PREVIEW, spread=spread))
    return CombinedProbe(trained, preview, _percents(card, list(own.progress)), weights, skill)


def _percents(card: ProbeCard, progress: list[float]) -> list[float]:
    """Return the noise levels at which the skill of a trained probe was measured; its file rounds them."""
    try:
        levels = [float(moment.rstrip("%")) / 100 for moment in card.moments]
    except ValueError:
        return progress
    rising = levels == sorted(set(levels)) and all(0 <= level <= 1 for level in levels)
    return levels if rising and len(levels) == len(progress) else progress
