"""Reward model under ComfyUI's model management: loaded to score, unloaded when others need the memory."""

import comfy.model_management
import comfy.model_patcher
import torch
from torch import Tensor, nn

from ..core.look_prices import OTHER_REWARD
from ..core.reward import Reward
from ..core.texts import quoted
from .pixels import View
from .word_ids import Words

CHUNK = 8
"""Number of images that go through the network together."""

MEMORY_PER_IMAGE = 64 * 2**20
"""Estimate in bytes for the largest model, ViT-H. A layer holds about ten float32 tensors of 257 tokens × 5120
channels."""


class RewardModel(Reward):
    """Reward from a network.

    Weights stay in the precision of the file and the arithmetic is float32 on every device, so that an
    image has the same score on each.

    Args:
        label: as :attr:`Reward.label`.
        network: ``network(pixels, ids)`` returns scores ``[rows]``.
        size: height and width of ``pixels``.
        view: converts images to pixels.
        words: tokenizer of prompts. None: the network doesn't read the prompt.

    Attributes:
        notes: sentences for the user on how it was loaded.
    """

    any_device, tflop = True, OTHER_REWARD

    def __init__(self, label: str, network: nn.Module, size: int, view: View, words: Words | None):
        self.label = label
        self.size, self.view, self.words = size, view, words
        self.reads_prompt = words is not None
        self.notes: tuple[str, ...] = ()
        self.patcher = comfy.model_patcher.CoreModelPatcher(
            network.eval().requires_grad_(False),
            load_device=comfy.model_management.text_encoder_device(),
            offload_device=comfy.model_management.text_encoder_offload_device(),
        )

    def require_readable(self, prompt: str) -> None:
        """Refuse a prompt that is empty or of which no word is known; see :meth:`Reward.require_readable`."""
        super().require_readable(prompt)
        if self.words is not None and not self.words.knows(prompt):
            raise ValueError(
                f"{self.label} knows no word of the prompt {quoted(prompt, 60)}. Write an English one into "
                '"prompt", or choose another reward.'
            )

    def remarks(self, prompt: str) -> tuple[str, ...]:
        """Return the notes, and whether the end of a prompt is not read; see :meth:`Reward.remarks`."""
        count = self.words.count(prompt) if self.words is not None else 0
        if self.words is None or count <= self.words.most:
            return self.notes
        return (
            *self.notes,
            f"{self.label} reads the first {self.words.most} tokens of a prompt, and this one has {count}: what its "
            "end says doesn't count.",
        )

    def score(self, images: Tensor, prompts: list[str]) -> Tensor:
        """Score images as :meth:`Reward.score`; an alpha channel is dropped.

        Raises:
            ValueError: no images, tensors that are no images, or another number of prompts; or NaN came out.
        """
        scores = self.score_in_place(images, prompts).cpu()
        if not scores.isfinite().all():
            raise ValueError(f"{self.label} gave NaN or infinity: its file is damaged. Get it again.")
        return scores

    @torch.no_grad()
    def score_in_place(self, images: Tensor, prompts: list[str]) -> Tensor:
        """Score images on the network's device; see :meth:`Reward.score_in_place`.

        Raises:
            ValueError: as :meth:`score`, but not for NaN.
        """
        return self._scores(images, prompts)

    def _scores(self, images: Tensor, prompts: list[str], *more: Tensor) -> Tensor:
        """Score images; ``more`` is what the network takes after pixels and ids, ``[rows, …]`` each."""
        if images.ndim != 4 or images.shape[-1] not in (3, 4) or len(images) == 0:
            raise ValueError(f"{self.label} scores images [rows, height, width, 3], not {list(images.shape)}.")
        if images.device.type == "cpu" and not images.isfinite().all():  # elsewhere that would wait for the device
            raise ValueError(f"{self.label}: the images hold NaN or infinity. Try the VAE in fp32 (--fp32-vae).")
        if len(prompts) not in (1, len(images)):
            raise ValueError(f"{len(images)} images but {len(prompts)} prompts; give one per image, or one for all.")
        prompts = prompts if len(prompts) == len(images) else prompts * len(images)
        comfy.model_management.load_models_gpu(
            [self.patcher], memory_required=min(CHUNK, len(images)) * MEMORY_PER_IMAGE
        )
        chunks = [
            self._chunk(images[rows], prompts[rows], *(values[rows] for values in more))
            for rows in (slice(first, first + CHUNK) for first in range(0, len(images), CHUNK))
        ]
        return torch.cat(chunks)

    def _chunk(self, images: Tensor, prompts: list[str], *more: Tensor) -> Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        device = self.patcher.load_device
        pixels = self.view(images, self.size).to(device, non_blocking=True)
        ids = self.words(prompts).to(device, non_blocking=True) if self.words else None
        return self.patcher.model(pixels, ids, *(values.to(device, non_blocking=True) for values in more)).float()
