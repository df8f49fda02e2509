"""Every family of the table, on a small model of ComfyUI's own class with random weights: what is captured is
exact, and capturing changes nothing."""

import copy
import operator
from types import SimpleNamespace

import comfy.ops
import comfy.sample
import comfy.supported_models
import pytest
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy_extras.nodes_flux import FluxKVCache
from diffusion_probe.dev.random_models import SDXL_BASE, SDXL_FIXED, SMALL_MODELS
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.attention_preview import attention_preview
from diffusion_probe.engine.capture.hooks.families import FAMILIES
from diffusion_probe.engine.capture.hooks.tokens import Attention, Tokens, text_image
from diffusion_probe.engine.capture.previews import preview_images
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.engine.core.probe import CaptureAll
from torch.nn.functional import adaptive_avg_pool2d

SD15 = {
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "num_heads": 8,
    "context_dim": 768,
}
"""The dimensions of Stable Diffusion 1.5."""

TOKENS, LLAMA = 12, 7
IMAGE = 4 * 6


def first(weights):
    """``[text, image]``"""
    return weights[:, TOKENS:, :TOKENS]


def keys(weights):
    """Cross-attention."""
    return weights


def after_padding(weights):
    """``[padding and text: 512, image]``"""
    return weights[:, 512:, 512 - TOKENS : 512]


def padded(weights):
    """``[text, padding up to 32, image, padding]``"""
    return weights[:, 32 : 32 + IMAGE, :TOKENS]


def before_llama(weights):
    """``[image, T5, Llama, Llama]``"""
    t5, *llamas = weights[:, :IMAGE, IMAGE:].split([TOKENS, LLAMA, LLAMA], -1)
    return torch.cat([t5, sum(llamas)], -1)


# name: the family, its blocks as they are captured with the module that holds each one's attention, and where the
# text lies in the softmax [rows, queries, keys] as ComfyUI's code builds it.
MODELS = {
    "FLUX": (
        "FLUX",
        {"double 0": "double_blocks.0", "double 1": "double_blocks.1"}
        | {f"single {n}": f"single_blocks.{n}" for n in range(4)},
        first,
    ),
    "FLUX.2": (
        "FLUX.2",
        {f"{kind} {n}": f"{kind}_blocks.{n}" for kind in ("double", "single") for n in range(2)},
        after_padding,
    ),
    "FLUX.2 Klein": (
        "FLUX.2",
        {"double 0": "double_blocks.0", "single 0": "single_blocks.0", "single 1": "single_blocks.1"},
        after_padding,
    ),
    "Chroma": (
        "Chroma",
        {f"{kind} {n}": f"{kind}_blocks.{n}" for kind in ("double", "single") for n in range(2)},
        first,
    ),
    "SDXL": (
        "SDXL",
        {f"input {n} {i}": f"input_blocks.{n}.1.transformer_blocks.{i}.attn2" for n, i in ((1, 0), (3, 0), (3, 1))},
        keys,
    ),
    "SD1.5": (
        "SD1.5",
        {f"input {n} 0": f"input_blocks.{n}.1.transformer_blocks.0.attn2" for n in (1, 3)},
        keys,
    ),
    "SD3.5 medium": ("SD3.5", {f"double {n}": f"joint_blocks.{n}" for n in range(4)}, first),
    "SD3.5 large": ("SD3.5", {f"double {n}": f"joint_blocks.{n}" for n in range(4)}, first),
    "Qwen-Image": ("Qwen-Image", {f"double {n}": f"transformer_blocks.{n}.attn" for n in range(3)}, first),
    "Z-Image": ("Z-Image", {f"double {n}": f"layers.{n}" for n in range(3)}, padded),
    "Lumina 2": ("Lumina 2", {f"double {n}": f"layers.{n}" for n in range(3)}, first),
    "HiDream": (
        "HiDream",
        {f"{kind} {n}": f"{kind}_stream_blocks.{n}" for kind in ("double", "single") for n in range(2)},
        before_llama,
    ),
}  # fmt: skip


@pytest.fixture(params=MODELS)
def small(request, small_model):
    return small_model(request.param)


