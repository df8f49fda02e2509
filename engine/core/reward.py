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
    """

    label: str = "reward"
    reads_prompt: bool = True
    preview_skill: Skill | None = None

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


def rewards_of(reward: Reward, images: Tensor, prompt: str) -> Tensor:
    """Return a reward's score of each image by one prompt, ``[rows]`` float32, and check their shape.

    Raises:
        ValueError: the reward returned something else than a number for each image; or as :meth:`Reward.score`.
    """
    values = reward.score(images, [prompt] * len(images))
    return one_number_each(f"the reward {plain(reward.label)}", values, len(images), "image")
