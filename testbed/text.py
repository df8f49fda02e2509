"""Text encoders of the testbed: ComfyUI's own CLIP classes with small text transformers, one for FLUX, two for SDXL.

The tokenizer is the real CLIP one (49 408 tokens), of which prompts use about thirty. Training and
the shipped file hold only those rows of the token tables; ``build_clip`` lays them out as full
tables, every other token taking the unknown row, which training substitutes for words at random, so
it means "some word or other".
"""

import json
from dataclasses import dataclass
from typing import Any

import comfy.sd
import comfy.sd1_clip
import comfy.sdxl_clip
import comfy.supported_models_base
import torch

MAX_TOKENS = 32
WIDTH = 64
VOCABULARY_SIZE = 49408
END_TOKEN = 49407
TABLE = "text_model.embeddings.token_embedding.weight"


def _config(width: int, layers: int, activation: str) -> dict[str, Any]:
    """Return the configuration of one of ComfyUI's CLIP text models."""
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": 2,
        "intermediate_size": 4 * width,
        "hidden_act": activation,
        "max_position_embeddings": MAX_TOKENS,
        "eos_token_id": END_TOKEN,
    }


class FluxClip(comfy.sd1_clip.SD1ClipModel):
    """CLIP-L alone, with the projected pooled output that FLUX reads."""

    def __init__(self, device="cpu", dtype=None, model_options: dict | None = None) -> None:
        layers = comfy.sd1_clip.SDClipModel
        super().__init__(device=device, dtype=dtype, model_options=model_options or {}, clip_model=layers)


@dataclass(frozen=True)
class TextSide:
    """Text encoders of one family.

    Attributes:
        configs: configuration of each encoder, by ComfyUI's name; the context is their
            outputs side by side, the pooled output that of the last.
        target: tokenizer and CLIP class.
        layer: number of the layer whose output is the context, as ``SDClipModel`` counts; None for the last,
            normalised.
        pads: token that fills up a chunk, for each encoder.
        embedding_std: of the untrained token tables; where nothing normalises the context, it has to
            start at the size that attention expects.
    """

    configs: dict[str, dict[str, Any]]
    target: comfy.supported_models_base.ClipTarget
    layer: int | None
    pads: dict[str, int]
    embedding_std: float

    @property
    def width(self) -> int:
        """Width of the context."""
        return sum(config["hidden_size"] for config in self.configs.values())

    @property
    def pooled_width(self) -> int:
        """Width of the pooled output."""
        return list(self.configs.values())[-1]["hidden_size"]

    @property
    def metadata_config(self) -> str:
        """Configuration of the encoders as JSON, for the metadata of a shipped file."""
        return json.dumps(self.configs if len(self.configs) > 1 else next(iter(self.configs.values())))

    @property
    def options(self) -> dict[str, Any]:
        """Configurations as options of ComfyUI's own classes."""
        return {f"clip_{name}_model_config": config for name, config in self.configs.items()}

    @property
    def tokenizer_data(self) -> dict[str, int]:
        """Length of a chunk, as an option of ComfyUI's own tokenizers."""
        return {f"clip_{name}_max_length": MAX_TOKENS for name in self.configs}

    def prefix(self, name: str) -> str:
        """Return the prefix of an encoder's tensors in a shipped file."""
        return f"{name}." if len(self.configs) > 1 else ""


FLUX_TEXT = TextSide(
    configs={"l": _config(WIDTH, 2, "quick_gelu")},
    target=comfy.supported_models_base.ClipTarget(comfy.sd1_clip.SD1Tokenizer, FluxClip),
    layer=None,
    pads={"l": END_TOKEN},
    embedding_std=0.1,
)
SDXL_TEXT = TextSide(
    configs={"l": _config(32, 3, "quick_gelu"), "g": _config(WIDTH, 3, "gelu")},
    target=comfy.supported_models_base.ClipTarget(comfy.sdxl_clip.SDXLTokenizer, comfy.sdxl_clip.SDXLClipModel),
    layer=-2,
    pads={"l": END_TOKEN, "g": 0},
    embedding_std=0.7,
)


def build_clip(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> comfy.sd.CLIP:
    """Build a real ``comfy.sd.CLIP`` from a shipped file's tensors and metadata.

    Raises:
        ValueError: the file was made for another text model than this code builds.
    """
    config = json.loads(metadata.get("config", "null"))
    side = next((side for side in (FLUX_TEXT, SDXL_TEXT) if json.loads(side.metadata_config) == config), None)
    if side is None:
        raise ValueError("This text encoder file has another configuration than this pack's: train it again.")
    tensors = dict(tensors)
    unknown, ids = int(metadata["unknown_row"]), tensors.pop("token_ids").long()
    state: dict[str, torch.Tensor] = {}
    for name in side.configs:
        prefix = side.prefix(name)
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        table = own[TABLE][unknown].repeat(VOCABULARY_SIZE, 1)
        table[ids] = own[TABLE]
        state |= {f"clip_{name}.transformer.{key}": value for key, value in {**own, TABLE: table}.items()}
    parameters = sum(value.numel() for value in state.values())
    return comfy.sd.CLIP(
        side.target,
        parameters=parameters,
        state_dict=state,
        model_options=side.options,
        tokenizer_data=side.tokenizer_data,
    )
