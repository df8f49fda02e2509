"""Table of the model families that can be captured: their blocks, and the layout of their tokens.

Adding a family is one entry in ``FAMILIES``, a small model of it in ``dev/random_models.py`` and
one line in each table of ``tests/comfy/test_families_*.py``.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import comfy.model_base
import comfy.supported_models

from ...core.features import ACTIVATION, DENOISED
from ...core.probe import Probe
from .stacks import AFTER, Block, Sides, at_depth, encoder, in_decoder, transformer
from .tokens import Layout, image_text_llama, padded_text_image, text_image, text_is_keys

ATTENTION_BLOCKS = 10
"""Number of consecutive blocks that are captured (Diffusion Probe, section on layer selection)."""

CROSS = "cross-attention"
NAMED = "named in transformer_options"
REPLACED = "named by a replacement of each block"
COUNTED = "named by their order"


@dataclass(frozen=True)
class Family:
    """Model family.

    Attributes:
        name: name for users.
        model: ComfyUI's class of its models; subclasses lay out their tokens differently.
        stack: returns all attention blocks of a diffusion model.
        layout: returns the positions of the tokens in an attention call.
        activation: returns the block of a diffusion model whose output a probe may read: of a DiT, as
            ``transformer_options`` names it for replacements (``("single_block", 21)``) or, where blocks
            can't be replaced, for the patch that follows each (``("after double_block", 21)``); of a UNet's
            decoder, the block whose input is read (``("output", 8)``). None: ComfyUI gives no access to it.
        identified: how the block of an attention call is identified. ``CROSS``: the call is a UNet's ``attn2``.
            Else it passes through ComfyUI's attention call: a replacement of the block names it and the length of
            its text (``REPLACED``); or, where blocks can't be replaced, it is ``NAMED`` in
            ``transformer_options``, or the calls have to be ``COUNTED``.
        config: ComfyUI's class of the model's configuration, where families share the class of the model.
        at_end: whether the last blocks are captured, instead of those in the middle.
        moment: default moment, a fraction of the noise range.
    """

    name: str
    model: type
    stack: Callable[[Any], Sides]
    layout: Layout
    activation: Callable[[Any], Block] | None
    identified: str
    config: type | None = None
    at_end: bool = False
    moment: float = 0.2

    def blocks(self, diffusion_model: Any) -> Sides:
        """Return the captured blocks of a diffusion model: ten that follow each other."""
        stack = list(self.stack(diffusion_model).items())
        start = max(0, len(stack) - ATTENTION_BLOCKS)
        if not self.at_end:
            start //= 2
        return dict(stack[start : start + ATTENTION_BLOCKS])


def _dit(name: str, model: type, **blocks: str) -> Family:
    """Return a family of DiTs, whose blocks can be replaced in ComfyUI."""
    stack = transformer(**blocks)
    return Family(name, model, stack, text_image, at_depth(stack), REPLACED)


def _unet(name: str, model: type, config: type | None = None) -> Family:
    return Family(name, model, encoder, text_is_keys, in_decoder, CROSS, config, at_end=True)


def _lumina(name: str, config: type) -> Family:
    stack = transformer(double="layers")
    activation = at_depth(stack, AFTER + " {}_block")
    return Family(name, _base.Lumina2, stack, padded_text_image, activation, NAMED, config)


_base, _config = comfy.model_base, comfy.supported_models

FLUX = _dit("FLUX", _base.Flux, double="double_blocks", single="single_blocks")

FAMILIES = (
    FLUX,
    _dit("FLUX.2", _base.Flux2, double="double_blocks", single="single_blocks"),
    _dit("Chroma", _base.Chroma, double="double_blocks", single="single_blocks"),
    _dit("SD3.5", _base.SD3, double="joint_blocks"),
    _dit("Qwen-Image", _base.QwenImage, double="transformer_blocks"),
    _lumina("Z-Image", _config.ZImage),
    _lumina("Lumina 2", _config.Lumina2),
    Family(
        name="HiDream",
        model=_base.HiDream,
        stack=transformer(double="double_stream_blocks", single="single_stream_blocks"),
        layout=image_text_llama,
        activation=None,
        identified=COUNTED,
    ),
    _unet("SDXL", _base.SDXL),
    _unet("SD1.5", _base.BaseModel, _config.SD15),
)

VIDEO = frozenset(
    ["WAN21", "HunyuanVideo", "LTXV", "LTXAV", "GenmoMochi", "CosmosVideo", "CogVideoX", "SVD_img2vid", "Kandinsky5"]
    + ["MiniMaxH3", "SeedVR2"]
)
"""Names of ComfyUI's classes of video models; not every version has all."""

