"""Output of one block at the image tokens, in one evaluation."""

from typing import Any
from uuid import UUID

import torch
from torch import Tensor

from ...core.features import halved, on_grid, project_channels
from .families import Family
from .maps import other_tokens

NO_ACTIVATION = (
    "no conditioning covers the whole image, or a cache or another pack passed the block over whose output is read"
)


class ActivationMaps:
    """Capture of the activation of each conditioning entry that covers the whole latent.

    Args:
        family: of the model.
        diffusion_model: the model itself.
        conds: the entries whose activations are captured, as the guider processed them.
        height, width: of the latent.
        projection: ``[kept channels, channels]``, applied to each token; None keeps all channels.

    Attributes:
        block: the block whose output is captured, as :attr:`Family.activation` names it.
        captured: ``[rows, channels, height, width]`` float16 by entry.
        why: the reason why none could be captured; empty if none had to be refused.
    """

    def __init__(
        self,
        family: Family,
        diffusion_model: Any,
        conds: list[dict[str, Any]],
        height: int,
        width: int,
        projection: Tensor | None = None,
    ):
        self.block = family.activation(diffusion_model)
        self.wanted = {cond["uuid"] for cond in conds if "area" not in cond}
        self.height, self.width = height, width
        self.side = getattr(diffusion_model, "patch_size", 1)
        self.filled_to = getattr(diffusion_model, "pad_tokens_multiple", None) or 1
        self.projection = projection
        self.captured: dict[UUID, Tensor] = {}
        self.why = ""

    def lacks(self, uuid: UUID) -> bool:
        """Return whether an entry has no activation yet. Of several passes through the block the first is captured."""
        return uuid in self.wanted and uuid not in self.captured

    def refuse(self, why: str) -> None:
        """Note why no activation can be captured; the first reason counts."""
        self.why = self.why or why

    def clear(self) -> None:
        """Release all activations."""
        self.captured.clear()

    def capture_tokens(self, uuid: UUID, tokens: Tensor, references: int = 0) -> None:
        """Capture the image tokens of one entry's ``[rows, tokens, channels]``, which come first.

        Args:
            references: number of tokens of reference images that may follow; the image may be padded at its end.
        """
        high, wide = -(-self.height // self.side), -(-self.width // self.side)
        filled = -(-high * wide // self.filled_to) * self.filled_to
        if tokens.shape[1] not in (high * wide, filled, high * wide + references):
            self.refuse(other_tokens(tokens.shape[1], high * wide))
            return
        self.capture(uuid, tokens[:, : high * wide].unflatten(1, (high, wide)).movedim(-1, 1))

    def capture(self, uuid: UUID, images: Tensor) -> None:
        """Capture one entry's ``[rows, channels, height, width]``."""
        if self.projection is not None and images.shape[1] != self.projection.shape[1]:
            self.refuse(
                f"the probe reads activations of {self.projection.shape[1]} channels, and this model's block gives "
                f"{images.shape[1]}. Connect the model that the probe was trained for"
            )
            return
        small = on_grid(images.detach().float())
        if self.projection is not None:
            small = project_channels(small, self.projection)
        self.captured[uuid] = halved(small)

    def image(self) -> Tensor | None:
        """Return the mean over the entries, ``[rows, channels, height, width]`` float16; None without any."""
        if not self.captured:
            return None
        return torch.stack(list(self.captured.values())).float().mean(0).half()
