"""What is captured equals an explicit softmax of the model's own q and k."""

import comfy.patcher_extension
import pytest
import torch
from diffusion_probe.dev.random_models import random_conditioning
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.hooks import attention
from diffusion_probe.engine.capture.hooks.tokens import Tokens
from diffusion_probe.engine.capture.read import captured

TOKENS = 12


def explicit_softmax(q, k):
    return torch.softmax(q.double() @ k.double().mT / q.shape[-1] ** 0.5, dim=-1)


def record_softmax(model, step, chunk, rows=2):
    """A clone that keeps, for one evaluation, the explicit softmax of one chunk of rows by block."""
    model, seen, evaluations = model.clone(), {}, []

    def count(executor, *args, **kwargs):
        evaluations.append(1)
        return executor(*args, **kwargs)

    def override(func, q, k, v, heads, *args, **kwargs):
        options = kwargs["transformer_options"]
        if len(evaluations) == step:
            name = f"{options['block_type']} {options['block_index']}"
            index = options["cond_or_uncond"].index(chunk)
            seen[name] = explicit_softmax(q, k)[index * rows : (index + 1) * rows]
        return func(q, k, v, heads, *args, **kwargs)

    model.model_options["transformer_options"]["optimized_attention_override"] = override
    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREDICT_NOISE, "test", count)
    return model, seen


def test_text_attention_equals_an_explicit_softmax_to_1e_5():
    generator = torch.Generator().manual_seed(0)
    q, k = (2 * torch.randn((3, 2, 200, 128), generator=generator) for _ in range(2))
    weights = attention.text_attention(q, k, image=slice(150, 200), text=slice(0, 150))
    expected = explicit_softmax(q, k)[:, :, 150:, :150].mean(1).mT
    assert (weights - expected).abs().max() < 1e-5


def test_text_attention_in_several_calls_equals_one(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn((3, 2, 40, 8), generator=generator) for _ in range(2))
    whole = attention.text_attention(q, k, image=slice(20, 40), text=slice(0, 20))
    monkeypatch.setattr(attention, "CALL_BYTES", 1)
    assert torch.allclose(attention.text_attention(q, k, image=slice(20, 40), text=slice(0, 20)), whole, atol=1e-6)


def test_text_attention_obeys_the_mask_of_the_call():
    q, k = torch.randn(2, 1, 10, 8), torch.randn(2, 1, 10, 8)
    mask = torch.zeros(2, 10, 10)
    mask[1, :, 3] = -torch.inf
    weights = attention.text_attention(q, k, image=slice(4, 10), text=slice(0, 4), mask=mask)
    assert weights[1, 3].abs().max() == 0 and weights[0, 3].min() > 0


def test_text_attention_makes_nothing_of_image_tokens_squared():
    largest = []
    original = attention.attention_pytorch

    def watched(*args, **kwargs):
        output = original(*args, **kwargs)
        largest.append(output.numel())
        return output

    attention.attention_pytorch = watched
    try:
        q = torch.randn(1, 1, 2056, 8)
        weights = attention.text_attention(q, q, image=slice(8, 2056), text=slice(0, 8))
    finally:
        attention.attention_pytorch = original
    assert weights.shape == (1, 8, 2048) and max(largest) <= 2048 * 8


def test_maps_of_a_run_equal_the_explicit_softmax_of_every_block(flux, ksampler, probe):
    watched, softmax = record_softmax(flux, step=3, chunk=0)
    model = attach_probe(watched, probe, "step 3")
    rows = captured(model, {"samples": ksampler(model)})
    for row, features in enumerate(rows):
        assert features.blocks == ("double 0", "double 1", "single 0", "single 1", "single 2", "single 3")
        assert features.attention.shape == (6, TOKENS, 4, 6) and features.attention.dtype == torch.float16
        for block, maps in zip(features.blocks, features.attention, strict=True):
            expected = softmax[block][row, :, TOKENS:, :TOKENS].mean(0).mT.unflatten(1, (4, 6))
            assert (maps - expected).abs().max() < 5e-4  # half precision


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_maps_do_not_depend_on_whether_a_negative_prompt_shares_the_call(flux, ksampler, probe, cfg):
    alone = attach_probe(flux, probe, "step 1")
    expected = captured(alone, {"samples": ksampler(alone, cfg=1.0)})
    model = attach_probe(flux, probe, "step 1")
    rows = captured(model, {"samples": ksampler(model, cfg=cfg)})
    assert all((a.attention - b.attention).abs().max() < 1e-3 for a, b in zip(rows, expected, strict=True))


