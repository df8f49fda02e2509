"""The text side: ComfyUI's own CLIP classes around a small text transformer.

The tokenizer is the real CLIP one (49 408 tokens), of which prompts use about thirty. Training and
the shipped file hold only those rows of the token table; ``build_clip`` lays them out as the full
table, every other token taking the row of ``UNKNOWN_WORD``, which training substitutes for words at
random, so it means "some word or other".
"""

import json

import comfy.clip_model
import comfy.ops
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models_base
import torch

from .scenes import vocabulary

MAX_TOKENS = 32
WIDTH = 64
VOCABULARY_SIZE = 49408
UNKNOWN_WORD = "something"
CONFIG = {
    "num_hidden_layers": 2,
    "hidden_size": WIDTH,
    "num_attention_heads": 2,
    "intermediate_size": 4 * WIDTH,
    "hidden_act": "quick_gelu",
    "max_position_embeddings": MAX_TOKENS,
    "eos_token_id": 49407,
}
TABLE = "text_model.embeddings.token_embedding.weight"
CLIP_NAME = "l"


class TestbedTokenizer(comfy.sd1_clip.SD1Tokenizer):
    """CLIP's BPE tokenizer, padded to 32 tokens instead of 77 (longer prompts go in several chunks)."""

    def __init__(self, embedding_directory: str | None = None, tokenizer_data: dict | None = None) -> None:
        data = {**(tokenizer_data or {}), f"clip_{CLIP_NAME}_max_length": MAX_TOKENS}
        super().__init__(embedding_directory=embedding_directory, tokenizer_data=data, clip_name=CLIP_NAME)


class TestbedClipLayers(comfy.sd1_clip.SDClipModel):
    """ComfyUI's SDClipModel at the testbed's size."""

    def __init__(self, device="cpu", dtype=None, model_options: dict | None = None) -> None:
        super().__init__(
            device=device,
            dtype=dtype,
            max_length=MAX_TOKENS,
            textmodel_json_config=dict(CONFIG),
            model_options=model_options or {},
        )


class TestbedClip(comfy.sd1_clip.SD1ClipModel):
    """What ``comfy.sd.CLIP`` holds as its ``cond_stage_model``."""

    def __init__(self, device="cpu", dtype=None, model_options: dict | None = None) -> None:
        super().__init__(
            device=device,
            dtype=dtype,
            model_options=model_options or {},
            clip_name=CLIP_NAME,
            clip_model=TestbedClipLayers,
        )


def used_token_ids() -> list[int]:
    """Sorted ids of every token a testbed prompt can contain, the special ones and ``UNKNOWN_WORD``'s."""
    tokenizer = TestbedTokenizer()
    ids = {token for word in [*vocabulary(), UNKNOWN_WORD, ""] for token in token_ids(tokenizer, word)}
    return sorted(ids)


def token_ids(tokenizer: TestbedTokenizer, prompt: str) -> list[int]:
    """The ids of a prompt's first chunk, padded to ``MAX_TOKENS``."""
    return [token for token, _ in tokenizer.tokenize_with_weights(prompt)[CLIP_NAME][0]]


class TextEncoder(torch.nn.Module):
    """The same text transformer for training: batches of row numbers in, only the used rows held.

    ``forward`` equals what ``build_clip(export())`` encodes for the same prompts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ids = used_token_ids()
        self.row_of = {token: row for row, token in enumerate(self.ids)}
        self.tokenizer = TestbedTokenizer()
        unknown = token_ids(self.tokenizer, UNKNOWN_WORD)[1]
        self.unknown_row = self.row_of[unknown]
        self.transformer = comfy.clip_model.CLIPTextModel(CONFIG, torch.float32, "cpu", comfy.ops.disable_weight_init)
        for layer in self.transformer.modules():
            for kind in (torch.nn.Linear, torch.nn.LayerNorm):  # ComfyUI's subclasses leave weights uninitialised
                if isinstance(layer, kind):
                    kind.reset_parameters(layer)
            if isinstance(layer, torch.nn.Embedding):
                torch.nn.init.normal_(layer.weight, std=0.02)
        table = torch.nn.Embedding(len(self.ids), WIDTH)
        torch.nn.init.normal_(table.weight, std=0.1)
        self.transformer.set_input_embeddings(table)
        # The pooled output stays zero: with it, the model learns the prompt's average colours from one vector
        # and attention is slow to find out which word belongs where (measured, see the model card).
        torch.nn.init.zeros_(self.transformer.text_projection.weight)
        self.transformer.text_projection.weight.requires_grad_(False)

    def rows(self, prompts: list[str]) -> torch.Tensor:
        """Row numbers [N, 32] of prompts; a token the table lacks is the unknown row."""
        return torch.tensor(
            [[self.row_of.get(t, self.unknown_row) for t in token_ids(self.tokenizer, prompt)] for prompt in prompts]
        )

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows [B, 32] → context [B, 32, 64] and pooled [B, 64], both float32."""
        embeds = self.transformer.get_input_embeddings()(rows)
        end = self.row_of[CONFIG["eos_token_id"]]
        lengths = ((rows == end).int().argmax(1) + 1).tolist()
        context, _, pooled, _ = self.transformer(None, None, embeds=embeds, num_tokens=lengths)
        return context.float(), pooled.float()

    def export(self) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """The shipped file's tensors (fp16) and metadata."""
        tensors = {name: value.detach().half() for name, value in self.transformer.state_dict().items()}
        tensors["token_ids"] = torch.tensor(self.ids, dtype=torch.int32)
        metadata = {"config": json.dumps(CONFIG), "unknown_row": str(self.unknown_row), "tokenizer": "openai/clip BPE"}
        return tensors, metadata


def build_clip(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> comfy.sd.CLIP:
    """A real ``comfy.sd.CLIP`` from the shipped file's tensors and metadata.

    Raises:
        ValueError: the file was made for another text model than this code builds.
    """
    if json.loads(metadata.get("config", "null")) != CONFIG:
        raise ValueError("This text encoder file has another configuration than this pack's: train it again.")
    rows = tensors[TABLE]
    table = rows[int(metadata["unknown_row"])].repeat(VOCABULARY_SIZE, 1)
    table[tensors["token_ids"].long()] = rows
    prefix = f"clip_{CLIP_NAME}.transformer."
    state = {prefix + name: value for name, value in tensors.items() if name != "token_ids"}
    state[prefix + TABLE] = table
    target = comfy.supported_models_base.ClipTarget(TestbedTokenizer, TestbedClip)
    parameters = sum(value.numel() for value in state.values())
    return comfy.sd.CLIP(target, parameters=parameters, state_dict=state)
