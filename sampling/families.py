"""What the capture has to know about each model family: its blocks, and where its tokens lie.

Adding a family is one entry in ``FAMILIES`` and one test that compares its maps with an explicit
softmax.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.model_base

ATTENTION_BLOCKS = 10
"""How many consecutive blocks are recorded (Diffusion Probe, section on layer selection)."""

Block = tuple[str, int]


@dataclass(frozen=True)
class Family:
    """One model family.

    Attributes:
        name: what users call it.
        blocks: the attention blocks of a diffusion model that are recorded, in order of execution.
        block_of: which block an attention call belongs to, from its ``transformer_options``; None
            for a call that is not a block's joint or cross-attention.
        patch_size: side of the latent square that one image token covers.
        text_first: whether q and k hold the text tokens before the image tokens (joint attention).
            False: q holds image tokens only, k text tokens only (cross-attention).
    """

    name: str
    blocks: Callable[[Any], list[Block]]
    block_of: Callable[[dict[str, Any]], Block | None]
    patch_size: Callable[[Any], int]
    text_first: bool


def middle(blocks: list[Block], count: int = ATTENTION_BLOCKS) -> list[Block]:
    """``count`` consecutive blocks around the middle of the stack; all where there are fewer."""
    start = max(0, (len(blocks) - count) // 2)
    return blocks[start : start + count]


def _flux_blocks(diffusion_model: Any) -> list[Block]:
    double = [("double", index) for index in range(len(diffusion_model.double_blocks))]
    single = [("single", index) for index in range(len(diffusion_model.single_blocks))]
    return middle(double + single)


def _dit_block(options: dict[str, Any]) -> Block | None:
    if "block_index" not in options:
        return None
    return options["block_type"], options["block_index"]


FLUX = Family(
    name="FLUX",
    blocks=_flux_blocks,
    block_of=_dit_block,
    patch_size=lambda diffusion_model: diffusion_model.patch_size,
    text_first=True,
)

FAMILIES: dict[type, Family] = {comfy.model_base.Flux: FLUX}


def family_of(model: Any) -> Family:
    """The family of a MODEL.

    Raises:
        ValueError: its class is not in the table. Subclasses don't count: Chroma and FLUX.2 derive
            from ComfyUI's Flux and lay out their tokens differently.
    """
    family = FAMILIES.get(type(model.model))
    if family is None:
        supported = ", ".join(sorted({family.name for family in FAMILIES.values()}))
        raise ValueError(
            f"this MODEL is a {type(model.model).__name__}, whose attention layout is not in the pack's table. "
            f"Supported: {supported}. Connect a model of one of these families."
        )
    return family
