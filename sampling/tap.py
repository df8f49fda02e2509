"""The tap on a model's attention for one evaluation: reads q and k, passes everything on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

from .attention import common_grid, position_weights, to_grid
from .comfy_versions import preferred_attention, stock_attention
from .families import COUNTED, CROSS, REPLACED, Family
from .stacks import Block, cross_attention
from .tokens import Attention

NO_ATTENTION = (
    "nothing was captured, because at that evaluation the model's attention did not pass through ComfyUI's "
    "attention call. Models with an attention of their own (Nunchaku and the like) bypass it, and a cache node "
    "(TeaCache, EasyCache) may have skipped the evaluation: use another model loader, or let the cache start later."
)


TAPS = "diffusion_probe_taps"
"""In ``transformer_options``: which tap wants the maps of a conditioning entry, by the entry's uuid."""

COUNT = "diffusion_probe_blocks"
"""In the ``transformer_options`` of one call of the model: the blocks that are still to come."""


class AttentionTap:
    """Collects maps by conditioning entry and block.

    Args:
        family: of the model.
        diffusion_model: the model itself.
        conds: the entries whose maps are wanted, as the guider processed them.
        height, width: of the latent.
    """

    def __init__(self, family: Family, diffusion_model: Any, conds: list[dict[str, Any]], height: int, width: int):
        self.family, self.diffusion_model = family, diffusion_model
        self.token_sides = family.blocks(diffusion_model)
        self.conds = {cond["uuid"]: cond for cond in conds}
        self.height, self.width = height, width
        self.grid = common_grid(*self._in_tokens(min(self.token_sides.values())))
        self.maps: dict[UUID, dict[Block, Tensor]] = {}

    def install(self, options: dict[str, Any]) -> None:
        """Tap the attention of one evaluation through its own copy of ``transformer_options``.

        What other packs installed there before is called as if the tap weren't there.
        """
        options[TAPS] = dict.fromkeys(self.conds, self)
        replacements = options.setdefault("patches_replace", {})
        if self.family.seen == CROSS:
            attn2 = replacements.setdefault("attn2", {})
            for block in self.token_sides:
                kernel = preferred_attention(cross_attention(self.diffusion_model, block))
                attn2[block] = TappedCrossAttention(block, attn2.get(block, attn2.get(block[:2])), kernel)
            return
        if self.family.seen == REPLACED:
            dit = replacements.setdefault("dit", {})
            for kind, index in self.token_sides:
                place = (f"{kind}_block", index)
                dit[place] = NamedBlock((kind, index), dit.get(place))
        order = tuple(self.family.stack(self.diffusion_model)) if self.family.seen == COUNTED else ()
        options["optimized_attention_override"] = TappedAttention(options.get("optimized_attention_override"), order)

    def record(self, uuid: UUID, block: Block, q: Tensor, k: Tensor, options: dict, mask: Tensor | None, **scaling):
        """Keep the maps of one entry in one block.

        Args:
            uuid: the entry.
            block: the block; others than the family's are ignored, and so is a second pass through
                a block in one evaluation (by guidance nodes such as PAG).
            q, k: the entry's rows, ``[rows, heads, tokens, head_dim]``.
            options: the call's ``transformer_options``.
            mask, scaling: as for :func:`attention.text_attention`.
        """
        if block not in self.token_sides or block in self.maps.get(uuid, {}):
            return
        side = self.token_sides[block]
        region = self._region(self.conds[uuid], side)
        image = region[0] * region[1]
        call = Attention(q.shape[2], k.shape[2], image, self.conds[uuid], options, self.diffusion_model)
        tokens = self.family.layout(call)
        if tokens is not None:
            weights = position_weights(q, k, tokens, mask, **scaling)
            self.maps.setdefault(uuid, {})[block] = to_grid(weights, region, self._in_tokens(side), self.grid)

    def entries(self) -> list[tuple[dict[str, Any], int]]:
        """The entries whose maps were recorded, in the order of ``maps``, each with its number of text positions."""
        return [(self.conds[uuid], next(iter(maps.values())).shape[1]) for uuid, maps in self.maps.items()]

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


@dataclass(frozen=True)
class TappedAttention:
    """An ``optimized_attention_override`` that shows q and k to the taps, and then calls ``previous``.

    Attributes:
        order: the blocks of the model, where its attention calls can be told apart by their order alone.
    """

    previous: Callable | None
    order: tuple[Block, ...] = ()

    def __call__(self, func, q, k, v, *args, **kwargs):
        options = kwargs.get("transformer_options") or {}
        given = {**dict(zip(("heads", "mask"), args)), **kwargs}
        heads, mask = given["heads"], given.get("mask")
        scaling = {name: kwargs[name] for name in ("scale", "enable_gqa") if name in kwargs}
        by_head = (q, k) if kwargs.get("skip_reshape") else (_by_head(q, heads), _by_head(k, heads))
        _show(options, self._block(options), *by_head, mask, **scaling)
        if self.previous is not None:
            return self.previous(func, q, k, v, *args, **kwargs)
        return stock_attention(func)(q, k, v, *args, **kwargs)

    def _block(self, options: dict[str, Any]) -> Block:
        if self.order:  # ComfyUI copies the options for each call of the model, so each starts a new count
            return next(options.setdefault(COUNT, iter(self.order)), ())
        return options.get("block_type"), options.get("block_index")


@dataclass(frozen=True)
class NamedBlock:
    """A replacement of a whole block that tells its attention which ``block`` it is, around what was ``installed``."""

    block: Block
    installed: Callable | None

    def __call__(self, args, extra):
        kind, index = self.block
        options = {**args["transformer_options"], "block_type": kind, "block_index": index}
        args = {**args, "transformer_options": options}
        return self.installed(args, extra) if self.installed is not None else extra["original_block"](args)


@dataclass(frozen=True)
class TappedCrossAttention:
    """An ``attn2`` replacement that shows q and k to the taps, and then calls what was ``installed``.

    Attributes:
        kernel: what the block's own attention call names besides.
    """

    block: Block
    installed: Callable | None
    kernel: dict[str, Any] = field(default_factory=dict)

    def __call__(self, q, k, v, options):
        heads = options["n_heads"]
        _show(options, self.block, _by_head(q, heads), _by_head(k, heads), None)
        if self.installed is not None:
            return self.installed(q, k, v, options)
        precision = options["attn_precision"]
        return optimized_attention(q, k, v, heads, attn_precision=precision, transformer_options=options, **self.kernel)


def _show(options: dict, block: Block, q: Tensor, k: Tensor, mask: Tensor | None, **scaling) -> None:
    """Give each entry's tap the rows of a call that belong to it."""
    uuids = options.get("uuids", ())
    for chunk, uuid in enumerate(uuids):
        tap = options[TAPS].get(uuid)
        if tap is not None:  # None: a negative prompt
            rows = q.shape[0] // len(uuids)
            some = slice(chunk * rows, (chunk + 1) * rows)
            some_mask = mask[some] if mask is not None and mask.ndim > 2 and mask.shape[0] == q.shape[0] else mask
            tap.record(uuid, block, q[some], k[some], options, some_mask, **scaling)


def _by_head(tokens: Tensor, heads: int) -> Tensor:
    """``[batch, tokens, heads * head_dim]`` → ``[batch, heads, tokens, head_dim]``."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)
