"""Where the image has another number of tokens than the latent, maps are scaled exactly or left out, and it is said."""

import operator

import pytest
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured, finished_rows, score_latent
from diffusion_probe.engine.core.features import NEEDS
from diffusion_probe.engine.core.probe import CaptureAll
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.search import seed_search
from diffusion_probe.probe_models.focus import AttentionFocus
from torch.nn.functional import adaptive_avg_pool2d

TOKENS = "another node changes how many tokens the image has"


@pytest.fixture(scope="module")
def sdxl():
    """Two stages: its blocks see the whole latent, and half of each side."""
    shape = {"transformer_depth": [1, 1], "transformer_depth_output": [1, 1, 1, 1], "model_channels": 64}
    return random_sdxl(scale=1.5, **shape)


@pytest.fixture(scope="module")
def flux():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1, scale=1.5)


def deep_shrunk(model, factor=2.0, block=2, after_skip=True):
    """Core's node: behind a block of the encoder the picture is scaled down, until 35 % of the noise."""
    return PatchModelAddDownscale.execute(model, block, factor, 0.0, 0.35, after_skip, "bilinear", "bilinear")[0]


def softmax_of(model, block, seen):
    """A clone whose cross-attention in one block keeps its explicit softmax ``[rows, queries, keys]``."""
    model = model.clone()

    def replacement(q, k, v, options):
        q, k, v = (t.unflatten(-1, (options["n_heads"], -1)).transpose(1, 2) for t in (q, k, v))
        weights = torch.softmax(q.double() @ k.double().mT / q.shape[-1] ** 0.5, dim=-1)
        chunk = 2 * options["cond_or_uncond"].index(0)
        seen.append(weights[chunk : chunk + 2].mean(1))
        return (weights.float() @ v).transpose(1, 2).flatten(2)

    model.set_model_attn2_replace(replacement, *block[:2], block[2])
    return model


# Sides of the latent, what they are shrunk by, and the tokens that are left of them behind the stage's downsampling.
SHRUNK = [((16, 24), 2.0, (4, 6)), ((15, 21), 2.0, (4, 6)), ((18, 26), 2.0, (4, 6)), ((16, 24), 1.5, (5, 8))]
SHRUNK += [((13, 37), 2.0, (4, 10))]


@pytest.mark.parametrize(("size", "factor", "left"), SHRUNK)
def test_maps_of_a_deep_shrink_are_scaled_to_the_whole_image(sdxl, ksampler, size, factor, left):
    """Some sizes ended the run with an error of unflatten, others scrambled the map."""
    softmax = []
    shrunk = deep_shrunk(softmax_of(sdxl, ("input", 3, 0), softmax), factor)
    model = attach_probe(shrunk, AttentionFocus(), "step 1")
    options = {"latent": torch.zeros(2, 4, *size), "steps": 3}
    latent = ksampler(model, **options)
    seen, softmax[:] = softmax[0], []
    assert torch.equal(latent, ksampler(shrunk, **options))
    rows = captured(model, {"samples": latent})
    for row, weights in zip(rows, seen, strict=True):
        assert row.blocks == ("input 1 0", "input 3 0") and len(weights) == left[0] * left[1]
        expected = adaptive_avg_pool2d(weights.mT.unflatten(1, left), row.attention.shape[2:])
        assert expected.std() > 1e-3 and (row.attention[1] - expected).abs().max() < 1e-3
    assert (
        "as Kohya Deep Shrink makes it; their attention maps were scaled"
        in score_latent(model, {"samples": latent}).note
    )


def test_a_region_of_a_deep_shrunk_image_stays_in_its_place(sdxl, ksampler):
    right = random_conditioning(3)
    right[0][1]["area"] = (16, 12, 0, 12)  # height, width, top, left in latent pixels: the right half
    model = attach_probe(deep_shrunk(sdxl), AttentionFocus(), "step 1")
    options = {"latent": torch.zeros(2, 4, 16, 24), "steps": 1, "positive": random_conditioning(1) + right}
    (row, _) = captured(model, {"samples": ksampler(model, **options)})
    whole, regional = row.attention.chunk(2, 1)
    half = whole.shape[-1] // 2
    assert row.blocks == ("input 1 0", "input 3 0") and whole[1, ..., :half].amax(0).min() > 0
    assert regional[..., :half].abs().max() == 0 and regional[1, ..., half:].amax(0).min() > 0


def test_a_block_without_shrinking_is_as_without_the_node(sdxl, ksampler):
    plain, shrunk = attach_probe(sdxl, CaptureAll(), "step 1"), attach_probe(deep_shrunk(sdxl), CaptureAll(), "step 1")
    options = {"latent": torch.zeros(2, 4, 15, 21), "steps": 1}
    for row, other in zip(*(captured(m, {"samples": ksampler(m, **options)}) for m in (plain, shrunk)), strict=True):
        assert torch.equal(row.attention[0], other.attention[0]) and not torch.equal(row.attention, other.attention)
        assert other.activation.shape == row.activation.shape, "core scales back up before the block that is read"


