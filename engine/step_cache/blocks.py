"""The published space: what FLUX's whole stack of blocks adds to the image tokens.

Every block is replaced, through ``patches_replace`` and around what is installed there. In a computed
call the blocks run as ever and the sum of what they added is noted; in a predicted one they hand their
input on, and the last one adds the prediction. Two traps: blocks write into their input, so the
image tokens are cloned before the first one; and a ControlNet adds its part between the blocks in
predicted calls as well, so the last block starts from that clone, and it counts once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

JOB = "diffusion_probe_step_cache_blocks"


@dataclass(eq=False)  # jobs of different calls are never alike: the search hub must not join them
class BlockJob:
    """One call of the model.

    Attributes:
        predicted: what the stack is to add, ``[rows, tokens, hidden]``; None computes it.
        added: what the stack added, float32; None until the last block.
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
    """A replacement of one block, around what was ``installed`` there before."""

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
    """Return the image tokens of ``[text, image]``, as they leave a single block."""
    return tokens[:, tokens.shape[1] - job.entered.shape[1] :]
