"""The text side: ComfyUI's own CLIP classes around small text transformers, one for FLUX, two for SDXL.

The tokenizer is the real CLIP one (49 408 tokens), of which prompts use about thirty. Training and
the shipped file hold only those rows of the token tables; ``build_clip`` lays them out as full
tables, every other token taking the row of ``UNKNOWN_WORD``, which training substitutes for words at
random, so it means "some word or other".
"""

import json
from dataclasses import dataclass
from typing import Any

import comfy.clip_model
import comfy.ops
import comfy.sd
import comfy.sd1_clip
import comfy.sdxl_clip
import comfy.supported_models_base
import torch

from .scenes import vocabulary

MAX_TOKENS = 32
WIDTH = 64
VOCABULARY_SIZE = 49408
UNKNOWN_WORD = "something"
END_TOKEN = 49407
TABLE = "text_model.embeddings.token_embedding.weight"


def _config(width: int, layers: int, activation: str) -> dict[str, Any]:
    """What ComfyUI's CLIP text model is built from."""
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
    """CLIP-L alone, with the projected pooled output that FLUX takes."""

    def __init__(self, device="cpu", dtype=None, model_options: dict | None = None) -> None:
        layers = comfy.sd1_clip.SDClipModel
        super().__init__(device=device, dtype=dtype, model_options=model_options or {}, clip_model=layers)


@dataclass(frozen=True)
class TextSide:
    """The text encoders of one family.

    Attributes:
        configs: per encoder, by ComfyUI's name of it, its configuration; the context is their
            outputs side by side, the pooled output that of the last.
        target: the tokenizer and the CLIP class.
        layer: which layer's output is the context, as ``SDClipModel`` counts; None for the last,
            normalised.
        pads: per encoder, the token that fills up its chunk.
        embedding_std: of the fresh token tables; where nothing normalises the context, it has to
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
        return list(self.configs.values())[-1]["hidden_size"]

    @property
    def metadata_config(self) -> str:
        """What a shipped file says about how it was made."""
        return json.dumps(self.configs if len(self.configs) > 1 else next(iter(self.configs.values())))

    @property
    def options(self) -> dict[str, Any]:
        """The sizes, as ComfyUI's own classes take them."""
        return {f"clip_{name}_model_config": config for name, config in self.configs.items()}

    @property
    def tokenizer_data(self) -> dict[str, int]:
        return {f"clip_{name}_max_length": MAX_TOKENS for name in self.configs}

    def prefix(self, name: str) -> str:
        """Where an encoder's tensors are in the shipped file."""
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


def token_ids(tokenizer: Any, prompt: str, name: str = "l") -> list[int]:
    """The ids of a prompt's first chunk, padded to ``MAX_TOKENS``."""
    return [token for token, _ in tokenizer.tokenize_with_weights(prompt)[name][0]]


class TextEncoder(torch.nn.Module):
    """The same text transformers for training: batches of row numbers in, only the used rows held.

    ``forward`` equals what ``build_clip(export())`` encodes for the same prompts.
    """

    def __init__(self, side: TextSide = FLUX_TEXT) -> None:
        super().__init__()
        self.side = side
        self.tokenizer = side.target.tokenizer(tokenizer_data=side.tokenizer_data)
        words = [*vocabulary(), UNKNOWN_WORD, ""]
        self.ids = sorted({t for name in side.configs for word in words for t in token_ids(self.tokenizer, word, name)})
        self.row_of = {token: row for row, token in enumerate(self.ids)}
        self.unknown_row = self.row_of[token_ids(self.tokenizer, UNKNOWN_WORD)[1]]
        self.transformers = torch.nn.ModuleDict({name: self._fresh(config) for name, config in side.configs.items()})

    def _fresh(self, config: dict[str, Any]) -> comfy.clip_model.CLIPTextModel:
        """A text transformer with fresh weights (ComfyUI's layers leave theirs uninitialised)."""
        transformer = comfy.clip_model.CLIPTextModel(config, torch.float32, "cpu", comfy.ops.disable_weight_init)
        for layer in transformer.modules():
            for kind in (torch.nn.Linear, torch.nn.LayerNorm):
                if isinstance(layer, kind):
                    kind.reset_parameters(layer)
            if isinstance(layer, torch.nn.Embedding):
                torch.nn.init.normal_(layer.weight, std=self.side.embedding_std / 5)
        table = torch.nn.Embedding(len(self.ids), config["hidden_size"])
        torch.nn.init.normal_(table.weight, std=self.side.embedding_std)
        transformer.set_input_embeddings(table)
        # The pooled output stays zero: with it, the model learns the prompt's average colours from one vector
        # and attention is slow to find out which word belongs where (measured, see the FLUX's card).
        torch.nn.init.zeros_(transformer.text_projection.weight)
        transformer.text_projection.weight.requires_grad_(False)
        return transformer

    def rows(self, prompts: list[str]) -> torch.Tensor:
        """Row numbers [N, 32] of prompts, padded with end tokens; a token the tables lack is the unknown row."""
        return torch.tensor(
            [[self.row_of.get(t, self.unknown_row) for t in token_ids(self.tokenizer, prompt)] for prompt in prompts]
        )

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows [B, 32] → context [B, 32, C] and pooled [B, C'], both float32."""
        ends = (rows == self.row_of[END_TOKEN]).int()
        lengths = (ends.argmax(1) + 1).tolist()
        padding = ends.cumsum(1) > 1
        contexts = []
        for name, transformer in self.transformers.items():
            filled = rows.masked_fill(padding, self.row_of[self.side.pads[name]])
            context, pooled = self._encode(transformer, filled, lengths)
            contexts.append(context.float())
        return torch.cat(contexts, dim=-1), pooled.float()

    def _encode(self, transformer: Any, rows: torch.Tensor, lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        embeds = transformer.get_input_embeddings()(rows)
        last, inner, pooled, _ = transformer(
            None,
            None,
            embeds=embeds,
            num_tokens=lengths,
            intermediate_output=self.side.layer,
            final_layer_norm_intermediate=False,
        )
        return (last if self.side.layer is None else inner), pooled

    def export(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """The shipped file's tensors (fp16) and metadata."""
        tensors = {
            self.side.prefix(name) + key: value.detach().half()
            for name, transformer in self.transformers.items()
            for key, value in transformer.state_dict().items()
        }
        tensors["token_ids"] = torch.tensor(self.ids, dtype=torch.int32)
        about = {"unknown_row": str(self.unknown_row), "tokenizer": "openai/clip BPE"}
        return tensors, {"config": self.side.metadata_config, **about}


def build_clip(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> comfy.sd.CLIP:
    """A real ``comfy.sd.CLIP`` from the shipped file's tensors and metadata.

    Raises:
        ValueError: the file was made for another text model than this code builds.
    """
    config = json.loads(metadata.get("config", "null"))
    side = next((side for side in (FLUX_TEXT, SDXL_TEXT) if json.loads(side.metadata_config) == config), None)
    if side is None:
        raise ValueError("This text encoder file has another configuration than this pack's: train it again.")
    tensors = dict(tensors)
    unknown, ids = int(metadata["unknown_row"]), tensors.pop("token_ids").long()
    state = {}
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
