"""Small models with random weights, and shapes of them."""

import torch

SMALL_UNET = {"num_res_blocks": [1], "channel_mult": [1], "transformer_depth": [1], "transformer_depth_output": [1, 1]}
"""The smallest SDXL that has attention."""


class Hinted(torch.nn.Module):
    """A ControlNet model of a FLUX whose output depends on the hint of each row, and not on other rows."""

    dtype = torch.float32

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x, hint, timesteps, context, **extra):
        tokens = torch.randn((1, 24, 128), generator=torch.Generator().manual_seed(0))
        return {"input": [20 * tokens * hint.mean((1, 2, 3))[:, None, None]], "output": []}
