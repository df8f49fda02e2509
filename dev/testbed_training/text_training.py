"""Text encoders in training: batched, with no more rows of the token tables than prompts use."""

from itertools import chain
from typing import Any

import comfy.clip_model
import comfy.ops
import torch

from ...testbed.scenes import vocabulary
from ...testbed.text import END_TOKEN, FLUX_TEXT, TextSide

UNKNOWN_WORD = "something"


def token_ids(tokenizer: Any, prompt: str, name: str = "l") -> list[int]:
    """Return the token ids of a prompt's first chunk, padded to ``MAX_TOKENS``."""
    return [token for token, _ in tokenizer.tokenize_with_weights(prompt)[name][0]]


class TextEncoder(torch.nn.Module):
    """Text transformers for training, which read batches of row numbers of their short token tables.

    ``forward`` equals what ``build_clip(export())`` encodes for the same prompts.
    """

    def __init__(self, side: TextSide = FLUX_TEXT) -> None:
        super().__init__()
        self.side = side
        self.tokenizer = side.target.tokenizer(tokenizer_data=side.tokenizer_data)
        words = [*vocabulary(), UNKNOWN_WORD, ""]
        used = (token_ids(self.tokenizer, word, name) for name in side.configs for word in words)
        self.ids = sorted(set(chain.from_iterable(used)))
        self.row_of = {token: row for row, token in enumerate(self.ids)}
        self.unknown_row = self.row_of[token_ids(self.tokenizer, UNKNOWN_WORD)[1]]
        self.transformers = torch.nn.ModuleDict({name: self._fresh(config) for name, config in side.configs.items()})

    def _fresh(self, config: dict[str, Any]) -> comfy.clip_model.CLIPTextModel:
        """Build a text transformer with random weights (ComfyUI's layers leave theirs uninitialised)."""
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
        """Return the row numbers [N, 32] of prompts, padded with end tokens; other tokens have the unknown row."""
        ids = [token_ids(self.tokenizer, prompt) for prompt in prompts]
        return torch.tensor([[self.row_of.get(token, self.unknown_row) for token in prompt] for prompt in ids])

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode rows [B, 32] → context [B, 32, C] and pooled [B, C'], both float32."""
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
        """Return tensors (fp16) and metadata of a shipped file."""
        tensors = {
            self.side.prefix(name) + key: value.detach().half()
            for name, transformer in self.transformers.items()
            for key, value in transformer.state_dict().items()
        }
        tensors["token_ids"] = torch.tensor(self.ids, dtype=torch.int32)
        about = {"unknown_row": str(self.unknown_row), "tokenizer": "openai/clip BPE"}
        return tensors, {"config": self.side.metadata_config, **about}
