"""One call of the model while it is looked at: whose rows it has."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from torch import Tensor

from ...runs.keys import TAPS
from .look import Look, Sharers, guarded, open_looks
from .maps import Queries
from .stacks import Block

CALL = "diffusion_probe_call"
"""In the ``transformer_options`` of a call of the model: its :class:`LookedAtCall`."""


Share = tuple[UUID, Look, slice]
"""A conditioning entry, who looks at it, and which rows of the call are theirs."""


def another_node(does: str) -> str:
    """Say why nothing can be captured beside another node, and what to do."""
    return (
        f"another node {does}. Leave that node out of the probed run, or connect a probe that reads no attention, such "
        "as Preview Reward"
    )


NO_NAMES = another_node("calls the model without saying which prompts the rows belong to")
IN_PARTS = another_node(
    "calls the model for {found} instead of {expected}, as nodes that sample in tiles or in parts do"
)
OTHER_ROWS = another_node(
    "repeats, splits or leaves out rows before the attention ({found} instead of {expected}), as regional prompts do, "
    "so it is not known which image a row is of"
)
OTHER_ORDER = another_node("changes which prompts the rows of a model call belong to")
AGAIN = another_node("runs a block of the model several times in one call, as tiles do")
MISCOUNTED = another_node(
    "adds to the model's {expected} attention calls or leaves some out ({found}), and this model's blocks are known by "
    "their order alone"
)


class LookedAtCall:
    """One call of the model.

    Args:
        shape: of the latents that it is called with.
        options: its ``transformer_options``.

    Attributes:
        order: the blocks of the model, where its attention calls can be told apart by their order alone.
    """

    def __init__(self, shape: tuple[int, ...], options: dict[str, Any]):
        self.looks = open_looks(options)
        self.rows = shape[0]
        self.order: tuple[Block, ...] = ()
        self.counted = 0
        self._names = _names(options)
        self._blocks: set[Block] = set()
        self._shares = list(self._known(shape, options[TAPS], options.get("uuids") or ()))

    def _known(self, shape: tuple[int, ...], taps: dict[UUID, Sharers], uuids: Sequence[UUID]) -> Iterator[Share]:
        """Find the rows that belong to each look, where the call is as the sampler means it."""
        if not uuids:
            for look in self.looks:
                look.refuse(NO_NAMES)
        for chunk, uuid in enumerate(uuids):
            sharers = taps.get(uuid, ())  # none: a negative prompt
            parts = len(uuids) * max(1, len(sharers))
            for number, (own, look) in enumerate(sharers, chunk * len(sharers)):
                if look is None or not look.open:
                    continue
                found = [self.rows, *shape[-2:]]
                expected = [look.rows * parts, *look.region(own)[:2]]
                if found != expected:
                    look.refuse(IN_PARTS.format(found=_size(*found), expected=_size(*expected)))
                else:
                    yield own, look, slice(number * look.rows, (number + 1) * look.rows)

    def guarded(self) -> AbstractContextManager[None]:
        """Do as :func:`look.guarded`, for all looks."""
        return guarded(*self.looks)

    def shares(self) -> list[Share]:
        """Find entry, look and rows of those that are still open."""
        return [share for share in self._shares if share[1].open]

    def why_unknown(self, options: dict[str, Any], *rows: int) -> str:
        """Say why it isn't known whose rows tensors inside of the call have; empty if it is.

        Args:
            options: the ``transformer_options`` as they are there.
            rows: how many each of the tensors has.
        """
        wrong = [count for count in rows if count != self.rows]
        if wrong:
            return OTHER_ROWS.format(found=wrong[0], expected=self.rows)
        return OTHER_ORDER if _names(options) != self._names else ""

    def enter(self, block: Block) -> None:
        """Enter a block, once in a call; else what was captured of it isn't of the whole image."""
        if block in self._blocks:
            for _, look, _ in self.shares():
                if look.maps is not None:
                    look.maps.forget(block, AGAIN)
        self._blocks.add(block)

    def next_block(self) -> Block:
        """Find the block of the next attention call, where they are counted."""
        self.counted += 1
        return self.order[self.counted - 1] if self.counted <= len(self.order) else ()

    def show_attention(self, block: Block, q: Tensor, k: Tensor, mask: Tensor | None, options: dict, **rest) -> None:
        """Give each look the rows of an attention call that belong to it.

        Args:
            block: of which; others than those of the family are ignored.
            q, k: ``[rows, heads, tokens, head_dim]``.
            mask, options, rest: as in :class:`Queries`.
        """
        why = self.why_unknown(options, q.shape[0], k.shape[0])
        for uuid, look, rows in self.shares():
            if look.maps is None or not look.maps.wants(uuid, block):
                continue
            if why:
                look.maps.refuse(block, why)
                continue
            own_mask = mask[rows] if mask is not None and mask.ndim > 2 and mask.shape[0] == self.rows else mask
            with guarded(look):
                look.maps.take(uuid, block, Queries(q[rows], k[rows], own_mask, options=options, **rest))

    def show_activation(self, values: Tensor, options: dict, references: int | None = None) -> None:
        """Give each look the rows of the output of the block that is read.

        Args:
            values: ``[rows, tokens, channels]``, or ``[rows, channels, height, width]`` without ``references``.
            options: the ``transformer_options`` there.
            references: how many tokens of reference images may follow those of the image.
        """
        why = self.why_unknown(options, values.shape[0])
        for uuid, look, rows in self.shares():
            if look.activation is None or not look.activation.wants(uuid):
                continue
            if why:
                look.activation.refuse(why)
                continue
            with guarded(look):
                if references is None:
                    look.activation.take(uuid, values[rows])
                else:
                    look.activation.take_tokens(uuid, values[rows], references)

    def end(self) -> None:
        """End the call: the number of attention calls has to have been that of the blocks."""
        if self.order and self.counted != len(self.order):
            for _, look, _ in self.shares():
                if look.maps is not None:
                    look.refuse(MISCOUNTED.format(found=self.counted, expected=len(self.order)))
                    look.maps.clear()


def _names(options: dict[str, Any]) -> tuple[list, list]:
    """Find the conditioning entry of each chunk of rows, and on which side of the guidance it is."""
    return list(options.get("uuids") or ()), list(options.get("cond_or_uncond") or ())


def _size(rows: int, height: int, width: int) -> str:
    return f"{rows} rows of {height} × {width}"


def call_of(options: Any) -> LookedAtCall | None:
    """Find the call that an attention or a block belongs to; None if nothing is captured."""
    call = options.get(CALL) if isinstance(options, dict) else None
    return call if call is not None and call.shares() else None
