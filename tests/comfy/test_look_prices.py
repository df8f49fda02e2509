"""Operations that prices of looks are made of, counted by torch on models of real dimensions without memory."""

import comfy.ldm.models.autoencoder
import comfy.supported_models
import pytest
import torch
from comfy.taesd.taesd import TAESD
from diffusion_probe.dev.random_models import FLUX_DEV, SDXL_BASE
from diffusion_probe.engine.capture.hooks.families import FAMILIES
from diffusion_probe.engine.core.look_prices import DECODERS, EVALUATIONS, FAST, REWARDS, VAE
from diffusion_probe.engine.rewards import catalog
from diffusion_probe.testbed.sdxl import SDXL_FIXED
from torch.utils.flop_counter import FlopCounterMode

FLUX_CONFIG = {
    **FLUX_DEV, "image_model": "flux", "in_channels": 16, "out_channels": 16, "patch_size": 2, "mlp_ratio": 4.0,
    "num_heads": 24, "axes_dim": [16, 56, 56], "theta": 10000, "qkv_bias": True, "guidance_embed": True,
    "txt_ids_dims": [],
}  # fmt: skip
VAE_CONFIG = {
    "double_z": True, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0, "z_channels": 4,
}  # fmt: skip


@pytest.fixture(autouse=True)
def much_memory(monkeypatch):
    """Let ComfyUI's attention take all tokens at once: the device has no memory to ask for."""
    monkeypatch.setattr("comfy.model_management.get_free_memory", lambda *each: (1e15, 1e15) if each[1:] else 1e15)


def counted(network, *shapes, **inputs) -> float:
    """TFLOP of one call of a network whose inputs have these shapes."""
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(*(torch.empty(shape) for shape in shapes), **{k: torch.empty(shape) for k, shape in inputs.items()})
    return counter.get_total_flops() / 1e12


def network_of(config):
    config.set_inference_dtype(torch.float32, None)
    with torch.device("meta"):
        return config.get_model({}, "").diffusion_model


@pytest.mark.long
def test_an_evaluation_of_flux_computes_what_the_table_says():
    network = network_of(comfy.supported_models.Flux(FLUX_CONFIG))
    for side in (64, 128, 256):
        one = counted(network, (1, 16, side, side), (1,), (1, 256, 4096), (1, 768), (1,))
        assert EVALUATIONS["FLUX"].at((8 * side) ** 2) == pytest.approx(one, rel=0.01)


@pytest.mark.long
def test_an_evaluation_of_sdxl_computes_what_the_table_says():
    network = network_of(comfy.supported_models.SDXL({**SDXL_FIXED, **SDXL_BASE}))
    for side in (64, 128, 256):
        two = counted(network, (2, 4, side, side), (2,), (2, 77, 2048), y=(2, 2816))
        assert EVALUATIONS["SDXL"].at((8 * side) ** 2) == pytest.approx(two, rel=0.01)


@pytest.mark.parametrize("side", [64, 128])
def test_decoders_compute_what_the_table_says(side):
    pixels, latent = (8 * side) ** 2, (1, 4, side, side)
    with torch.device("meta"):
        networks = {VAE: comfy.ldm.modules.diffusionmodules.model.Decoder(**VAE_CONFIG), FAST: TAESD().taesd_decoder}
    for name, network in networks.items():
        assert DECODERS[name].at(pixels) == pytest.approx(counted(network, latent), rel=0.03)


def test_prices_are_of_families_and_reward_models_that_the_pack_knows():
    assert set(EVALUATIONS) <= {family.name for family in FAMILIES}
    assert set(REWARDS) <= set(catalog.REWARDS)
