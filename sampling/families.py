"""What the capture has to know about each model family: its blocks, and where its tokens lie.

Adding a family is one entry in ``FAMILIES`` and one test that compares its maps with an explicit
softmax.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import comfy.model_base
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample

from ..probe_models.probe import Probe

ATTENTION_BLOCKS = 10
"""How many consecutive blocks are recorded (Diffusion Probe, section on layer selection)."""

ACTIVATION_DEPTH = 0.7
"""Where in a DiT the activation is read, as a share of its blocks: between .55 and .88 (Probe-Select)."""

Block = tuple[str | int, ...]
"""How ``transformer_options`` names a block: ``("double", 3)``, or ``("input", 8, 2)`` in a UNet."""


@dataclass(frozen=True)
class Family:
    """One model family.

    Attributes:
        name: what users call it.
        blocks: the recorded attention blocks of a diffusion model, in order of execution, each with
            the side in latent pixels of the square that one of its image tokens covers.
        activation: the block of a diffusion model whose output a probe may read, as ``transformer_options``
            names it for replacements of a DiT's blocks (``("single_block", 21)``) or while a UNet's
            decoder runs (``("output", 8)``: what enters that block).
        joint: whether text and image tokens attend jointly, the text tokens first (a DiT). False:
            image tokens attend to the text alone, in a UNet's ``attn2``.
    """

    name: str
    blocks: Callable[[Any], dict[Block, int]]
    activation: Callable[[Any], Block]
    joint: bool


def _flux_blocks(diffusion_model: Any) -> dict[Block, int]:
    """Ten in the middle of the whole stack."""
    double = [("double", index) for index in range(len(diffusion_model.double_blocks))]
    single = [("single", index) for index in range(len(diffusion_model.single_blocks))]
    stack = double + single
    start = max(0, (len(stack) - ATTENTION_BLOCKS) // 2)
    return dict.fromkeys(stack[start : start + ATTENTION_BLOCKS], diffusion_model.patch_size)


def _flux_activation(diffusion_model: Any) -> Block:
    """At ``ACTIVATION_DEPTH`` of the whole stack."""
    double, single = len(diffusion_model.double_blocks), len(diffusion_model.single_blocks)
    number = round(ACTIVATION_DEPTH * (double + single - 1))
    return ("double_block", number) if number < double else ("single_block", number - double)


def _unet_blocks(diffusion_model: Any) -> dict[Block, int]:
    """The last ten of the encoder."""
    blocks: dict[Block, int] = {}
    side = 1
    for number, layers in enumerate(diffusion_model.input_blocks):
        for layer in layers:
            if isinstance(layer, Downsample):
                side *= 2
            if isinstance(layer, SpatialTransformer):
                blocks |= {("input", number, index): side for index in range(len(layer.transformer_blocks))}
    return dict(list(blocks.items())[-ATTENTION_BLOCKS:])


def _unet_activation(diffusion_model: Any) -> Block:
    """In the last stage of the decoder, whose last block adds the details."""
    return ("output", len(diffusion_model.output_blocks) - 1)


FLUX = Family(name="FLUX", blocks=_flux_blocks, activation=_flux_activation, joint=True)
SDXL = Family(name="SDXL", blocks=_unet_blocks, activation=_unet_activation, joint=False)

FAMILIES: dict[type, Family] = {comfy.model_base.Flux: FLUX, comfy.model_base.SDXL: SDXL}


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


def unread_family(name: str) -> Family:
    """The entry of a model of which nothing but its x0 prediction is captured, whatever it is."""
    return Family(name, blocks=lambda model: {}, activation=lambda model: (), joint=False)


def block_names(blocks: Iterable[Block]) -> tuple[str, ...]:
    """Blocks as features and probe files name them: ``"double 3"``."""
    return tuple(" ".join(map(str, block)) for block in blocks)


def require_fit(probe: Probe, model: Any) -> None:
    """Refuse a probe that was trained for other models.

    Args:
        probe: one without ``family`` and ``blocks`` fits every model.
        model: a MODEL of a supported family.

    Raises:
        ValueError: another family, or the model has not all of the blocks.
    """
    trained_for = getattr(probe, "family", None)
    if trained_for is None:
        return
    family = family_of(model)
    if trained_for != family.name:
        raise ValueError(
            f"the probe “{probe.name}” was trained for {trained_for}, and this MODEL is {family.name}. Connect a "
            f"{trained_for} model, a probe that was trained for {family.name}, or Attention Focus."
        )
    there = block_names(family.blocks(model.model.diffusion_model))
    missing = [block for block in probe.blocks if block not in there]
    if missing:
        raise ValueError(
            f"the probe “{probe.name}” reads layers that are not captured of this {family.name} MODEL: "
            f"{', '.join(missing)}. Captured are: {', '.join(there)}. "
            "Connect the model that it was trained for, another probe, or Attention Focus."
        )
