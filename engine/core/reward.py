"""Base class of rewards, which say how good a finished image is."""

from abc import ABC, abstractmethod

from torch import Tensor

from .probe import one_number_each
from .skill import Skill
from .texts import plain


class Reward(ABC):
    """Measure of how good finished images are, by a reward model or a ground truth.

    A subclass defines :meth:`score`; the attributes have defaults.

    Attributes:
        label: what the rewards are measured in, for example ``"ImageReward"``. Rewards of different labels
            are never compared.
        reads_prompt: whether the reward depends on the prompt.
        preview_skill: how well the reward of a decoded x0 prediction predicts that of the finished image, at
            each moment. None: not measured.
        previews_skilled: whether previews that the reward scores count as a score with skill, see
            :attr:`Probe.skilled`.
        preview_families: names of the model families whose previews it can score, as ``Features.family``; empty: all.
    """

    label: str = "reward"
    reads_prompt: bool = True
    preview_skill: Skill | None = None
    previews_skilled: bool = True
    preview_families: frozenset[str] = frozenset()

    @abstractmethod
    def score(self, images: Tensor, prompts: list[str]) -> Tensor:
        """Return one number per image, whatever else is in the batch.

        Args:
            images: ``[rows, H, W, 3]`` float in 0 … 1, ComfyUI's IMAGE.
            prompts: one per image, or one for all.

        Returns:
            ``[rows]`` float32 on the CPU, higher is better.

        Raises:
            ValueError: images or prompts that can't be scored.
        """

    def score_previews(self, images: Tensor, prompts: list[str], sigmas: list[float]) -> Tensor:
        """Return one number per decoded x0 prediction of an unfinished run; by default that of a finished image.

        Args:
            images: as for :meth:`score`.
            prompts: as for :meth:`score`.
            sigmas: noise level at which each was predicted, as ``Features.sigma``; 0 for a finished image.

        Raises:
            ValueError: as :meth:`score`.
        """
        return self.score(images, prompts)


def rewards_of(reward: Reward, images: Tensor, prompt: str, sigmas: list[float] | None = None) -> Tensor:
    """Return a reward's score of each image by one prompt, ``[rows]`` float32, and check their shape.

    Args:
        reward: scores the images.
        images: as for :meth:`Reward.score`.
        prompt: the same for all.
        sigmas: noise level of each preview; None for finished images.

    Raises:
        ValueError: the reward returned something else than a number for each image; or as :meth:`Reward.score`.
    """
    prompts = [prompt] * len(images)
    if sigmas is None:
        values = reward.score(images, prompts)
    else:
        values = reward.score_previews(images, prompts, sigmas)
    return one_number_each(f"the reward {plain(reward.label)}", values, len(images), "image")
