"""Base class of rewards, which say how good a finished image is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from .probe import one_number_each
from .skill import Skill
from .texts import plain


class Reward(ABC):
    """Measure of how good finished images are, by a reward model or a ground truth.

    A subclass defines :meth:`score`; the attributes and the other methods have defaults.

    Attributes:
        label: what the rewards are measured in, for example ``"ImageReward"``. Rewards of different labels
            are never compared.
        reads_prompt: whether the reward depends on the prompt.
        preview_skill: how well the reward of a decoded x0 prediction predicts that of the finished image, at
            each moment. None: not measured.
        any_device: whether it scores images where they are, each as if it were alone.
        previews_skilled: whether previews that the reward scores count as a score with skill, see
            :attr:`Probe.skilled`.
        least_images: how many images of a prompt have to be scored together, 1 but for a reward that compares them.
        tflop: operations for one image, in TFLOP.
        preview_families: names of the model families whose previews it can score, as ``Features.family``; empty: all.
    """

    label: str = "reward"
    reads_prompt: bool = True
    preview_skill: Skill | None = None
    any_device: bool = False
    previews_skilled: bool = True
    least_images: int = 1
    tflop: float = 0.0
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

    def score_in_place(self, images: Tensor, prompts: list[str]) -> Tensor:
        """Return :meth:`score` on the device that computes it, where numbers may be NaN: nothing waits for them."""
        return self.score(images, prompts)

    def at(self, family: str, percent: float) -> "Reward":
        """Return the reward for x0 predictions of one model family at one noise level.

        Args:
            family: as ``Features.family``; empty if it isn't known.
            percent: as ``Features.percent``; 1 for finished images, which is where a reward starts.
        """
        return self

    def for_one_search(self) -> "Reward":
        """Return a reward whose scores compare between all calls of one search, whatever it learns from the first."""
        return self

    def require_readable(self, prompt: str) -> None:
        """Refuse a prompt that images can't be scored by.

        Raises:
            ValueError: the reward reads prompts, and this one is empty or says nothing that it knows.
        """
        if self.reads_prompt and not prompt.strip():
            raise ValueError(
                "the prompt is empty, so images can't be scored by it. "
                "Write or connect the text that CLIP Text Encode gets."
            )

    def remarks(self, prompt: str) -> tuple[str, ...]:
        """Return sentences that the user should read about scores by a prompt, such as what of it is not read."""
        return ()


def rewards_of(reward: Reward, images: Tensor, prompts: str | Sequence[str], in_place: bool = False) -> Tensor:
    """Return a reward's score of each image, ``[rows]`` float32, and check their shape.

    Args:
        prompts: one for all images, or one per image.
        in_place: return :meth:`Reward.score_in_place`.

    Raises:
        ValueError: the reward returned something else than a number for each image; or as :meth:`Reward.score`.
    """
    each = [prompts] * len(images) if isinstance(prompts, str) else list(prompts)
    values = (reward.score_in_place if in_place else reward.score)(images, each)
    return one_number_each(f"the reward {plain(reward.label)}", values, len(images), "image")