def test_a_searched_deep_shrink_is_scored_and_its_survivor_is_ksamplers(sdxl, ksampler):
    shrunk, latent = deep_shrunk(sdxl), torch.zeros(1, 4, 15, 21)
    found = [
        ksampler_candidate(seed, 4, 2.0, "euler", "simple", random_conditioning(1), random_conditioning(2),
                           {"samples": latent})
        for seed in range(2)
    ]  # fmt: skip
    with torch.inference_mode():
        result = seed_search(
            shrunk, found, AttentionFocus(), lambda steps: policy_named(ONE_CUT, steps, 2, 1, share=0.25), 1
        )
    expected = ksampler(shrunk, latent=latent, seed=result.survivors[0], steps=4)
    assert (result.latents - expected).norm() / expected.norm() < 1e-5
    assert any("were scaled to the whole image" in warning for warning in result.outcome.warnings)


def merged(model):
    """As token merging does it, but in cross-attention: every second token of the image asks for its neighbour, too."""
    model = model.clone()
    model.set_model_attn2_patch(lambda q, k, v, options: (q[:, ::2], k, v))
    model.set_model_attn2_output_patch(lambda n, options: n.repeat_interleave(2, 1))
    return model


def in_tiles(model):
    """Tiles of the image as rows of their own, as HyperTile makes them, but in cross-attention."""
    model = model.clone()

    def cut(q, k, v, options):
        return q.unflatten(1, (4, -1)).flatten(0, 1), k.repeat_interleave(4, 0), v.repeat_interleave(4, 0)

    model.set_model_attn2_patch(cut)
    model.set_model_attn2_output_patch(lambda n, options: n.unflatten(0, (-1, 4)).flatten(1, 2))
    return model


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (merged, r"changes how many tokens the image has \(192 in"),
        (in_tiles, r"repeats, .* rows before.* \(16 instead"),
    ],
    ids=["merged", "in tiles"],
)
def test_tokens_that_are_merged_or_tiled_are_not_taken_for_the_image(sdxl, ksampler, change, says):
    model = attach_probe(change(sdxl), AttentionFocus(), "step 1")
    options = {"latent": torch.zeros(2, 4, 16, 24), "steps": 2}
    latent = ksampler(model, **options)
    assert torch.equal(latent, ksampler(change(sdxl), **options))
    with pytest.raises(ValueError, match=f"nothing was captured, because another node {says}"):
        captured(model, {"samples": latent})


def test_a_block_that_runs_for_each_quarter_of_the_image_is_not_taken_for_shrunk(sdxl, ksampler, monkeypatch):
    layer = next(layer for layer in sdxl.model.diffusion_model.input_blocks[3] if hasattr(layer, "transformer_blocks"))
    whole = layer.forward

    def by_quarters(x, context=None, transformer_options=None):
        rows = (half.chunk(2, 3) for half in x.chunk(2, 2))
        return torch.cat([torch.cat([whole(t, context, transformer_options) for t in row], 3) for row in rows], 2)

    monkeypatch.setattr(layer, "forward", by_quarters)
    model = attach_probe(sdxl, AttentionFocus(), "step 1")
    latent = {"samples": ksampler(model, latent=torch.zeros(2, 4, 16, 24), steps=1)}
    assert captured(model, latent)[0].blocks == ("input 1 0",)
    assert "input 3 0 is left out, because another node runs a block of the model several times in one call" in (
        score_latent(model, latent).note
    )


def fewer_image_tokens(model, text):
    """Every second token of the image in joint attention, its queries and keys; each answer counts twice."""
    model = model.clone()

    def halve(q, k, v, pe, attn_mask, extra_options):
        def less(t):
            return torch.cat([t[:, :, :text], t[:, :, text::2]], 2)

        return {"q": less(q), "k": less(k), "v": less(v), "pe": less(pe)}

    model.set_model_attn1_patch(halve)
    model.set_model_attn1_output_patch(
        lambda n, options: torch.cat([n[:, :text], n[:, text:].repeat_interleave(2, 1)], 1)
    )
    return model


@pytest.mark.parametrize(("name", "text"), [("FLUX", 12), ("FLUX.2", 512)])
def test_fewer_tokens_in_joint_attention_are_noticed(small_model, probe, name, text):
    """FLUX.2 fills a prompt up to 512 tokens, so that fewer image tokens looked like a shorter filling."""
    small = small_model(name)
    fewer = fewer_image_tokens(small.model, text)
    model = attach_probe(fewer, probe, "step 1")
    latent = small.sample(model, steps=1)
    assert torch.equal(latent, small.sample(fewer, steps=1))
    with pytest.raises(ValueError, match=f"nothing was captured, because {TOKENS}"):
        captured(model, {"samples": latent})


