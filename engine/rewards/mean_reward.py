"""Mean of several rewards on one scale.

Rewards agree only moderately on which image of a prompt is best (``docs/results/judges.md``). Their mean, each reward
divided by how much it differs between the seeds of a prompt, finds images that most of them like.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..core.probe import one_number_each
from ..core.reward import Reward
from ..core.texts import plain
from .spreads import Scale, measured_on, measured_scale

EQUAL = 1e-9
"""Spread below which the candidates count as equal, so that none gets more or less than the mean."""


class MeanReward(Reward):
    """Mean of several rewards, each in standard deviations between the seeds of a prompt.

    A reward whose spread was measured on real models has the scale of the family and the moment. Another one has
    the scale of the first images of a prompt that are scored together, two or more: in :meth:`for_one_search` those
    of the search, else those of the call.

    Args:
        rewards: two or more with different labels; those of another mean count as the rewards that it is of.

    Raises:
        ValueError: fewer than two rewards, or the same one twice.
    """

    def __init__(self, rewards: Sequence[Reward]):
        self.rewards = tuple(single for reward in rewards for single in _singles(reward))
        labels = [reward.label for reward in self.rewards]
        if len(labels) < 2:
            raise ValueError("one reward is no mean. Connect two or more.")
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise ValueError(f"{plain(twice[0])} is connected twice, and would count double. Connect each reward once.")
        self.family, self.percent = "", 1.0
        self.tflop = sum(reward.tflop for reward in self.rewards)
        self.reads_prompt = any(reward.reads_prompt for reward in self.rewards)
        self.previews_skilled = all(reward.previews_skilled for reward in self.rewards)
        limits = [reward.preview_families for reward in self.rewards if reward.preview_families]
        self.preview_families = frozenset.intersection(*limits) if limits else frozenset()
        self.label = "mean of " + ", ".join(
            label if self._measured(label) else f"{label} (within the candidates)" for label in labels
        )
        self.least_images = 1 if all(self._measured(label) for label in labels) else 2
        self._first: dict[tuple[str, str], Scale] | None = None

    def score(self, images: Tensor, prompts: list[str]) -> Tensor:
        """Score images as :meth:`Reward.score`: 0 is an average image, 1 a standard deviation better.

        Raises:
            ValueError: as any of the rewards; or one of them has no measured scale, and there is only one image.
        """
        prompts = list(prompts) * (len(images) if len(prompts) == 1 else 1)
        return torch.stack([self._standardised(reward, images, prompts) for reward in self.rewards]).mean(0)

    def at(self, family: str, percent: float) -> "MeanReward":
        """Return the mean on the scale of previews of a family at a noise level; see :meth:`Reward.at`."""
        return self._changed(family=family, percent=percent)

    def for_one_search(self) -> "MeanReward":
        """Return the mean with scales that stay the same for all calls; see :meth:`Reward.for_one_search`."""
        return self._changed(_first={})

    def require_readable(self, prompt: str) -> None:
        """Refuse a prompt that one of the rewards can't read; see :meth:`Reward.require_readable`."""
        for reward in self.rewards:
            reward.require_readable(prompt)

    def remarks(self, prompt: str) -> tuple[str, ...]:
        """Return how the rewards were standardised, and their own remarks; see :meth:`Reward.remarks`."""
        labels = [reward.label for reward in self.rewards]
        own = [plain(label) for label in labels if not self._measured(label)]
        sentences = []
        if len(own) < len(labels):
            known = ", ".join(plain(label) for label in labels if self._measured(label))
            sentences.append(f"{known}: standardised by the within-prompt spread of {measured_on()}.")
        if own:
            sentences.append(
                f"{', '.join(own)}: no spread was measured on real models, so the scores are standardised within the "
                "candidates at hand, and don't compare with those of other prompts or searches."
            )
        return (*sentences, *(remark for reward in self.rewards for remark in reward.remarks(prompt)))

    def _changed(self, **values: Any) -> "MeanReward":
        changed = MeanReward(self.rewards)
        vars(changed).update({**vars(self), **values})
        return changed

    def _measured(self, label: str) -> Scale | None:
        return measured_scale(label, self.family, self.percent)

    def _standardised(self, reward: Reward, images: Tensor, prompts: list[str]) -> Tensor:
        """Return one reward's scores ``[rows]``, in its standard deviations from its mean."""
        source, at_moment = f"the reward {plain(reward.label)}", reward.at(self.family, self.percent)
        values = one_number_each(source, at_moment.score(images, prompts), len(images), "image").cpu()
        if not values.isfinite().all():
            raise ValueError(f"{source} gave NaN or infinity, so there is no mean.")
        scaled = torch.empty_like(values)
        for prompt in dict.fromkeys(prompts):
            rows = [row for row, own in enumerate(prompts) if own == prompt]
            scale = self._measured(reward.label) or self._own_scale(reward, prompt, values[rows])
            scaled[rows] = (values[rows] - scale.mean) / scale.spread if scale.spread > EQUAL else 0.0
        return scaled

    def _own_scale(self, reward: Reward, prompt: str, values: Tensor) -> Scale:
        """Return the scale of a reward that was not measured, from the scores of one prompt's images."""
        known = (self._first or {}).get((reward.label, prompt))
        if known is not None:
            return known
        if len(values) < 2:
            raise ValueError(
                f"the spread of {plain(reward.label)} was not measured on real models, so a mean with it needs two or "
                "more images of a prompt at once. Give more images, or take this reward out of Combine Rewards."
            )
        scale = Scale(float(values.mean()), float(values.std(correction=0)))
        if self._first is not None:
            self._first[reward.label, prompt] = scale
        return scale


def _singles(reward: Reward) -> tuple[Reward, ...]:
    return reward.rewards if isinstance(reward, MeanReward) else (reward,)
