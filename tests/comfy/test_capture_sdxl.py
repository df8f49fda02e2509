"""Cross-attention of a UNet: exact, beside what other packs put in its place."""

import pytest
import torch
from comfy.ldm.modules.attention import attention_pytorch
from diffusion_probe.dev.random_models import random_conditioning, random_sdxl
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured

TOKENS = 12
BLOCKS = ("input 1 0", "input 3 0", "input 3 1")


@pytest.fixture
def sdxl():
    return random_sdxl(scale=1.5)


@pytest.fixture
def sample(ksampler):
    def run(model, **options):
        return ksampler(model, latent=torch.zeros(2, 4, 16, 24), **options)

    return run


def explicit_maps(model, softmax):
    """A clone whose cross-attention is replaced by an explicit softmax that is kept."""
    model = model.clone()

    def replacement(q, k, v, options):
        heads = options["n_heads"]
        q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1)
        positive = options["cond_or_uncond"].index(0) if 0 in options["cond_or_uncond"] else None
        if positive is not None:
            softmax.setdefault(options["block"] + (options["block_index"],), weights[2 * positive : 2 * positive + 2])
        return (weights @ v).transpose(1, 2).flatten(2)

    for block in (("input", 1, 0), ("input", 3, 0), ("input", 3, 1)):
        model.set_model_attn2_replace(replacement, *block[:2], block[2])
    return model


def test_latents_are_bit_identical_with_and_without_a_probe(sdxl, sample, probe):
    assert torch.equal(sample(sdxl), sample(attach_probe(sdxl, probe, "20%, step 2")))


def test_maps_equal_the_softmax_also_of_a_replacement_without_transformer_options(sdxl, sample, probe):
    softmax = {}
    replaced = explicit_maps(sdxl, softmax)
    model = attach_probe(replaced, probe, "step 1")
    rows = captured(model, {"samples": sample(model)})
    assert rows[0].blocks == BLOCKS and rows[0].attention.shape == (3, TOKENS, 11, 16)
    for row, features in enumerate(rows):
        for name, maps in zip(features.blocks, features.attention, strict=True):
            kind, number, index = name.split()
            expected = softmax[(kind, int(number), int(index))][row].mean(0).mT
            shape = (16, 24) if number == "1" else (8, 12)
            expected = torch.nn.functional.adaptive_avg_pool2d(expected.unflatten(1, shape), (11, 16))
            assert (maps - expected).abs().max() < 1e-3


def test_maps_without_a_replacement_are_the_same(sdxl, sample, probe):
    plain = attach_probe(sdxl, probe, "step 1")
    replaced = attach_probe(explicit_maps(sdxl, {}), probe, "step 1")
    a, b = captured(plain, {"samples": sample(plain)}), captured(replaced, {"samples": sample(replaced)})
    assert all((x.attention - y.attention).abs().max() < 1e-3 for x, y in zip(a, b, strict=True))


def test_a_replacement_of_the_whole_block_or_added_after_us_is_still_called(sdxl, sample, probe):
    calls = []

    def replacement(q, k, v, options):
        calls.append(options["block_index"])
        return 0.5 * attention_pytorch(q, k, v, options["n_heads"])

    for order in ("before", "after"):
        calls.clear()
        model = sdxl.clone()
        if order == "after":
            model = attach_probe(model, probe, "step 1")
        model.set_model_attn2_replace(replacement, "input", 3)
        alone = sdxl.clone()
        alone.set_model_attn2_replace(replacement, "input", 3)
        expected, expected_calls = sample(alone), list(calls)
        calls.clear()
        model = model if order == "after" else attach_probe(model, probe, "step 1")
        latent = sample(model)
        assert torch.equal(latent, expected) and calls == expected_calls
        assert captured(model, {"samples": latent})[0].blocks == BLOCKS


def test_repeated_text_keys_are_folded_back(sdxl, sample, probe):
    """A negative prompt of twice the length shares the call with the positive one, repeated."""
    model = attach_probe(sdxl, probe, "step 1")
    same = captured(model, {"samples": sample(model, negative=random_conditioning(2, tokens=TOKENS))})
    twice = captured(model, {"samples": sample(model, negative=random_conditioning(2, tokens=2 * TOKENS))})
    assert all((a.attention - b.attention).abs().max() < 1e-3 for a, b in zip(same, twice, strict=True))


def test_a_sampler_history_and_a_noise_level_of_a_thousand_steps_find_their_moment(sdxl, sample, probe):
    model = attach_probe(sdxl, probe)
    for scheduler, steps in (("karras", 20), ("normal", 25), ("simple", 25)):
        features = captured(model, {"samples": sample(model, steps=steps, scheduler=scheduler, cfg=1.0)})[0]
        assert features.moment == "20%" and 0.1 < features.percent < 0.21