class Watched:
    """A clone of a MODEL that keeps the explicit softmax of the positive rows of its first evaluation, by block.

    Which block runs is known from the modules themselves. Of several attentions in one, the first is kept.
    """

    def __init__(self, small, rows=2, model=None):
        self.softmax, self.joined, self._block = {}, set(), None
        self.model = (model or small.model).clone()
        self.model.model_options["transformer_options"]["optimized_attention_override"] = self._attention
        self.rows, self._hooks = rows, []
        for block, path in MODELS[small.name][1].items():
            module = operator.attrgetter(path)(small.model.model.diffusion_model)
            start, end = module, module
            if path.endswith("attn2"):  # whose forward isn't called where a replacement takes its place
                start, end = module.to_q, module.to_out
            self._hooks.append(start.register_forward_pre_hook(lambda *_, block=block: self._enter(block)))
            self._hooks.append(end.register_forward_hook(lambda *_: self._enter(None)))

    def _enter(self, block):
        self._block = block

    def _attention(self, func, q, k, v, heads, *args, **kwargs):
        order = kwargs["transformer_options"]["cond_or_uncond"]
        self.joined.add(len(order))
        if self._block is not None and self._block not in self.softmax and 0 in order:
            if not kwargs.get("skip_reshape"):
                by_head = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k))
            else:
                by_head = (q, k)
            q64, k64 = (t.double() for t in by_head)
            weights = torch.softmax(q64 @ k64.mT * q64.shape[-1] ** -0.5, -1).mean(1)
            chunk = order.index(0)
            self.softmax[self._block] = weights[chunk * self.rows : (chunk + 1) * self.rows]
        return func(q, k, v, heads, *args, **kwargs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for hook in self._hooks:
            hook.remove()


def expected_maps(weights, layout, grid):
    """``[rows, positions, *grid]``; a square of image tokens or pixels is as wide as it is in the 8 x 12 latent."""
    weights = layout(weights).mT.float()
    side = round((96 / weights.shape[-1]) ** 0.5)
    return adaptive_avg_pool2d(weights.unflatten(-1, (8 // side, 12 // side)), grid)


def test_maps_equal_the_explicit_softmax_and_the_latents_are_bit_identical(small, probe):
    family, blocks, layout = MODELS[small.name]
    with Watched(small) as watched:
        model = attach_probe(watched.model, probe, "step 1")
        latent = small.sample(model)
    assert torch.equal(latent, small.sample())
    for row, features in enumerate(captured(model, {"samples": latent})):
        assert features.family == family and features.blocks == tuple(blocks)
        for block, maps in zip(features.blocks, features.attention, strict=True):
            expected = expected_maps(watched.softmax[block], layout, maps.shape[1:])
            assert maps.shape == expected.shape[1:] and (maps - expected[row]).abs().max() < 1e-3
            assert expected.std() > 1e-3, "attention is not flat, so a map of other tokens would show"
    pictures = preview_images(model, captured(model, {"samples": latent}))
    assert len(pictures) == 2 and pictures.shape[1] * 3 == pictures.shape[2] * 2 and pictures.shape[3] == 3


def test_every_family_of_the_table_is_checked_here():
    assert {family for family, *_ in MODELS.values()} == {family.name for family in FAMILIES}


DEPTHS = {
    "FLUX": ({"double_blocks": 19, "single_blocks": 38}, ("single", 4)),
    "FLUX.2": ({"double_blocks": 8, "single_blocks": 48}, ("single", 15)),
    "Chroma": ({"double_blocks": 19, "single_blocks": 38}, ("single", 4)),
    "SD3.5": ({"joint_blocks": 38}, ("double", 14)),
    "Qwen-Image": ({"transformer_blocks": 60}, ("double", 25)),
    "Z-Image": ({"layers": 30}, ("double", 10)),
    "Lumina 2": ({"layers": 26}, ("double", 8)),
    "HiDream": ({"double_stream_blocks": 16, "single_stream_blocks": 32}, ("single", 3)),
}


def family_named(name):
    return next(family for family in FAMILIES if family.name == name)


@pytest.mark.parametrize("name", DEPTHS)
def test_ten_blocks_in_the_middle_of_a_transformer_of_the_real_depth_are_recorded(name):
    depths, (kind, start) = DEPTHS[name]
    model = SimpleNamespace(patch_size=2, **{attribute: [None] * depth for attribute, depth in depths.items()})
    assert family_named(name).blocks(model) == {(kind, start + n): 2 for n in range(10)}


def test_the_last_blocks_of_the_encoder_of_real_unets_are_recorded_ten_at_most():
    def unet(**shape):
        with torch.device("meta"):
            return UNetModel(**shape, operations=comfy.ops.disable_weight_init)

    sdxl = family_named("SDXL").blocks(unet(**SDXL_FIXED, **SDXL_BASE))
    assert sdxl == {("input", 8, index): 4 for index in range(10)}
    sd15 = family_named("SD1.5").blocks(unet(**SMALL_MODELS["SD1.5"][1] | SD15))
    assert sd15 == {("input", n, 0): side for n, side in zip((1, 2, 4, 5, 7, 8), (1, 1, 2, 2, 4, 4), strict=True)}


@pytest.mark.parametrize("tokens", [12, 18], ids=["same length", "longer negative"])
def test_prompts_in_one_or_two_calls_and_rows_together_or_alone_give_the_same_maps(small, probe, tokens, monkeypatch):
    negative = small.prompt(2, tokens=tokens)
    with Watched(small) as watched:
        model = attach_probe(watched.model, probe, "step 1")
        together = captured(model, {"samples": small.sample(model, negative=negative, steps=1)})
        joins = family_joins(small.name, tokens)
        assert max(watched.joined) == (2 if joins else 1)
        watched.joined.clear()
        monkeypatch.setattr(type(small.model), "get_free_memory", lambda *_: 0)
        noise = comfy.sample.prepare_noise(small.empty(2), 5)
        options = {"rows": 1, "steps": 1, "negative": negative}
        alone = [small.sample(model, noise=noise[row : row + 1], **options) for row in range(2)]
        assert watched.joined == {1}
    for row, latent in zip(together, alone, strict=True):
        (features,) = captured(model, {"samples": latent})
        assert row.attention.shape == features.attention.shape
        assert (row.attention - features.attention).abs().max() < 2e-3


def family_joins(name, tokens):
    """Whether ComfyUI runs a prompt of 12 tokens and one of so many in one call."""
    return tokens == 12 or name in ("SDXL", "SD1.5", "FLUX.2", "FLUX.2 Klein")


def test_a_regional_prompt_is_placed_in_its_region_and_shown(small, probe):
    right = small.prompt(3, area=(8, 6, 0, 6))  # height, width, top, left in latent pixels: the right half
    model = attach_probe(small.model, probe, "step 1")
    positive = small.prompt(1) + right
    latent = {"samples": small.sample(model, positive=positive)}
    (features, _) = captured(model, latent)
    whole, regional = features.attention.chunk(2, 1)
    half = whole.shape[-1] // 2
    assert whole[..., :half].max() > 0 and regional[..., :half].abs().max() == 0 and regional[..., half:].max() > 0
    assert len(attention_preview(model, latent)[0]) == 2


def test_positions_that_the_model_masks_have_no_weight(small_model, probe):
    """Qwen-Image's attention is told which positions of the text are filling."""
    small = small_model("Qwen-Image")
    filled = {"attention_mask": torch.tensor([[1] * 9 + [0] * 3])}
    options = {"positive": small.prompt(1, **filled), "negative": small.prompt(2, **filled)}
    model = attach_probe(small.model, probe, "step 1")
    latent = small.sample(model, **options)
    assert torch.equal(latent, small.sample(**options)) and not torch.equal(latent, small.sample())
    for features in captured(model, {"samples": latent}):
        assert features.attention[:, 9:].abs().max() == 0 and features.attention[:, :9].amax((0, 2, 3)).min() > 0


def test_another_packs_attention_override_is_called_as_without_us(small, probe):
    """As often, and in the same form: SD3 names its heads, others give them by place."""
    forms = []

    def override(func, *args, **kwargs):
        forms.append((len(args), sorted(kwargs), kwargs["transformer_options"].get("block_index")))
        return func(*args, **kwargs)

    model = small.model.clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = override
    small.sample(model)
    alone = [form[: 2 if "SD3" in small.name else 3] for form in forms]  # SD3's blocks have no names without us
    forms.clear()
    small.sample(attach_probe(model, probe, "step 2"))
    assert [form[: len(alone[0])] for form in forms] == alone


# The module whose output is the activation, and where the image's tokens lie in it; a UNet's is a picture already.
ACTIVATIONS = {
    "FLUX": ("single_blocks.2", slice(12, None)),
    "FLUX.2": ("single_blocks.0", slice(512, None)),
    "FLUX.2 Klein": ("single_blocks.0", slice(512, None)),
    "Chroma": ("single_blocks.0", slice(12, None)),
    "SD3.5 medium": ("joint_blocks.2", slice(0, None)),
    "Qwen-Image": ("transformer_blocks.1", slice(0, None)),
    "Z-Image": ("layers.1", slice(32, 56)),
    "Lumina 2": ("layers.1", slice(12, None)),
    "SDXL": ("output_blocks.2.1", None),
    "SD1.5": ("output_blocks.2.1", None),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_learned_probes_read_the_blocks_output_the_noisy_latent_and_the_text(small_model, name):
    small, (path, image) = small_model(name), ACTIVATIONS[name]
    outputs = []

    def keep(_module, _inputs, output):
        outputs.append((output[1] if isinstance(output, tuple) else output).clone())

    hook = operator.attrgetter(path)(small.model.model.diffusion_model).register_forward_hook(keep)
    try:
        model = attach_probe(small.model, CaptureAll(), "step 1")
        latent = small.sample(model, cfg=1.0)
    finally:
        hook.remove()
    assert torch.equal(latent, small.sample(cfg=1.0))
    expected = outputs[0]
    if image is not None:
        side = 1 if name.startswith("FLUX.2") else 2
        expected = expected[:, image].unflatten(1, (8 // side, 12 // side)).movedim(-1, 1)
    for row, features in enumerate(captured(model, {"samples": latent})):
        assert torch.equal(features.activation, expected[row].half())
        assert features.latent.shape == (small.latent.shape[1], 8, 12)
        assert torch.equal(features.text, small.prompt(1)[0][0][0].half())


def test_a_probe_of_activations_is_refused_where_comfyui_shows_none(small_model):
    with pytest.raises(ValueError, match="reads an activation, and ComfyUI gives no access to those of HiDream"):
        attach_probe(small_model("HiDream").model, CaptureAll())


def picture(small, *size):
    channels = small.latent.shape[1:-2]
    return torch.randn((1, *channels, *size), generator=torch.Generator().manual_seed(9))


def texts(*lengths):
    return [torch.randn((1, length, 32), generator=torch.Generator().manual_seed(length)) for length in lengths]


# Beside the prompt of 12 tokens: what an edit model gets, how many tokens the model then sees, and the image's
# queries (96 of FLUX.2, else 24) and the prompt's keys among them.
REFERENCES = {
    "FLUX": ({"sizes": [(8, 12), (4, 6)]}, 12 + 24 + 24 + 6, range(12, 36), range(12)),
    "FLUX.2": ({"sizes": [(4, 6)]}, 512 + 96 + 24, range(512, 608), range(500, 512)),
    "Qwen-Image": (
        {"sizes": [(8, 12), (4, 6)], "reference_latents_method": "index_timestep_zero"},
        12 + 24 + 24 + 6,
        range(12, 36),
        range(12),
    ),
    "Z-Image": (
        {"sizes": [(8, 12), (4, 6)], "reference_latents_text_embeds": texts(5, 3, 4)},
        4 * 32 + 3 * 32,
        range(192, 216),
        range(64, 76),
    ),
    "HiDream": (
        {"beside": (8, 6)},
        4 * (6 + 3) + 12 + 2 * LLAMA,
        [row * 9 + column for row in range(4) for column in range(6)],
        range(36, 48),
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_reference_images_are_left_out_of_the_maps_of_edit_models(small_model, probe, name):
    small = small_model(name)
    changes, tokens, image, text = REFERENCES[name]
    changes = dict(changes)
    if "sizes" in changes:
        changes["reference_latents"] = [picture(small, *size) for size in changes.pop("sizes")]
    else:
        changes["concat_latent_image"] = picture(small, *changes.pop("beside"))
    options = {"positive": small.prompt(1, **changes), "negative": small.prompt(2, **changes)}
    rows = 1 if name == "Z-Image" else 2  # ComfyUI itself can't run several rows of its edit model in one call
    options |= {"rows": rows, "cfg": float(rows)}
    with Watched(small, rows) as watched:
        model = attach_probe(watched.model, probe, "step 1")
        latent = small.sample(model, **options)
    assert torch.equal(latent, small.sample(**options))
    for row, features in enumerate(captured(model, {"samples": latent})):
        assert features.blocks == tuple(MODELS[name][1])
        for block, maps in zip(features.blocks, features.attention[:, : len(text)], strict=True):
            weights = watched.softmax[block][row]
            assert len(weights) == tokens
            expected = weights[list(image)][:, list(text)].mT
            assert (maps - expected.unflatten(1, maps.shape[1:])).abs().max() < 1e-3


def test_references_whose_keys_core_caches_are_left_out_too(small_model):
    """From the second evaluation on they are keys without queries."""
    small = small_model("FLUX.2 Klein")
    [cached] = FluxKVCache.execute(small.model)[:1]
    positive = small.prompt(1, reference_latents=[picture(small, 4, 6)])
    with Watched(small, model=cached) as watched:
        model = attach_probe(watched.model, CaptureAll(), "step 2")
        latent = small.sample(
            model, cfg=1.0, positive=positive, callback=lambda step, *_: step or watched.softmax.clear()
        )
    for row, features in enumerate(captured(model, {"samples": latent})):
        pixels = features.attention.shape[2] * features.attention.shape[3]
        assert features.activation.shape[1:] == features.attention.shape[2:] and features.activation.std() > 0
        for block, maps in zip(features.blocks, features.attention, strict=True):
            weights = watched.softmax[block][row]
            assert weights.shape[1] > weights.shape[0] == 512 + pixels
            expected = weights[512:, 512 - TOKENS : 512].mT
            assert (maps - expected.unflatten(1, maps.shape[1:])).abs().max() < 1e-3


@pytest.mark.parametrize(("queries", "keys"), [(12 + 24, 4), (12 + 24 + 30, 4), (12 + 24, 30), (12 + 24, 34)])
def test_keys_that_an_adapter_adds_move_no_token(queries, keys):
    """30 tokens of references: none, whole, cached; and an adapter with 4 keys of its own."""
    references = [] if keys == 4 and queries == 36 else [24, 6]
    cond = {"cross_attn": torch.zeros(1, 12, 8)}
    call = Attention(queries, queries + keys, 24, cond, {"reference_image_num_tokens": references}, None)
    assert text_image(call) == Tokens(slice(12, 36), ((slice(0, 12),),))


def test_of_several_frames_where_one_is_an_image_nothing_is_captured_and_why(small_model, probe):
    small = small_model("Qwen-Image")
    layers = torch.zeros(1, 16, 3, 8, 12)
    options = {"rows": 1, "noise": torch.randn(layers.shape), "latent": layers}
    model = attach_probe(small.model, probe, "step 1")
    latent = small.sample(model, **options)
    assert torch.equal(latent, small.sample(**options))
    with pytest.raises(ValueError, match="reads single images, and this latent has 3 frames or layers. Sample an"):
        captured(model, {"samples": latent})


def test_a_video_model_is_refused_with_a_sentence(small_model, probe):
    with pytest.raises(ValueError, match="is a WAN21, which makes videos, and probes read images.*The step cache"):
        attach_probe(small_model("Wan 2.1").model, probe)


def test_a_model_whose_class_is_shared_is_told_by_its_configuration(small_model, probe):
    """SD2's models are of the same class as SD1.5's, and would be told their words in the wrong places."""
    small = small_model("SD1.5")
    other = small.model.clone()
    other.model = copy.copy(small.model.model)
    other.model.model_config = comfy.supported_models.SD20({})
    with pytest.raises(ValueError, match="is a BaseModel, whose attention layout is not in the pack's table"):
        attach_probe(other, probe)
