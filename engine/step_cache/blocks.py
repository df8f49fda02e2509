"""Prediction in the published space: of what FLUX's whole stack of blocks adds to the image tokens.

Every block is replaced, through ``patches_replace`` and around what is installed there. In a computed
call the blocks run unchanged and the sum that they add is noted; in a predicted one they return their
input, and the last one adds the prediction. Blocks write into their input, so the image tokens are cloned
before the first one; and a ControlNet adds its output between the blocks in predicted calls as well, so the
last block starts from that clone, and the ControlNet counts once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

JOB = "diffusion_probe_step_cache_blocks"
"""Key of a call's :class:`BlockJob` in ``transformer_options``."""


@dataclass(eq=False)  # jobs of different calls are never equal: the search hub must not join them
class BlockJob:
    """State of one model call.

    Attributes:
        predicted: the sum that the stack adds, ``[rows, tokens, hidden]``; None: it is computed.
        added: the sum that the stack has added, float32; None until the last block.
        entered: the image tokens before the first block; None until then.
    """

    predicted: Tensor | None = None
    added: Tensor | None = None
    entered: Tensor | None = None


def replace_blocks(options: dict[str, Any], diffusion_model: Any) -> None:
    """Replace every block in a run's own ``transformer_options``."""
    stack = [("double_block", index) for index in range(len(diffusion_model.double_blocks))]
    stack += [("single_block", index) for index in range(len(diffusion_model.single_blocks))]
    replacements = options.setdefault("patches_replace", {}).setdefault("dit", {})
    for block in stack:
        replacements[block] = CachedBlock(replacements.get(block), block == stack[0], block == stack[-1])


@dataclass(frozen=True)
class CachedBlock:
    """Replacement of one block, around the ``installed`` one."""

    installed: Callable | None
    first: bool
    last: bool

    def __call__(self, args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Tensor]:
        job: BlockJob | None = args["transformer_options"].get(JOB)
        if job is not None and self.first:
            job.entered = args["img"].clone()
        if job is None or job.predicted is None or job.entered is None:
            out = self.installed(args, extra) if self.installed is not None else extra["original_block"](args)
            if self.last and job is not None and job.entered is not None:
                job.added = _image(out["img"], job).float() - job.entered.float()
            return out
        out = {name: args[name] for name in ("img", "txt") if name in args}
        if self.last:
            job.added = job.predicted
            image = (job.entered.float() + job.predicted).to(out["img"].dtype)
            text = out["img"][:, : out["img"].shape[1] - image.shape[1]]
            out["img"] = torch.cat((text, image), 1)
        return out


def _image(tokens: Tensor, job: BlockJob) -> Tensor:
    """Return the image tokens of ``[text, image]``, the output of a single block."""
    return tokens[:, tokens.shape[1] - job.entered.shape[1] :]
