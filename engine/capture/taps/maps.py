"""The attention maps of one evaluation, by conditioning entry and block."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

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
"""Height, width, top and left."""


def other_tokens(found: int, expected: int) -> str:
    """Say why nothing can be captured where the image has another number of tokens than the latent."""
    return (
        f"another node changes how many tokens the image has ({found} in the attention "
        f"instead of {expected}): nodes that merge tokens or cut the image into tiles do. Leave that node out of the "
        "probed run, let it start later, or connect a probe that reads no attention, such as Preview Reward"
    )


@dataclass(frozen=True)
class Queries:
    """One attention call, as far as it belongs to one conditioning entry.

    Attributes:
        q, k: ``[rows, heads, tokens, head_dim]``.
        mask: the call's attention mask for these rows, if it has one.
        scaling: ``scale`` and ``enable_gqa``, if the call has them.
        options: the call's ``transformer_options``.
        text: how many tokens of text come before the image, where the block was seen to be given them apart.
    """

    q: Tensor
    k: Tensor
    mask: Tensor | None
    scaling: dict[str, Any]
    options: dict[str, Any]
    text: int | None = None


class AttentionMaps:
    """Takes maps by conditioning entry and block.

    Args:
        family: of the model.
        diffusion_model: the model itself.
        conds: the entries whose maps are wanted, as the guider processed them.
        height, width: of the latent.

    Attributes:
        why: for blocks of which no map could be taken, why.
        notes: for blocks whose maps were taken of another number of tokens, what a user should know of it.
    """

    def __init__(self, family: Family, diffusion_model: Any, conds: list[dict[str, Any]], height: int, width: int):
        self.family, self.diffusion_model = family, diffusion_model
        self.token_sides = family.blocks(diffusion_model)
        self.conds = {cond["uuid"]: cond for cond in conds}
        self.height, self.width = height, width
        self.grid = common_grid(*self._in_tokens(min(self.token_sides.values())))
        self.why: dict[Block, str] = {}
        self.notes: dict[Block, str] = {}
        self._taken: dict[UUID, dict[Block, Tensor]] = {}
        self._given_up: set[Block] = set()

    @property
    def maps(self) -> dict[UUID, dict[Block, Tensor]]:
        """Maps captured, in the order of the entries, ``[rows, positions, *grid]`` float16."""
        return {uuid: self._taken[uuid] for uuid in self.conds if uuid in self._taken}

    def entries(self) -> list[tuple[dict[str, Any], int]]:
        """List the entries whose maps were captured, in the order of ``maps``, each with its count of positions."""
        return [(self.conds[uuid], next(iter(maps.values())).shape[1]) for uuid, maps in self.maps.items()]

    def missing(self) -> dict[Block, str]:
        """Find blocks that have no map of one of the entries of which there are maps, and why."""
        taken = self.maps.values()
        absent = (block for block in self.token_sides if not taken or any(block not in maps for maps in taken))
        return {block: self.why.get(block, NO_ATTENTION) for block in absent}

    def wants(self, uuid: UUID, block: Block) -> bool:
        """Check whether an entry has no map of a block yet: of several passes through it in one evaluation, as guidance
        nodes such as PAG make, the first is taken."""
        missing = block not in self._taken.get(uuid, {})
        return missing and block in self.token_sides and block not in self._given_up

    def refuse(self, block: Block, why: str) -> None:
        """Note that no map can be captured of a block; the first reason counts."""
        if block in self.token_sides:
            self.why.setdefault(block, why)

    def clear(self) -> None:
        """Forget what was taken."""
        self._taken.clear()

    def forget(self, block: Block, why: str) -> None:
        """Give a block's maps up, for this evaluation."""
        self.refuse(block, why)
        self._given_up.add(block)
        for maps in self._taken.values():
            maps.pop(block, None)

    def take(self, uuid: UUID, block: Block, queries: Queries) -> None:
        """Keep the maps of one entry in one block, or why there are none."""
        side = self.token_sides[block]
        region, whole = self._region(self.conds[uuid], side), self._in_tokens(side)
        found = self._found(queries, region)
        if found is not None and found != region[:2]:
            region, whole = _scaled(region, whole, found)
        tokens = self._layout(uuid, queries, region[0] * region[1]) if found is not None else None
        if tokens is None:
            self.refuse(block, other_tokens(queries.q.shape[2], region[0] * region[1]))
            return
        if whole != self._in_tokens(side):
            self.notes[block] = SCALED
        weights = position_weights(queries.q, queries.k, tokens, queries.mask, **queries.scaling)
        self._taken.setdefault(uuid, {})[block] = to_grid(weights, region, whole, self.grid)

    def _found(self, queries: Queries, region: Region) -> tuple[int, int] | None:
        """Find height and width of the image in tokens, as the block has it; None if it can't be that of the region.

        A UNet's transformers say what they are given; of other models the layout has to find the image.
        """
        if self.family.seen != CROSS:
            return region[:2]
        shape = queries.options.get("activations_shape")
        found = tuple(shape[-2:]) if shape else region[:2]
        fits = found[0] * found[1] == queries.q.shape[2] and _same_picture(found, region[:2])
        return found if fits else None

    def _layout(self, uuid: UUID, queries: Queries, image: int) -> Tokens | None:
        asking, asked = queries.q.shape[2], queries.k.shape[2]
        if asked < asking and self.family.seen != CROSS:  # an adapter's, whose keys are not those of text and image
            return None
        given = (asking, asked, image, self.conds[uuid], queries.options)
        return self.family.layout(Attention(*given, self.diffusion_model, queries.text))

    def _region(self, cond: dict[str, Any], side: int) -> Region:
        """Find the region that a conditioning covers, in image tokens."""
        high, wide = self._in_tokens(side)
        height, width, top, left = region_of(cond, self.height, self.width)
        rows, columns = -(-height // side), -(-width // side)
        return rows, columns, min(top // side, high - rows), min(left // side, wide - columns)

    def _in_tokens(self, side: int) -> tuple[int, int]:
        return -(-self.height // side), -(-self.width // side)


def region_of(cond: dict[str, Any], height: int, width: int) -> Region:
    """Find the region of a latent that a processed conditioning entry covers, in latent pixels."""
    if "area" not in cond:
        return height, width, 0, 0
    area = cond["area"]
    (high, wide), (top, left) = area[: len(area) // 2][-2:], area[len(area) // 2 :][-2:]
    return min(high, height - top), min(wide, width - left), top, left


def _same_picture(found: tuple[int, int], expected: tuple[int, int]) -> bool:
    """Check whether two grids may be of one picture: both sides scaled by one factor, each rounded."""
    low = max((side - 1) / whole for side, whole in zip(found, expected, strict=True))
    return low < min((side + 1) / whole for side, whole in zip(found, expected, strict=True))


def _scaled(region: Region, whole: tuple[int, int], found: tuple[int, int]) -> tuple[Region, tuple[int, int]]:
    """Scale the region and the whole image to tokens, where the region has ``found`` of them."""
    factors = [side / expected for side, expected in zip(found, region[:2], strict=True)]
    high, wide = (max(side, round(all_of * f)) for side, all_of, f in zip(found, whole, factors, strict=True))
    at = zip(region[2:], factors, (high, wide), found, strict=True)
    top, left = (min(round(start * f), all_of - side) for start, f, all_of, side in at)
    return (*found, top, left), (high, wide)
