"""Blocks of a diffusion model: those that attend to the text, and the one whose output a probe may read."""

from collections.abc import Callable
from typing import Any

from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample

ACTIVATION_DEPTH = 0.7
"""Depth of the activation in a DiT, as a share of its blocks: between .55 and .88 (Probe-Select)."""

ACTIVATION_STAGE = 3
"""Stage of a UNet's decoder in which the activation is read, or the last one of fewer (Probe-Select)."""

Block = tuple[str | int, ...]
"""Name of a block in ``transformer_options``: ``("double", 3)``, or ``("input", 8, 2)`` in a UNet."""

Sides = dict[Block, int]
"""Blocks in order of execution, each with the side of the square of latent pixels that an image token covers."""

AFTER = "after"
"""Prefix of the kind of a block that is read by the patch that follows it."""


def transformer(**attributes: str) -> Callable[[Any], Sides]:
    """Return a function that lists the blocks of a DiT, from the attribute of the diffusion model for each kind."""

    def stack(diffusion_model: Any) -> Sides:
        counts = {kind: len(getattr(diffusion_model, name)) for kind, name in attributes.items()}
        blocks = [(kind, index) for kind, count in counts.items() for index in range(count)]
        return dict.fromkeys(blocks, diffusion_model.patch_size)

    return stack


def encoder(diffusion_model: Any) -> Sides:
    """List the blocks of a UNet's encoder."""
    blocks: Sides = {}
    side = 1
    for number, layers in enumerate(diffusion_model.input_blocks):
        for layer in layers:
            if isinstance(layer, Downsample):
                side *= 2
            if isinstance(layer, SpatialTransformer):
                blocks |= {("input", number, index): side for index in range(len(layer.transformer_blocks))}
    return blocks


def cross_attention(diffusion_model: Any, block: Block) -> Any:
    """Return the module that attends to the text in one of the blocks that :func:`encoder` lists."""
    _, number, index = block
    transformers = [layer for layer in diffusion_model.input_blocks[number] if isinstance(layer, SpatialTransformer)]
    return transformers[0].transformer_blocks[index].attn2


def at_depth(stack: Callable[[Any], Sides], name: str = "{}_block") -> Callable[[Any], Block]:
    """Return a function that finds the block at ``ACTIVATION_DEPTH`` of a stack; ``name`` formats its kind."""

    def activation(diffusion_model: Any) -> Block:
        blocks = list(stack(diffusion_model))
        kind, index = blocks[round(ACTIVATION_DEPTH * (len(blocks) - 1))]
        return name.format(kind), index

    return activation


def in_decoder(diffusion_model: Any) -> Block:
    """Find the block of a UNet's decoder before the last one of its stage, which adds the details."""
    stages = [count + 1 for count in reversed(diffusion_model.num_res_blocks)]
    return "output", sum(stages[:ACTIVATION_STAGE]) - 1
