"""Model call during a capture: which of its rows belong to which capture."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from torch import Tensor

from ...runs.keys import CAPTURES
from .evaluation import EvaluationCapture, Sharers, guarded, open_captures
from .maps import Queries
from .stacks import Block

CALL = "diffusion_probe_call"
"""Key in the ``transformer_options`` of a model call: its :class:`CapturedCall`."""


Share = tuple[UUID, EvaluationCapture, slice]
"""Rows of a model call that belong to one conditioning entry of one capture."""


def another_node(does: str) -> str:
    """Return why nothing can be captured together with another node, and what to do."""
    return (
        f"another node {does}. Leave that node out of the probed run, or connect a probe that reads no attention, such "
        "as a preview reward"
    )


NO_NAMES = another_node("calls the model without saying which prompts the rows belong to")
IN_PARTS = another_node(
    "calls the model for {actual} instead of {expected}, as nodes that sample in tiles or in parts do"
)
OTHER_ROWS = another_node(
    "repeats, splits or leaves out rows before the attention ({actual} instead of {expected}), as regional prompts do, "
    "so it is not known which image a row is of"
)
OTHER_ORDER = another_node("changes which prompts the rows of a model call belong to")
AGAIN = another_node("runs a block of the model several times in one call, as tiles do")
MISCOUNTED = another_node(
    "adds to the model's {expected} attention calls or leaves some out ({actual}), and this model's blocks are known "
    "by their order alone"
)


class CapturedCall:
    """Model call during a capture.

    Args:
        shape: of the latents that the model is called with.
        options: its ``transformer_options``.

    Attributes:
        order: the blocks of the model, where its attention calls can be distinguished by their order alone.
    """

    def __init__(self, shape: tuple[int, ...], options: dict[str, Any]):
        self.captures = open_captures(options)
        self.rows = shape[0]
        self.order: tuple[Block, ...] = ()
        self.counted = 0
        self._names = _names(options)
        self._blocks: set[Block] = set()
        self._shares = list(self._known(shape, options[CAPTURES], list(options.get("uuids") or ())))

    def _known(self, shape: tuple[int, ...], by_entry: dict[UUID, Sharers], uuids: list[UUID]) -> Iterator[Share]:
        """Yield the rows of each capture, where the call has the rows that the sampler means."""
        if not uuids:
            for capture in self.captures:
                capture.refuse(NO_NAMES)
        for chunk, uuid in enumerate(uuids):
            sharers = by_entry.get(uuid, ())  # none: a negative prompt
            shares = len(uuids) * max(1, len(sharers))
            for number, (own, capture) in enumerate(sharers, chunk * len(sharers)):
                if capture is None or not capture.open:
                    continue
                actual = [self.rows, *shape[-2:]]
                expected = [capture.rows * shares, *capture.region(own)[:2]]
                if actual != expected:
                    capture.refuse(IN_PARTS.format(actual=_size(*actual), expected=_size(*expected)))
                else:
                    yield own, capture, slice(number * capture.rows, (number + 1) * capture.rows)

    def guarded(self) -> AbstractContextManager[None]:
        """Return :func:`evaluation.guarded` for all captures of the call."""
        return guarded(*self.captures)

    def shares(self) -> list[Share]:
        """Return the shares of the captures that are still open."""
        return [share for share in self._shares if share[1].open]

    def why_unknown(self, options: dict[str, Any], *rows: int) -> str:
        """Return why the rows of tensors inside of the call can't be assigned to captures; empty if they can.

        Args:
            options: the ``transformer_options`` inside of the call.
            rows: number of rows of each of the tensors.
        """
        wrong = [count for count in rows if count != self.rows]
        if wrong:
            return OTHER_ROWS.format(actual=wrong[0], expected=self.rows)
        return OTHER_ORDER if _names(options) != self._names else ""

    def enter(self, block: Block) -> None:
        """Note that a block starts. If it starts again in one call, its maps are not of the whole image."""
        if block in self._blocks:
            for _, capture, _ in self.shares():
                if capture.maps is not None:
                    capture.maps.forget(block, AGAIN)
        self._blocks.add(block)

    def next_block(self) -> Block:
        """Return the block of the next attention call, where calls are counted."""
        self.counted += 1
        return self.order[self.counted - 1] if self.counted <= len(self.order) else ()

    def capture_attention(self, block: Block, q: Tensor, k: Tensor, mask: Tensor | None, options: dict, **rest) -> None:
        """Capture the rows of an attention call that belong to each capture.

        Args:
            block: of the attention; blocks that the family doesn't record are ignored.
            q, k: ``[rows, heads, tokens, head_dim]``.
            mask, options, rest: as in :class:`Queries`.
        """
        why = self.why_unknown(options, q.shape[0], k.shape[0])
        for uuid, capture, rows in self.shares():
            if capture.maps is None or not capture.maps.lacks(uuid, block):
                continue
            if why:
                capture.maps.refuse(block, why)
                continue
            own_mask = mask[rows] if mask is not None and mask.ndim > 2 and mask.shape[0] == self.rows else mask
            with guarded(capture):
                capture.maps.capture(uuid, block, Queries(q[rows], k[rows], own_mask, options=options, **rest))

    def capture_activation(self, values: Tensor, options: dict, references: int | None = None) -> None:
        """Capture the rows of a block's output that belong to each capture.

        Args:
            values: ``[rows, tokens, channels]``, or ``[rows, channels, height, width]`` without ``references``.
            options: the ``transformer_options`` at the block.
            references: number of tokens of reference images that may follow those of the image.
        """
        why = self.why_unknown(options, values.shape[0])
        for uuid, capture, rows in self.shares():
            if capture.activation is None or not capture.activation.lacks(uuid):
                continue
            if why:
                capture.activation.refuse(why)
                continue
            with guarded(capture):
                if references is None:
                    capture.activation.capture(uuid, values[rows])
                else:
                    capture.activation.capture_tokens(uuid, values[rows], references)

    def end(self) -> None:
        """Check, after the call, that every attention call was counted, and release the maps if not."""
        if self.order and self.counted != len(self.order):
            for _, capture, _ in self.shares():
                if capture.maps is not None:
                    capture.refuse(MISCOUNTED.format(actual=self.counted, expected=len(self.order)))
                    capture.maps.clear()


def _names(options: dict[str, Any]) -> tuple[list, list]:
    """Return the conditioning entry of each chunk of rows, and the entry's side of the guidance."""
    return list(options.get("uuids") or ()), list(options.get("cond_or_uncond") or ())


def _size(rows: int, height: int, width: int) -> str:
    return f"{rows} rows of {height} × {width}"


def call_of(options: Any) -> CapturedCall | None:
    """Return the call that an attention or a block belongs to; None if nothing of it is captured."""
    call = options.get(CALL) if isinstance(options, dict) else None
    return call if call is not None and call.shares() else None
