"""Attention of an SDXL is captured beside what other packs put in its place, whoever came first."""

from itertools import product

import comfy.patcher_extension
import pytest
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy_extras.nodes_nag import NAGuidance
from diffusion_probe.dev.random_models import random_sdxl
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured

from support.marks import some_long

BLOCK = ("input", 3, 0)

COMBINED = list(product(("before", "after"), (True, False), (BLOCK, BLOCK[:2])))
"""Order of attaching, whether the adapter passes options on, and what it names as its block."""


@pytest.fixture(scope="module")
def sdxl():
    return random_sdxl(scale=1.5)


@pytest.fixture
def sample(ksampler):
    def run(model):
        return ksampler(model, latent=torch.zeros(2, 4, 16, 24), steps=4)

    return run


def picture_adapter(model, with_options, calls, *block):
    """As IPAdapter does it: the text's attention, and that to a picture's tokens beside it."""
    model = model.clone()
    picture = torch.randn((1, 4, 128), generator=torch.Generator().manual_seed(3))

    def replacement(q, k, v, options):
        calls.append(options["block_index"])
        passed = {"transformer_options": options} if with_options else {}
        text = optimized_attention(q, k, v, options["n_heads"], **passed)
        tokens = picture.expand(len(q), -1, -1)
        return text + 0.5 * optimized_attention(q, tokens, tokens, options["n_heads"], **passed)

    model.set_model_attn2_replace(replacement, *block)
    return model


@pytest.mark.parametrize(
    ("order", "with_options", "block"),
    some_long(COMBINED, COMBINED[1:-1]),
)
def test_a_picture_adapter_keeps_its_effect_and_every_block_is_captured(
    sdxl, sample, probe, order, with_options, block
):
    alone, beside = [], []
    expected = sample(picture_adapter(sdxl, with_options, alone, *block))
    if order == "before":
        model = attach_probe(picture_adapter(sdxl, with_options, beside, *block), probe, "step 1")
    else:
        model = picture_adapter(attach_probe(sdxl, probe, "step 1"), with_options, beside, *block)
    latent = sample(model)
    assert torch.equal(latent, expected) and beside == alone and len(alone) > 0
    assert not torch.equal(latent, sample(sdxl)), "the adapter has an effect"
    plain = attach_probe(sdxl, probe, "step 1")
    rows = zip(captured(model, {"samples": latent}), captured(plain, {"samples": sample(plain)}), strict=True)
    for with_adapter, without in rows:
        assert with_adapter.blocks == without.blocks
        upto = without.blocks.index("input 3 0") + 1  # later blocks see what the adapter changed
        assert torch.equal(with_adapter.attention[:upto], without.attention[:upto])


@pytest.mark.parametrize("order", ["before", "after"])
def test_normalized_attention_guidance_of_core_keeps_its_effect(sdxl, sample, probe, order):
    def guided(model):
        return NAGuidance.execute(model, 5.0, 0.5, 1.5)[0]

    expected = sample(guided(sdxl))
    model = (
        attach_probe(guided(sdxl), probe, "step 1")
        if order == "before"
        else guided(attach_probe(sdxl, probe, "step 1"))
    )
    latent = sample(model)
    assert torch.equal(latent, expected) and not torch.equal(latent, sample(sdxl))
    attention = captured(model, {"samples": latent})[0].attention
    assert attention.sum(1).sub(1).abs().max() < 2e-2, "each query's weights over the text sum to 1"


def test_who_replaces_attention_in_mid_evaluation_is_not_disturbed_and_is_seen(sdxl, sample, probe):
    """Added after us, inside of our wrapper: what it put in stays, and the first block, which it hasn't changed yet,
    is seen as without it."""

    def replace_all(executor, model, conds, x, timestep, model_options):
        options = model_options["transformer_options"]
        attn2 = options.setdefault("patches_replace", {}).setdefault("attn2", {})
        for block in (("input", 1, 0), ("input", 3, 0), ("input", 3, 1)):
            attn2[block] = lambda q, k, v, options: 0.5 * optimized_attention(q, k, v, options["n_heads"])
        return executor(model, conds, x, timestep, model_options)

    def replacing(model):
        model = model.clone()
        model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.CALC_COND_BATCH, "other", replace_all)
        return model

    model = replacing(attach_probe(sdxl, probe, "step 1"))
    latent = sample(model)
    assert torch.equal(latent, sample(replacing(sdxl))) and not torch.equal(latent, sample(sdxl))
    plain = attach_probe(sdxl, probe, "step 1")
    rows = zip(captured(model, {"samples": latent}), captured(plain, {"samples": sample(plain)}), strict=True)
    for beside, without in rows:
        assert beside.blocks == without.blocks and torch.equal(beside.attention[0], without.attention[0])
