"""Check of joined calls: it tells rounding from rows that change each other, in every precision."""

import pytest
import torch
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_model
from diffusion_probe.engine.seed_search.hub.row_check import ROUNDING, RowCheck, added_code


def small(name, dtype):
    model = random_flux(scale=1.5, dtype=dtype) if name == "FLUX" else random_model(name, scale=1.5, dtype=dtype)
    model.model.manual_cast_dtype = dtype  # on the CPU ComfyUI would compute in fp32
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["FLUX", "SDXL", "SD3.5 medium"])
def test_rounding_of_another_batch_size_stays_below_the_threshold(ksampler, name, dtype):
    """One evaluation of four rows, together and one by one."""
    model = small(name, dtype)
    channels = model.get_model_object("latent_format").latent_channels
    noise = torch.randn(4, channels, 8, 12, generator=torch.manual_seed(0))
    conds = {"positive": random_conditioning(1), "negative": random_conditioning(2), "steps": 1, "cfg": 1.0}
    together = ksampler(model, noise=noise, latent=torch.zeros_like(noise), **conds)
    alone = [ksampler(model, noise=row[None], latent=torch.zeros_like(row[None]), **conds)[0] for row in noise]
    check = RowCheck(model)
    for joined, single in zip(together, alone, strict=True):
        assert not check.differ(joined, single)
        assert check.differ(joined * (1 + 3 * ROUNDING[dtype]), single)


@pytest.mark.parametrize("name", ["FLUX", "SDXL", "Qwen-Image"])
def test_nothing_is_checked_on_a_model_to_which_nothing_was_added(name):
    assert not list(added_code(small(name, torch.float32)))