def test_an_adapters_own_attention_in_a_block_is_not_taken_for_the_blocks(flux, ksampler):
    """It asks four keys of a picture first, from all queries, as adapters do that add a picture."""
    adapted = flux.clone()
    picture = torch.randn((1, 1, 4, 128), generator=torch.Generator().manual_seed(3))

    def replacement(args, extra):
        q = torch.cat([args["txt"], args["img"]], 1)[:, None]
        keys = picture.expand(len(q), -1, -1, -1)
        added = optimized_attention(
            q, keys, keys, 1, skip_reshape=True, transformer_options=args["transformer_options"]
        )
        out = extra["original_block"](args)
        return {**out, "img": out["img"] + 0.1 * added[:, 12:]}

    adapted.set_model_patch_replace(replacement, "dit", "double_block", 0)
    model, plain = (attach_probe(given, AttentionFocus(), "step 1") for given in (adapted, flux))
    latent = ksampler(model, steps=1)
    assert torch.equal(latent, ksampler(adapted, steps=1)) and not torch.equal(latent, ksampler(flux, steps=1))
    rows = captured(model, {"samples": latent}), captured(plain, {"samples": ksampler(plain, steps=1)})
    for row, other in zip(*rows, strict=True):
        assert row.blocks == other.blocks and torch.equal(row.attention[0], other.attention[0])


def test_fewer_tokens_in_a_single_stream_are_noticed(flux, ksampler):
    """The last block of FLUX runs on half of the image's tokens; the other half goes past it."""
    half = flux.clone()

    def replacement(args, extra):
        img, pe = args["img"], args["pe"]
        few = extra["original_block"]({**args, "img": img[:, :24], "pe": pe[:, :, :24]})["img"]
        return {"img": torch.cat([few, img[:, 24:]], 1)}

    half.set_model_patch_replace(replacement, "dit", "single_block", 0)
    model = attach_probe(half, AttentionFocus(), "step 1")
    latent = ksampler(model, steps=2)
    assert torch.equal(latent, ksampler(half, steps=2))
    assert captured(model, {"samples": latent})[0].blocks == ("double 0",)
    assert f"The attention of single 0 is left out, because {TOKENS}" in score_latent(model, {"samples": latent}).note


@pytest.mark.parametrize(("name", "path"), [("Z-Image", "layers"), ("Lumina 2", "layers")])
def test_more_tokens_than_prompt_and_image_have_are_noticed(small_model, probe, name, path):
    """32 more behind the image, in the blocks alone: they were taken for text before the prompt."""
    small = small_model(name)
    network = small.model.model.diffusion_model

    def longer(module, inputs, given):
        x, mask, freqs = inputs[:3]
        return (torch.cat([x, x[:, :32]], 1), mask, torch.cat([freqs, freqs[:, :32]], 1), *inputs[3:]), given

    layers = operator.attrgetter(path)(network)
    hooks = [layer.register_forward_pre_hook(longer, with_kwargs=True) for layer in layers]
    hooks += [layer.register_forward_hook(lambda module, inputs, output: output[:, :-32]) for layer in layers]
    try:
        model = attach_probe(small.model, probe, "step 1")
        latent = small.sample(model, steps=1)
    finally:
        for hook in hooks:
            hook.remove()
    with pytest.raises(ValueError, match=f"nothing was captured, because {TOKENS}"):
        captured(model, {"samples": latent})


def test_an_activation_of_other_tokens_is_not_taken(flux, ksampler):
    """What the block that is read gives is shorter, and the model's end puts the rest back."""
    shorter, rest = flux.clone(), []

    def replacement(args, extra):
        out = extra["original_block"](args)
        rest[:] = [out["img"][:, 30:]]
        return {"img": out["img"][:, :30]}

    def whole(module, inputs):
        return (torch.cat([inputs[0], rest[0]], 1), *inputs[1:])

    shorter.set_model_patch_replace(replacement, "dit", "single_block", 0)
    hook = flux.model.diffusion_model.final_layer.register_forward_pre_hook(whole)
    try:
        model = attach_probe(shorter, CaptureAll(), "step 1")
        latent = ksampler(model, steps=1)
    finally:
        hook.remove()
    with pytest.raises(ValueError, match=rf"the activation could not be captured at step 1: {TOKENS} \(18 in"):
        finished_rows(model, {"samples": latent})


def test_calls_that_no_block_makes_are_noticed_where_they_are_counted(small_model, probe):
    """HiDream's blocks are known by the order of their attention calls."""
    small = small_model("HiDream")
    block = small.model.model.diffusion_model.double_stream_blocks[0]
    original = block.forward

    def forward(*args, **kwargs):
        original(*(a.clone() if torch.is_tensor(a) else a for a in args),
                 **{name: v.clone() if torch.is_tensor(v) else v for name, v in kwargs.items()})  # fmt: skip
        return original(*args, **kwargs)

    block.forward = forward
    try:
        model = attach_probe(small.model, probe, "step 1")
        latent = small.sample(model, steps=1)
    finally:
        del block.forward
    with pytest.raises(ValueError, match=r"adds to the model's 4 attention calls or leaves some out \(5\)"):
        captured(model, {"samples": latent})


def test_every_part_that_can_be_missing_has_a_reason_of_its_own(flux, ksampler):
    recorder = attach_probe(flux, CaptureAll(), "step 1")
    (row, _) = captured(recorder, {"samples": ksampler(recorder, steps=1)})
    assert row.why == {} and all(getattr(row, part) is not None for part in NEEDS)
