"""The tap on a model's attention for one evaluation: reads q and k, passes everything on."""

from functools import partial
from typing import Any
from uuid import UUID

from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

from .attention import common_grid, fold_repeats, text_attention, to_grid
from .families import Block, Family

NO_ATTENTION = (
    "nothing was captured, because at that evaluation the model's attention did not pass through ComfyUI's "
    "attention call. Models with an attention of their own (Nunchaku and the like) bypass it, and a cache node "
    "(TeaCache, EasyCache) may have skipped the evaluation: use another model loader, or let the cache start later."
)


class AttentionTap:
    """Collects maps by conditioning entry and block.

    Args:
        family: of the model.
        diffusion_model: the model itself.
        conds: the entries whose maps are wanted, as the guider processed them.
        height, width: of the latent.
    """

    def __init__(self, family: Family, diffusion_model: Any, conds: list[dict[str, Any]], height: int, width: int):
        self.family = family
        self.token_sides = family.blocks(diffusion_model)
        self.conds = {cond["uuid"]: cond for cond in conds}
        self.height, self.width = height, width
        self.grid = common_grid(*self._in_tokens(min(self.token_sides.values())))
        self.maps: dict[UUID, dict[Block, Tensor]] = {}

    def install(self, options: dict[str, Any]) -> None:
        """Tap the attention of one evaluation through its own copy of ``transformer_options``.

        What other packs installed there before is called as if the tap weren't there.
        """
        if self.family.joint:
            previous = options.get("optimized_attention_override")
            options["optimized_attention_override"] = partial(self._joint_attention, previous)
            return
        replacements = options.setdefault("patches_replace", {}).setdefault("attn2", {})
        for block in self.token_sides:
            installed = replacements.get(block, replacements.get(block[:2]))
            replacements[block] = partial(self._cross_attention, block, installed)

    def _joint_attention(self, previous, func, q, k, v, heads, *args, **kwargs):
        options = kwargs.get("transformer_options") or {}
        block = (options.get("block_type"), options.get("block_index"))
        if block in self.token_sides:
            if not kwargs.get("skip_reshape"):
                separate_q, separate_k = _by_head(q, heads), _by_head(k, heads)
            else:
                separate_q, separate_k = q, k
            mask = kwargs.get("mask", args[0] if args else None)
            scaling = {name: kwargs[name] for name in ("scale", "enable_gqa") if name in kwargs}
            self._record(block, separate_q, separate_k, options, mask, **scaling)
        if previous is not None:
            return previous(func, q, k, v, heads, *args, **kwargs)
        return func(q, k, v, heads, *args, **kwargs)

    def _cross_attention(self, block, installed, q, k, v, options):
        heads = options["n_heads"]
        self._record(block, _by_head(q, heads), _by_head(k, heads), options, None)
        if installed is not None:
            return installed(q, k, v, options)
        precision = options["attn_precision"]
        return optimized_attention(q, k, v, heads, attn_precision=precision, transformer_options=options)

    def _record(self, block: Block, q: Tensor, k: Tensor, options: dict, mask: Tensor | None, **scaling) -> None:
        rows = q.shape[0] // len(options["uuids"])
        for chunk, uuid in enumerate(options["uuids"]):
            if uuid not in self.conds or block in self.maps.get(uuid, {}):
                continue  # a negative prompt, or a second pass by a guidance node such as PAG
            cond = self.conds[uuid]
            side = self.token_sides[block]
            region, whole = self._region(cond, side), self._in_tokens(side)
            image, text = self._tokens(q.shape[2], k.shape[2], region[0] * region[1], options)
            some = slice(chunk * rows, (chunk + 1) * rows)
            some_mask = mask[some] if mask is not None and mask.ndim > 2 and mask.shape[0] == q.shape[0] else mask
            weights = text_attention(q[some], k[some], image, text, some_mask, **scaling)
            weights = fold_repeats(weights, cond["model_conds"]["c_crossattn"].cond.shape[1])
            self.maps.setdefault(uuid, {})[block] = to_grid(weights, region, whole, self.grid)

    def _tokens(self, queries: int, keys: int, image_tokens: int, options: dict) -> tuple[slice, slice]:
        """Which queries are image tokens, and which keys text tokens."""
        if not self.family.joint:
            return slice(0, queries), slice(0, keys)
        text_tokens = queries - image_tokens - sum(options.get("reference_image_num_tokens", ()))
        return slice(text_tokens, text_tokens + image_tokens), slice(0, text_tokens)

    def _region(self, cond: dict[str, Any], side: int) -> tuple[int, int, int, int]:
        """Height, width, top and left in image tokens of the region that a conditioning covers."""
        high, wide = self._in_tokens(side)
        if "area" not in cond:
            return high, wide, 0, 0
        area = cond["area"]
        height, width, top, left = (*area[: len(area) // 2][-2:], *area[len(area) // 2 :][-2:])
        rows = -(-min(height, self.height - top) // side)
        columns = -(-min(width, self.width - left) // side)
        return rows, columns, min(top // side, high - rows), min(left // side, wide - columns)

    def _in_tokens(self, side: int) -> tuple[int, int]:
        return -(-self.height // side), -(-self.width // side)


def _by_head(tokens: Tensor, heads: int) -> Tensor:
    """``[batch, tokens, heads * head_dim]`` → ``[batch, heads, tokens, head_dim]``."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)
