"""Attention maps of one evaluation, by conditioning entry and block."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import torch
from torch import Tensor

from .attention import common_grid, position_weights, to_grid
from .families import CROSS, Family
from .stacks import Block
from .tokens import Attention, Tokens

NO_ATTENTION = (
    "at that evaluation the model's attention did not pass through ComfyUI's attention call. Models with an attention "
    "of their own (Nunchaku and the like) bypass it, and a cache node (TeaCache, EasyCache) may have skipped the "
    "evaluation: use another model loader, or let the cache start later"
)

SCALED = (
    "In some blocks the image had another number of tokens than the latent has, as Kohya Deep Shrink makes it; their "
    "attention maps were scaled to the whole image."
)

Region = tuple[int, int, int, int]
"""Height, width, top and left of a rectangle."""


def other_tokens(actual: int, expected: int) -> str:
    """Return why nothing can be captured where the image has another number of tokens than the latent."""
    return (
        f"another node changes how many tokens the image has ({actual} in the attention "
        f"instead of {expected}): nodes that merge tokens or cut the image into tiles do. Leave that node out of the "
        "probed run, let it start later, or connect a probe that reads no attention, such as a preview reward"
    )


@dataclass(frozen=True)
class Queries:
    """Queries and keys of one attention call that belong to one conditioning entry.

    Attributes:
        q, k: ``[rows, heads, tokens, head_dim]``.
        mask: the call's attention mask for these rows, if it has one.
        scaling: ``scale`` and ``enable_gqa``, if the call has them.
        options: the call's ``transformer_options``.
        text: number of text tokens before the image, where the block gets them as a separate argument; else None.
    """

    q: Tensor
    k: Tensor
    mask: Tensor | None
    scaling: dict[str, Any]
    options: dict[str, Any]
    text: int | None = None


class AttentionMaps:
    """Capture of attention maps, by conditioning entry and block.

    Args:
        family: of the model.
        diffusion_model: the model itself.
        conds: the entries whose maps are wanted, as the guider processed them.
        height, width: of the latent.

    Attributes:
        why: reasons by block, for blocks without maps.
        remarks: sentences for the user by block, for maps that were captured from another number of tokens.
    """

    def __init__(self, family: Family, diffusion_model: Any, conds: list[dict[str, Any]], height: int, width: int):
        self.family, self.diffusion_model = family, diffusion_model
        self.token_sides = family.blocks(diffusion_model)
        self.conds = {cond["uuid"]: cond for cond in conds}
        self.height, self.width = height, width
        self.grid = common_grid(*self._in_tokens(min(self.token_sides.values())))
        self.why: dict[Block, str] = {}
        self.remarks: dict[Block, str] = {}
        self._captured: dict[UUID, dict[Block, Tensor]] = {}
        self._given_up: set[Block] = set()

    @property
    def maps(self) -> dict[UUID, dict[Block, Tensor]]:
        """Maps by entry and block, in the order of the entries, ``[rows, positions, *grid]`` float16."""
        return {uuid: self._captured[uuid] for uuid in self.conds if uuid in self._captured}

    def by_block(self) -> dict[Block, Tensor]:
        """Return the maps of the blocks that have some of every entry, the positions of the entries one after another.

        Returns:
            ``[rows, positions of all entries, *grid]`` float16 by block.
        """
        entries = list(self.maps.values())
        blocks = [block for block in (entries[0] if entries else ()) if all(block in maps for maps in entries)]
        return {block: torch.cat([maps[block] for maps in entries], 1) for block in blocks}

    def entries(self) -> list[tuple[dict[str, Any], int]]:
        """Return the entries that have maps, in the order of ``maps``, each with its number of text positions."""
        return [(self.conds[uuid], next(iter(maps.values())).shape[1]) for uuid, maps in self.maps.items()]

    def missing(self) -> dict[Block, str]:
        """Return the reason for each block that lacks a map of an entry that has maps of other blocks."""
        captured = self.maps.values()
        absent = (block for block in self.token_sides if not captured or any(block not in maps for maps in captured))
        return {block: self.why.get(block, NO_ATTENTION) for block in absent}

    def lacks(self, uuid: UUID, block: Block) -> bool:
        """Return whether an entry has no map of a block yet.

        Of several passes through a block in one evaluation, as guidance nodes such as PAG make, the first is captured.
        """
        missing = block not in self._captured.get(uuid, {})
        return missing and block in self.token_sides and block not in self._given_up

    def refuse(self, block: Block, why: str) -> None:
        """Note why no map of a block can be captured; the first reason counts."""
        if block in self.token_sides:
            self.why.setdefault(block, why)

    def clear(self) -> None:
        """Release all maps."""
        self._captured.clear()

    def forget(self, block: Block, why: str) -> None:
        """Release a block's maps and capture no more of it in this evaluation."""
        self.refuse(block, why)
        self._given_up.add(block)
        for maps in self._captured.values():
            maps.pop(block, None)

    def capture(self, uuid: UUID, block: Block, queries: Queries) -> None:
        """Capture the maps of one entry in one block, or note why there are none."""
        side = self.token_sides[block]
        region, whole = self._region(self.conds[uuid], side), self._in_tokens(side)
        grid = self._image_grid(queries, region)
        if grid is not None and grid != region[:2]:
            region, whole = _scaled(region, whole, grid)
        tokens = self._layout(uuid, queries, region[0] * region[1]) if grid is not None else None
        if tokens is None:
            self.refuse(block, other_tokens(queries.q.shape[2], region[0] * region[1]))
            return
        if whole != self._in_tokens(side):
            self.remarks[block] = SCALED
        weights = position_weights(queries.q, queries.k, tokens, queries.mask, **queries.scaling)
        self._captured.setdefault(uuid, {})[block] = to_grid(weights, region, whole, self.grid)

    def _image_grid(self, queries: Queries, region: Region) -> tuple[int, int] | None:
        """Return height and width of the image in the block's tokens; None if they can't be those of the region.

        A UNet's transformers name their input's shape; for other models the layout has to locate the image.
        """
        if self.family.identified != CROSS:
            return region[:2]
        shape = queries.options.get("activations_shape")
        grid = tuple(shape[-2:]) if shape else region[:2]
        fits = grid[0] * grid[1] == queries.q.shape[2] and _same_picture(grid, region[:2])
        return grid if fits else None

    def _layout(self, uuid: UUID, queries: Queries, image: int) -> Tokens | None:
        count, keys = queries.q.shape[2], queries.k.shape[2]
        if keys < count and self.family.identified != CROSS:  # an adapter's, whose keys are not those of text and image
            return None
        of_call = (count, keys, image, self.conds[uuid], queries.options)
        return self.family.layout(Attention(*of_call, self.diffusion_model, queries.text))

    def _region(self, cond: dict[str, Any], side: int) -> Region:
        """Return the region that a conditioning covers, in image tokens."""
        high, wide = self._in_tokens(side)
        height, width, top, left = region_of(cond, self.height, self.width)
        rows, columns = -(-height // side), -(-width // side)
        return rows, columns, min(top // side, high - rows), min(left // side, wide - columns)

    def _in_tokens(self, side: int) -> tuple[int, int]:
        return -(-self.height // side), -(-self.width // side)


def region_of(cond: dict[str, Any], height: int, width: int) -> Region:
    """Return the region of a latent that a processed conditioning entry covers, in latent pixels."""
    if "area" not in cond:
        return height, width, 0, 0
    area: Sequence[int] = cond["area"]
    sizes, offsets = area[: len(area) // 2], area[len(area) // 2 :]
    (high, wide), (top, left) = sizes[-2:], offsets[-2:]
    return min(high, height - top), min(wide, width - left), top, left


def _same_picture(grid: tuple[int, int], expected: tuple[int, int]) -> bool:
    """Return whether two grids may be of one picture: both sides scaled by one factor, each rounded."""
    low = max((side - 1) / whole for side, whole in zip(grid, expected, strict=True))
    return low < min((side + 1) / whole for side, whole in zip(grid, expected, strict=True))


def _scaled(region: Region, whole: tuple[int, int], grid: tuple[int, int]) -> tuple[Region, tuple[int, int]]:
    """Return the region and the whole image in tokens, where the region has ``grid`` of them."""
    factors = [side / expected for side, expected in zip(grid, region[:2], strict=True)]
    high, wide = (max(side, round(full * f)) for side, full, f in zip(grid, whole, factors, strict=True))
    top, left = min(round(region[2] * factors[0]), high - grid[0]), min(round(region[3] * factors[1]), wide - grid[1])
    return (*grid, top, left), (high, wide)
