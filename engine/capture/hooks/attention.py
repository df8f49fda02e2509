"""Cross-attention maps from the q and k of one attention call, at the cost of one more call.

Running attention again with a value matrix whose columns are one-hot indicators of the text keys
gives, as its output, the softmax weight of each text key: exact, at the fused kernel's speed, and
nothing of size (image tokens)² is ever made.
"""

import torch
import torch.nn.functional as F
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor

from .tokens import Tokens

GRID = 16
"""Longer side of the grid that maps are stored on."""

CALL_BYTES = 16 * 2**20
"""Upper bound for the output of one call, so that capturing a big batch costs little memory."""


def text_attention(q: Tensor, k: Tensor, image: slice, text: slice, mask: Tensor | None = None, **scaling) -> Tensor:
    """Compute the softmax weight of each text key for each image query, averaged over heads.

    Args:
        q: queries ``[batch, heads, query tokens, head_dim]``, as they enter the attention call.
        k: keys ``[batch, heads, key tokens, head_dim]``. All of them: the softmax is over all keys.
        image: the queries that are image tokens.
        text: the keys that are text tokens.
        mask: the call's attention mask, if it has one.
        scaling: ``scale`` and ``enable_gqa``, if the call has them.

    Returns:
        float32 ``[batch, text tokens, image tokens]``.
    """
    batch, heads, _, head_dim = q.shape
    queries = q[:, :, image]
    tokens = range(*text.indices(k.shape[2]))
    if mask is not None and mask.shape[-2] == q.shape[2]:
        mask = mask[..., image, :]
    rows = max(1, CALL_BYTES // (heads * queries.shape[2] * head_dim * q.element_size()))
    weights = torch.empty((batch, len(tokens), queries.shape[2]), dtype=torch.float32, device=q.device)
    for first in range(0, len(tokens), head_dim):
        chunk = tokens[first : first + head_dim]
        indicator = torch.zeros((1, 1, k.shape[2], head_dim), dtype=k.dtype, device=k.device)
        indicator[0, 0, chunk.start : chunk.stop].fill_diagonal_(1)
        for row in range(0, batch, rows):
            batch_rows = slice(row, row + rows)
            keys = k[batch_rows]
            row_mask = mask[batch_rows] if mask is not None and mask.ndim > 2 and mask.shape[0] == batch else mask
            values = indicator.expand(keys.shape[0], keys.shape[1], -1, -1)
            shapes = {"skip_reshape": True, "skip_output_reshape": True}
            output = attention_pytorch(queries[batch_rows], keys, values, heads, row_mask, **shapes, **scaling)
            weights[batch_rows, first : first + len(chunk)] = output[..., : len(chunk)].mean(1, dtype=torch.float32).mT
    return weights


def position_weights(q: Tensor, k: Tensor, tokens: Tokens, mask: Tensor | None = None, **scaling) -> Tensor:
    """Compute the softmax weight of each position of a conditioning, summed over its copies, for each image query.

    Args:
        tokens: positions of image and text; the other arguments as for :func:`text_attention`.

    Returns:
        float32 ``[batch, positions, image tokens]``.
    """
    copies = [copy for segment in tokens.text for copy in segment]
    first = min(copy.start for copy in copies)
    weights = text_attention(q, k, tokens.image, slice(first, max(copy.stop for copy in copies)), mask, **scaling)
    sums = []
    for segment in tokens.text:
        of_copies = [weights[:, copy.start - first : copy.stop - first] for copy in segment]
        sums.append(torch.stack(of_copies).sum(0))
    return torch.cat(sums, 1)


def common_grid(high: int, wide: int) -> tuple[int, int]:
    """Return height and width of the grid for maps of at most ``high`` by ``wide`` tokens."""
    shrink = max(1.0, max(high, wide) / GRID)
    return max(1, round(high / shrink)), max(1, round(wide / shrink))


def to_grid(
    weights: Tensor, region: tuple[int, int, int, int], whole: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """Average maps to the common grid, in half precision on their device.

    Args:
        weights: ``[batch, tokens, image tokens of the region]``; columns to the right of it are left out.
        region: height, width, top and left, in image tokens, of the queries' region.
        whole: height and width of the image in tokens.
        grid: height and width to store.

    Returns:
        float16 ``[batch, tokens, *grid]``, area averages, zero outside of the region.
    """
    rows, columns, top, left = region
    high, wide = whole
    maps = weights.unflatten(2, (rows, -1))[..., :columns]
    if (rows, columns) != whole:
        maps = F.pad(maps, (left, wide - left - columns, top, high - top - rows))
    return F.adaptive_avg_pool2d(maps, grid).half()