NO_IMAGES = frozenset(
    ["StableAudio1", "StableAudio3", "ACEStep", "ACEStep15", "Hunyuan3Dv2", "Hunyuan3Dv2_1", "TripoSplat"]
)
"""Names of ComfyUI's classes of models that make sound or shapes."""

IMAGES_TOO = frozenset(["Kandinsky5Image"])
"""Names of classes that derive from a video model and make images."""


def find_family(model: Any) -> Family | None:
    """Return the family of a MODEL, None if it is not in the table."""
    kind, config = type(model.model), type(getattr(model.model, "model_config", None))
    return next((f for f in FAMILIES if kind is f.model and f.config in (None, config)), None)


def family_of(model: Any) -> Family:
    """Return the family of a MODEL.

    Raises:
        ValueError: it is not in the table.
    """
    require_images(model)
    family = find_family(model)
    if family is None:
        raise ValueError(
            f"this MODEL is a {type(model.model).__name__}, whose attention layout is not in the pack's table. "
            f"Supported: {_supported()}. Connect a model of one of these families, or a probe that reads the "
            "preview alone, such as a preview reward, which works with every model that makes images."
        )
    return family


def require_images(model: Any) -> None:
    """Refuse a MODEL that makes something else than images.

    Raises:
        ValueError: it makes videos, sound or shapes.
    """
    kinds = {kind.__name__ for kind in type(model.model).__mro__}
    if kinds & IMAGES_TOO or not kinds & (VIDEO | NO_IMAGES):
        return
    made = "videos" if kinds & VIDEO else "sound or shapes"
    raise ValueError(
        f"this MODEL is a {type(model.model).__name__}, which makes {made}, and probes read images. "
        f"Supported: {_supported()}. The step cache works with this MODEL."
    )


def _supported() -> str:
    return ", ".join(family.name for family in FAMILIES)


def family_for(needs: Collection[str], model: Any) -> Family:
    """Return the family of a MODEL by which features in ``needs`` are captured.

    The x0 prediction can be captured from every model that makes images, all else from families of the table.

    Raises:
        ValueError: the model is not in the table, and more than x0 is needed.
    """
    if set(needs) - {DENOISED}:
        return family_of(model)
    known = find_family(model)
    return known or Family(type(model.model).__name__, object, lambda model: {}, lambda call: None, None, CROSS)


def block_names(blocks: Iterable[Block]) -> tuple[str, ...]:
    """Return the names of blocks in features and probe files: ``"double 3"``."""
    return tuple(" ".join(map(str, block)) for block in blocks)


def require_fit(probe: Probe, model: Any) -> None:
    """Refuse a probe that was trained for other models, or needs what can't be captured.

    Args:
        probe: one without ``family`` and ``blocks`` fits every model.
        model: a MODEL of a supported family, if the probe reads more than x0.

    Raises:
        ValueError: another family, or the model has not all of the blocks, or shows no activation.
    """
    if ACTIVATION in probe.needs and family_of(model).activation is None:
        raise ValueError(
            f'the probe "{probe.name}" reads an activation, and ComfyUI gives no access to those of '
            f"{family_of(model).name}. Connect a probe that reads attention or previews."
        )
    known = find_family(model)
    if probe.families and (known is None or known.name not in probe.families):
        raise ValueError(
            f'the probe "{probe.name}" scores by {probe.label}, which knows the noise levels of '
            f"{' and '.join(sorted(probe.families))} alone, and this MODEL is "
            f"{known.name if known else 'a ' + type(model.model).__name__}. Connect another reward model, such as "
            "PickScore."
        )
    if probe.family is None:
        return
    family = family_of(model)
    if probe.family != family.name:
        raise ValueError(
            f'the probe "{probe.name}" was trained for {probe.family}, and this MODEL is {family.name}. Connect a '
            f"{probe.family} model, a probe that was trained for {family.name}, or one without training."
        )
    there = block_names(family.blocks(model.model.diffusion_model))
    missing = [block for block in probe.blocks if block not in there]
    if missing:
        raise ValueError(
            f'the probe "{probe.name}" reads layers that are not captured of this {family.name} MODEL: '
            f"{', '.join(missing)}. Captured are: {', '.join(there)}. "
            "Connect the model that it was trained for, or another probe."
        )
