"""Small stand-ins for inputs of nodes beside the MODEL: a VAE and model patches, with random weights."""

from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
import torch.nn.functional as F
from comfy.ldm.lumina.controlnet import ZImage_Control
from comfy.ldm.supir.supir_modules import GLVControl, ZeroCrossAttn, ZeroSFT
from comfy.ldm.wan.uni3c import WanUni3CControlnet
from comfy_extras.nodes_model_patch import QwenImageBlockWiseControlNet, SigLIPMultiFeatProjModel
from torch import Tensor, nn

from benchmarks.lib.exactness_models import SHAPES

OPERATIONS = {"operations": comfy.ops.manual_cast}
PIXELS = 8
"""Side of the square that one latent position stands for."""


class PlainVae:
    """A VAE that averages pixels into a latent, and repeats them out of it."""

    def __init__(self, channels: int, frames: bool):
        self.channels, self.frames = channels, frames

    def encode(self, image: Tensor) -> Tensor:
        """Encode ``[rows, height, width, 3]`` to ``[rows, channels, height / 8, width / 8]``, and a frame for video."""
        mean = F.avg_pool2d(image.movedim(-1, 1), PIXELS) - 0.5
        latent = mean.repeat(1, -(-self.channels // 3), 1, 1)[:, : self.channels]
        return latent.unsqueeze(2) if self.frames else latent

    def decode(self, latent: Tensor) -> Tensor:
        """Decode to ``[rows, height, width, 3]``."""
        return F.interpolate(latent[:, :3] + 0.5, scale_factor=PIXELS).movedim(1, -1)

    def spacial_compression_encode(self) -> int:
        """Return the side of the square of pixels that one latent position stands for."""
        return PIXELS

    def temporal_compression_decode(self) -> int:
        """Return the frames of a video that one latent frame stands for."""
        return 4


def patcher(network: nn.Module, seed: int) -> Any:
    """Return a MODEL_PATCH of a network, with random weights."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        width = parameter.shape[1:].numel() if parameter.ndim > 1 else 1
        random = torch.randn(parameter.shape, generator=generator) * width**-0.5
        parameter.data = random if parameter.ndim > 1 else torch.ones_like(random)
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.CoreModelPatcher(
        network.to(device), load_device=device, offload_device=torch.device("cpu")
    )


class Supir(nn.Module):
    """SUPIR's networks in the sizes of the small SDXL: its control encoder and its adapters.

    One adapter is for the middle and for each output block, with another before the upsampling; the last comes first.
    """

    def __init__(self) -> None:
        super().__init__()
        low = SHAPES["SDXL"]["model_channels"]
        high = 2 * low
        self.control_model = GLVControl(
            model_channels=low, num_res_blocks=1, attention_resolutions=(1, 2), channel_mult=(1, 2),
            num_head_channels=16, transformer_depth=(1, 1), context_dim=32, adm_in_channels=32 + 6 * 256, **OPERATIONS,
        )  # fmt: skip
        self.project_modules = nn.ModuleList(
            [
                ZeroSFT(low, low, low, **OPERATIONS),
                ZeroSFT(low, low, high, **OPERATIONS),
                ZeroCrossAttn(low, high, **OPERATIONS),
                ZeroSFT(low, low, high, **OPERATIONS),
                ZeroSFT(high, high, high, **OPERATIONS),
                ZeroSFT(high, high, **OPERATIONS),
            ]
        )


def supir(seed: int) -> Any:
    """Return the model patch that restores pictures with SDXL."""
    return patcher(Supir(), seed)


def uso(seed: int) -> Any:
    """Return the model patch that turns an image encoder's features into text tokens of the small FLUX."""
    return patcher(SigLIPMultiFeatProjModel(9, 4, 16, hidden_size=SHAPES["FLUX"]["hidden_size"], **OPERATIONS), seed)


class SeenImage:
    """Output of an image encoder, of as many layers as the node reads."""

    def __init__(self, features: Tensor):
        self.all_hidden_states = features
        self.penultimate_hidden_states = features[:, -2]


def qwen_control(seed: int) -> Any:
    """Return a ControlNet of the small Qwen-Image."""
    return patcher(QwenImageBlockWiseControlNet(num_layers=3, dim=32, **OPERATIONS), seed)


def z_image_control(seed: int) -> Any:
    """Return a ControlNet of the small Z-Image that acts on every second block."""
    return patcher(ZImage_Control(dim=256, n_heads=4, n_kv_heads=4, n_control_layers=15, **OPERATIONS), seed)


def wan_control(seed: int) -> Any:
    """Return a camera control of the small Wan 2.1."""
    network = WanUni3CControlnet(
        conv_out_dim=32, dim=48, ffn_dim=64, num_heads=2, num_layers=2, time_embed_dim=64, out_proj_dim=64,
        mid_channels=16, dtype=torch.float32, **OPERATIONS,
    )  # fmt: skip
    return patcher(network, seed)
