"""A trained probe and previews that are judged by a reward model, as one probe."""

from dataclasses import asdict, replace
from typing import Any

from ..engine.core.skill import PREVIEW, PREVIEW_SPREAD, Skill, combine
from .combined import CombinedProbe
from .preview import PreviewReward


def combine_probes(trained: Any, preview: PreviewReward) -> CombinedProbe:
    """The mean of both scores, weighed by how well each predicts at a noise level.

    How well the trained probe does is in its file; previews count as they were measured with their judge
    (its ``preview_skill``, the fields of ``Skill``), or else as on real FLUX and SDXL.

    Raises:
        ValueError: not a trained probe and a Preview Reward, of different labels, or a file that doesn't say
            what is needed.
    """
    if not isinstance(preview, PreviewReward):
        raise ValueError(f"“preview” is {preview.name}. Connect Preview Reward.")
    card = getattr(trained, "card", None)
    if card is None:
        raise ValueError(f"“trained” is {trained.name}. Connect Load Probe.")
    if not card.search_skill or not card.held_out.get("label_spread", 0) > 0:
        raise ValueError(
            f"the file of {trained.name} doesn't say how well it predicts. Train it again with this version."
        )
    own, judged = Skill(**card.search_skill), getattr(preview.judge, "preview_skill", None)
    spread = tuple(share * card.held_out["label_spread"] for share in PREVIEW_SPREAD)
    weights, skill = combine(own, Skill(**judged) if judged else replace(PREVIEW, spread=spread))
    return CombinedProbe(trained, preview, _percents(card), weights, asdict(skill))


def _percents(card: Any) -> list[float]:
    """Noise levels at which the skill of a trained probe was measured; its file rounds them."""
    progress = list(card.search_skill["progress"])
    try:
        levels = [float(moment.rstrip("%")) / 100 for moment in card.moments]
    except ValueError:
        return progress
    rising = levels == sorted(set(levels)) and all(0 <= level <= 1 for level in levels)
    return levels if rising and len(levels) == len(progress) else progress
