"""What is not the same in all supported versions of ComfyUI works with each of them.

The other versions are stood in for by what they do differently; `dev.test --comfyui` runs the core against a whole
tree of one.
"""

import functools
import inspect
from contextlib import ExitStack
from types import SimpleNamespace

import comfy.hooks
import comfy.ldm.modules.attention as attention
import comfy.sample
import pytest
import torch
from comfy_extras.nodes_custom_sampler import RandomNoise, SamplerCustomAdvanced
from diffusion_probe.engine.capture.hooks.stacks import cross_attention
from diffusion_probe.engine.capture.hooks.wrapper import AttentionHook
from diffusion_probe.engine.runs import comfy_versions
from diffusion_probe.engine.runs.comfy_versions import (
    embedding_name,
    empty_latent_for,
    keyframe_state,
    on_several_gpus,
)
from diffusion_probe.engine.seed_search.candidates import guider_candidate


def test_a_keyframe_group_keeps_all_that_a_run_changes_in_it():
    group = comfy.hooks.HookKeyframeGroup()
    for start in (0.0, 0.5):
        group.add(comfy.hooks.HookKeyframe(strength=start, start_percent=start))
    group.initialize_timesteps(
        SimpleNamespace(model_sampling=SimpleNamespace(percent_to_sigma=lambda percent: 1 - percent))
    )
    before, kept = dict(vars(group)), keyframe_state(group)
    options = {"sample_sigmas": torch.tensor([1.0, 0.0])}
    for sigma in (1.0, 0.4):
        group.prepare_current_keyframe(sigma, options)
    changed = {name for name, value in vars(group).items() if value is not before[name] and value != before[name]}
    assert len(changed) >= 3 and changed <= kept.keys()
    vars(group).update(kept)
    assert vars(group) == before


def before_0_22(model, latent_image, downscale_ratio_spacial=None):
    """As ``comfy.sample.fix_empty_latent_channels`` was: it doesn't know of time."""
    return latent_image + (downscale_ratio_spacial or 0)


@pytest.mark.parametrize(("spacial", "temporal"), [(8, 4), (8, None), (None, None)])
def test_an_older_comfyui_is_not_told_of_what_it_does_not_know(monkeypatch, spacial, temporal):
    monkeypatch.setattr(comfy.sample, "fix_empty_latent_channels", before_0_22)
    latent = {"downscale_ratio_spacial": spacial, "downscale_ratio_temporal": temporal}
    assert empty_latent_for(None, torch.zeros(2), latent).tolist() == [spacial or 0] * 2


@pytest.mark.skipif(
    "downscale_ratio_spacial" not in inspect.signature(comfy.sample.fix_empty_latent_channels).parameters,
    reason="this ComfyUI doesn't scale empty latents",
)
def test_a_guiders_empty_latent_is_scaled_as_sampler_custom_advanced_scales_it(small_model):
    import comfy.samplers

    small = small_model("FLUX.2")  # 16 pixels to a latent pixel, and SDXL's empty latent has 8
    guider = comfy.samplers.CFGGuider(small.model)
    guider.set_conds(small.prompt(1), small.prompt(2))
    guider.set_cfg(2.0)
    latent = {"samples": torch.zeros(1, 4, 16, 24), "downscale_ratio_spacial": 8}
    sigmas = torch.tensor([1.0, 0.5, 0.0])
    sampler = comfy.samplers.sampler_object("euler")
    with torch.inference_mode():
        noise = RandomNoise.execute(7).result[0]
        stock = SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).result[0]["samples"]
        ours = guider_candidate(7, guider, sampler, sigmas, latent).sample(small.model, None)
    assert stock.shape[-2:] == (8, 12) and torch.equal(ours, stock)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ((None, "cat"), None),
        ((None, "no", "cat"), None),
        (("vectors", ""), "asked,"),
        (("vectors", "found,", ""), "found,"),
    ],
)
def test_an_embedding_is_named_by_every_version_of_the_tokenizer(answer, name):
    assert embedding_name(answer, "asked, cat") == name


@pytest.mark.parametrize(
    ("control", "several"), [({}, False), ({"multigpu_clones": {}}, False), ({"multigpu_clones": {1: 2}}, True)]
)
def test_a_controlnet_may_not_know_of_several_gpus(control, several):
    assert on_several_gpus(SimpleNamespace(**control)) is several


class PreferredKernel(torch.nn.Module):
    """As ``ComfyAttention`` of 0.38: the kernel that a checkpoint asks for."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def function(self, q, k, v, *args, **options):
        self.calls += 1
        return attention.attention_basic(q, k, v, *args, **options) * 3


def wrapped_as_in_0_38(func):
    """The dispatch of an attention call in 0.38: an override never gets the preferred kernel."""

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        preferred_attention = kwargs.pop("preferred_attention", None)
        override = (kwargs.get("transformer_options") or {}).get("optimized_attention_override")
        if override is not None:
            return override(func, *args, _inside_attn_wrapper=True, **kwargs)
        if preferred_attention is not None:
            return preferred_attention.function(*args, _inside_attn_wrapper=True, **kwargs)
        return func(*args, **kwargs)

    return wrapper


def another_packs(func, *args, **kwargs):
    return func(*args, **kwargs) - 1


@pytest.mark.parametrize("previous", [None, another_packs])
def test_a_hooked_call_reaches_the_kernel_that_the_plain_call_reaches(monkeypatch, previous):
    monkeypatch.setattr(attention, "ComfyAttention", PreferredKernel, raising=False)
    call = wrapped_as_in_0_38(attention.attention_basic)
    tensors = [torch.randn(2, 6, 32) for _ in range(3)]

    def attend(override, kernel):
        options = {"optimized_attention_override": override} if override else {}
        return call(*tensors, 4, preferred_attention=kernel, transformer_options=options)

    kernels = [PreferredKernel(), PreferredKernel(), None, None]
    stock, hooked = attend(previous, kernels[0]), attend(AttentionHook(previous), kernels[1])
    assert torch.equal(hooked, stock) and kernels[1].calls == kernels[0].calls == (previous is None)
    assert torch.equal(attend(AttentionHook(previous), None), attend(previous, None))


def test_a_hooked_cross_attention_names_the_kernel_of_its_block(small_model, monkeypatch):
    import diffusion_probe.engine.capture.hooks.wrapper as wrapper
    from diffusion_probe.engine.capture.hooks.families import family_of

    small = small_model("SDXL")
    unet, family = small.model.model.diffusion_model, family_of(small.model)
    kernels = {}
    for block in family.blocks(unet):
        module = cross_attention(unet, block)
        monkeypatch.setattr(module, "comfy_attention", PreferredKernel(), raising=False)
        kernels[block] = module.comfy_attention
    monkeypatch.setattr(wrapper, "optimized_attention", wrapped_as_in_0_38(attention.attention_basic))
    options, q = {}, torch.randn(1, 6, 32)
    with ExitStack() as stack:
        wrapper._hook_attention(stack, family, unet, kernels, options)
        for block, kernel in kernels.items():
            options["patches_replace"]["attn2"][block](q, q, q, {"n_heads": 2, "attn_precision": None})
            assert kernel.calls == 1


def test_versions_without_preferred_kernels_are_called_as_they_are():
    assert hasattr(attention, "ComfyAttention") or comfy_versions.stock_attention(len) is len