def test_copies_of_a_repeated_text_key_are_added_up():
    """ComfyUI repeats the shorter of two prompts along the token axis."""
    q, once = torch.randn(2, 1, 30, 8), torch.randn(2, 1, 5, 8)
    image_keys = torch.randn(2, 1, 25, 8)
    k = torch.cat([once, once, once, image_keys], 2)
    copies = tuple(slice(start, start + 5) for start in (0, 5, 10))
    weights = attention.position_weights(q, k, Tokens(slice(5, 30), (copies,)))
    expected = explicit_softmax(q, k)[:, 0, 5:30, :15].unflatten(2, (3, 5)).sum(2).mT
    assert torch.allclose(weights.double(), expected, atol=1e-6)


def test_prompts_of_different_lengths_keep_their_own_maps(flux, ksampler, probe):
    model = attach_probe(flux, probe, "step 1")
    same = captured(model, {"samples": ksampler(model, negative=random_conditioning(2, tokens=TOKENS))})
    longer = captured(model, {"samples": ksampler(model, negative=random_conditioning(2, tokens=3 * TOKENS))})
    assert all((a.attention - b.attention).abs().max() < 1e-3 for a, b in zip(same, longer, strict=True))


def test_split_and_joined_calls_give_the_same_maps(flux, ksampler, probe, monkeypatch):
    model = attach_probe(flux, probe, "step 2")
    joined = captured(model, {"samples": ksampler(model)})
    monkeypatch.setattr(type(flux), "get_free_memory", lambda *_: 0)
    split = captured(model, {"samples": ksampler(model, seed=6)})
    again = captured(model, {"samples": ksampler(model, seed=5)})
    assert all((a.attention - b.attention).abs().max() < 1e-3 for a, b in zip(joined, again, strict=True))
    assert any((a.attention - b.attention).abs().max() > 1e-3 for a, b in zip(joined, split, strict=True))


def test_several_conditioning_entries_follow_each_other(flux, ksampler, probe):
    model = attach_probe(flux, probe, "step 1")
    both = random_conditioning(1) + random_conditioning(3, tokens=5)
    rows = captured(model, {"samples": ksampler(model, positive=both)})
    first = captured(model, {"samples": ksampler(model, seed=5)})
    assert rows[0].attention.shape[1] == TOKENS + 5
    assert torch.allclose(rows[0].attention[:, :TOKENS].float(), first[0].attention.float(), atol=1e-3)


def test_a_regional_prompt_is_placed_in_its_region(flux, ksampler, probe):
    model = attach_probe(flux, probe, "step 1")
    whole, right = random_conditioning(1), random_conditioning(3)
    right[0][1]["area"] = (8, 6, 0, 6)  # height, width, top, left in latent pixels: the right half
    rows = captured(model, {"samples": ksampler(model, positive=whole + right)})
    regional = rows[0].attention[:, TOKENS:]
    assert regional[..., :3].abs().max() == 0 and regional[..., 3:].min() > 0


def test_the_first_pass_counts_when_a_guidance_node_runs_the_prompt_again(flux, ksampler, probe):
    model = attach_probe(flux, probe, "step 1")
    expected = captured(model, {"samples": ksampler(model)})
    import comfy.samplers

    perturbed = model.clone()

    def second_pass(args):
        comfy.samplers.calc_cond_batch(
            args["model"], [args["cond"]], 2 * args["input"], args["sigma"], args["model_options"]
        )
        return args["denoised"]

    perturbed.set_model_sampler_post_cfg_function(second_pass)
    rows = captured(perturbed, {"samples": ksampler(perturbed)})
    assert all(torch.equal(a.attention, b.attention) for a, b in zip(rows, expected, strict=True))


def test_maps_are_kept_on_a_grid_of_at_most_16(flux, ksampler, probe):
    model = attach_probe(flux, probe, "step 1")
    output = ksampler(model, latent=torch.zeros(1, 16, 96, 48), steps=2)
    assert captured(model, {"samples": output})[0].attention.shape == (6, TOKENS, 16, 8)


def test_only_what_the_probe_needs_is_recorded(flux, ksampler, probe):
    probe.needs = frozenset({"denoised"})
    model = attach_probe(flux, probe, "step 1")
    assert captured(model, {"samples": ksampler(model)})[0].attention is None
