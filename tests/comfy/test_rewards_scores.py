"""Reward models on small random weights: the numbers are those of independent implementations, one per image."""

import comfy.model_management
import folder_paths
import numpy as np
import pytest
import torch
from diffusion_probe.dev.random_rewards import SMALL, write_aesthetic_head, write_image_reward, write_tensors
from diffusion_probe.engine.rewards import catalog, pixels
from diffusion_probe.engine.rewards.image_reward import OFFICIAL, SCORE_MEAN, SCORE_STD, UNUSED, ImageRewardNetwork
from PIL import Image
from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel, CLIPModel

from support.small_clip import clip_model, write_clip

PROMPTS = ["a red circle", "blue", "Two cats, sitting", "x" * 60]


@pytest.fixture
def images():
    return torch.rand(4, 40, 56, 3, generator=torch.Generator().manual_seed(3))


def open_clip_layout(tensors: dict) -> dict:
    """The same weights under open_clip's names."""
    out = {"logit_scale": tensors["logit_scale"]}
    out["text_projection"] = tensors["text_projection.weight"].T
    out["visual.proj"] = tensors["visual_projection.weight"].T
    names = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.class_embedding": "class_embedding",
        "embeddings.patch_embedding.weight": "conv1.weight",
        "final_layer_norm": "ln_final", "pre_layrnorm": "ln_pre", "post_layernorm": "ln_post",
        "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj", "encoder.layers": "transformer.resblocks",
    }  # fmt: skip
    for tower, prefix in (("text_model.", ""), ("vision_model.", "visual.")):
        for name in [n for n in tensors if n.startswith(tower) and ".position_ids" not in n]:
            short = name.removeprefix(tower)
            for old, new in names.items():
                short = short.replace(old, new)
            if "self_attn.q_proj" in short:
                joined = torch.cat([tensors[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")])
                out[prefix + short.replace("self_attn.q_proj.", "attn.in_proj_")] = joined
            elif "self_attn." not in short:
                out[prefix + short] = tensors[name]
    return out


def explicit_cosines(model: CLIPModel, images, prompts, view) -> torch.Tensor:
    from diffusion_probe.engine.rewards.word_ids import clip_words

    with torch.no_grad():
        output = model(pixel_values=view(images, 28), input_ids=clip_words(prompts))
    image, text = output.image_embeds.double(), output.text_embeds.double()
    image, text = image / image.norm(dim=-1, keepdim=True), text / text.norm(dim=-1, keepdim=True)
    return (image * text).sum(-1).float()


def test_image_reward_has_the_tensors_and_parameters_of_the_official_file():
    with torch.device("meta"):
        tensors = ImageRewardNetwork(OFFICIAL).state_dict()
    assert len(tensors) + 4 + 1 == 625  # BLIP's two contrastive heads and position_ids are not needed
    heads = (1024 + 1) * 256 + (768 + 1) * 256
    assert round((sum(t.numel() for t in tensors.values()) + heads) / 1e6, 1) == 446.7
    assert not any(name.startswith(UNUSED) for name in tensors)


def test_image_reward_is_the_blip_of_transformers_and_its_head(reward_models, images):
    write_image_reward(reward_models)
    judge = catalog.load("ImageReward")
    tensors = judge.patcher.model.state_dict()
    vision = BlipVisionModel(BlipVisionConfig(
        hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=2, image_size=32,
        patch_size=16, hidden_act="gelu", layer_norm_eps=1e-6,
    )).eval()  # fmt: skip
    text = BlipTextModel(BlipTextConfig(
        vocab_size=SMALL.vocabulary, hidden_size=64, encoder_hidden_size=128, intermediate_size=256,
        num_hidden_layers=2, num_attention_heads=1, max_position_embeddings=40, hidden_act="gelu",
        layer_norm_eps=1e-12, is_decoder=True,
    ), add_pooling_layer=False).eval()  # fmt: skip
    names = {
        "cls_token": "embeddings.class_embedding", "pos_embed": "embeddings.position_embedding",
        "patch_embed.proj": "embeddings.patch_embedding", "blocks": "encoder.layers", "norm1": "layer_norm1",
        "norm2": "layer_norm2", "attn.qkv": "self_attn.qkv", "attn.proj": "self_attn.projection",
        "norm.": "post_layernorm.",
    }  # fmt: skip
    renamed = {}
    for name, tensor in tensors.items():
        if name.startswith("blip.visual_encoder."):
            short = name.removeprefix("blip.visual_encoder.")
            for old, new in names.items():
                short = short.replace(old, new) if old != "norm." or short.startswith(old) else short
            renamed[short] = tensor
    vision.load_state_dict(renamed)
    prefix = "blip.text_encoder."
    text.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}, strict=False)
    ids, seen_pixels = judge.words(PROMPTS), pixels.centre_crop(images, 32)
    with torch.no_grad():
        seen = vision.double()(seen_pixels.double()).last_hidden_state
        states = text.double()(
            input_ids=ids, attention_mask=(ids != 0).long(), encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long), is_decoder=False,
        ).last_hidden_state  # fmt: skip
        x = states[:, 0]
        for layer in ("0", "2", "4", "6", "7"):
            x = x @ tensors[f"mlp.layers.{layer}.weight"].double().T + tensors[f"mlp.layers.{layer}.bias"].double()
    expected = (x[:, 0] - SCORE_MEAN) / SCORE_STD
    assert expected.std() > 0.05
    torch.testing.assert_close(judge.score(images, PROMPTS), expected.float(), rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        exact = judge.patcher.model.double()(seen_pixels.double(), ids)
    torch.testing.assert_close(exact, expected, rtol=1e-12, atol=1e-12)


def percent(cosines, scale):
    return 100 * cosines.clamp(min=0)


def scaled(cosines, scale):
    return cosines * scale


def plain(cosines, scale):
    return cosines


CLIP_REWARDS = {
    "CLIPScore": ("CLIP-ViT-L-14/model.safetensors", "quick_gelu", pixels.centre_crop, percent),
    "PickScore": ("PickScore/model.safetensors", "gelu", pixels.centre_crop_rounding_down, scaled),
    "HPSv2.1": ("HPSv2.1/HPS_v2.1_compressed.pt", "gelu", pixels.whole, plain),
}


@pytest.mark.parametrize("layout", ["transformers", "open_clip"])
@pytest.mark.parametrize("name", CLIP_REWARDS)
def test_clip_rewards_are_the_cosine_of_transformers(reward_models, images, name, layout):
    file, activation, view, unit = CLIP_REWARDS[name]
    model = clip_model(1, hidden_act=activation)
    tensors = dict(model.state_dict())
    path = reward_models / file
    write_clip(model, path.parent, path.name, open_clip_layout(tensors) if layout == "open_clip" else tensors)
    expected = unit(explicit_cosines(model, images, PROMPTS, view), model.logit_scale.exp().item())
    assert expected.std() > 0.005
    torch.testing.assert_close(catalog.load(name).score(images, PROMPTS), expected, rtol=1e-4, atol=1e-5)


def test_aesthetic_looks_at_the_image_alone(reward_models, images):
    model = clip_model(2, hidden_act="quick_gelu")
    write_clip(model, reward_models / "CLIP-ViT-L-14")
    write_aesthetic_head(reward_models, width=64)
    judge = catalog.load("LAION aesthetic")
    assert not judge.reads_prompt
    scores = judge.score(images, PROMPTS)
    torch.testing.assert_close(scores, judge.score(images, [""]))
    with torch.no_grad():
        x = model.get_image_features(pixel_values=pixels.centre_crop(images, 28))
        x = getattr(x, "pooler_output", x)
    x = x / x.norm(dim=-1, keepdim=True)
    for layer in judge.patcher.model.head.layers.values():
        x = x @ layer.weight.T + layer.bias
    assert scores.std() > 1e-3
    torch.testing.assert_close(scores, x[:, 0].detach(), rtol=1e-4, atol=1e-5)


def test_prompt_and_image_of_the_same_row_are_compared(reward_models):
    """The text tower is made to put "red" where a red image lies and "blue" where a blue one does."""
    model = clip_model(4, hidden_act="gelu")
    red, blue = torch.zeros(2, 28, 28, 3)
    red[..., 0] = blue[..., 2] = 1
    from diffusion_probe.engine.rewards.word_ids import clip_words

    with torch.no_grad():
        pooled = model.text_model(clip_words(["red", "blue"])).pooler_output
        output = model(
            pixel_values=pixels.centre_crop(torch.stack([red, blue]), 28), input_ids=clip_words(["red", "blue"])
        )
        targets = output.image_embeds - output.image_embeds.mean(0)
        model.text_projection.weight.copy_((torch.linalg.pinv(pooled) @ targets).T)
    write_clip(model, reward_models / "PickScore")
    judge = catalog.load("PickScore")
    right = judge.score(torch.stack([red, blue]), ["red", "blue"])
    wrong = judge.score(torch.stack([red, blue]), ["blue", "red"])
    assert (right > wrong + 0.1).all()


@pytest.mark.parametrize("rows", [1, 3, 8, 11])
def test_an_image_scores_the_same_alone_and_in_any_batch(reward_models, rows):
    write_image_reward(reward_models)
    judge = catalog.load("ImageReward")
    images = torch.rand(rows, 33, 47, 3, generator=torch.Generator().manual_seed(rows))
    prompts = [PROMPTS[row % 4] for row in range(rows)]
    together = judge.score(images, prompts)
    alone = torch.cat([judge.score(images[row : row + 1], [prompts[row]]) for row in range(rows)])
    assert together.shape == (rows,) and together.dtype == torch.float32
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(1))
    shuffled = judge.score(images[order], [prompts[row] for row in order])
    torch.testing.assert_close(shuffled, together[order], rtol=1e-5, atol=1e-6)


def test_one_prompt_serves_all_images(reward_models, images):
    write_image_reward(reward_models)
    judge = catalog.load("ImageReward")
    torch.testing.assert_close(judge.score(images, ["a cat"]), judge.score(images, ["a cat"] * 4))
    assert not torch.equal(judge.score(images, ["a cat"]), judge.score(images, ["a dog"]))


def test_a_score_is_that_of_the_file_that_save_image_writes(reward_models, images, tmp_path):
    write_image_reward(reward_models)
    judge = catalog.load("ImageReward")
    Image.fromarray(np.clip(255.0 * images[0].numpy(), 0, 255).astype(np.uint8)).save(tmp_path / "image.png")
    saved = torch.from_numpy(np.array(Image.open(tmp_path / "image.png")).astype(np.float32) / 255)[None]
    assert not torch.equal(saved, images[:1])
    assert torch.equal(judge.score(saved, ["a cat"]), judge.score(images[:1], ["a cat"]))


def test_half_precision_images_and_an_alpha_channel_make_no_difference(reward_models, images):
    write_image_reward(reward_models)
    judge = catalog.load("ImageReward")
    eighths = (images * 8).round() / 8
    opaque = torch.cat([eighths, torch.rand(4, 40, 56, 1)], dim=-1)
    assert torch.equal(judge.score(eighths.half(), PROMPTS), judge.score(eighths, PROMPTS))
    assert torch.equal(judge.score(opaque, PROMPTS), judge.score(eighths, PROMPTS))


def test_weights_in_half_precision_stay_so_and_score_nearly_the_same(reward_models, images):
    write_image_reward(reward_models)
    full = catalog.load("ImageReward")
    path = reward_models / "ImageReward" / "ImageReward.safetensors"
    half = {name: tensor.half().clone() for name, tensor in full.patcher.model.state_dict().items()}
    expected = full.score(images, PROMPTS)
    write_tensors(half, path)
    judge = catalog.load("ImageReward")
    assert {tensor.dtype for tensor in judge.patcher.model.state_dict().values()} == {torch.float16}
    torch.testing.assert_close(judge.score(images, PROMPTS), expected, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("name", ["PickScore", "HPSv2.1", "CLIPScore", "LAION aesthetic"])
def test_copies_in_half_precision_load_and_stay_so(reward_models, images, name):
    files = {"PickScore": "PickScore/model.safetensors", "HPSv2.1": "HPSv2.1/HPS_v2.1_compressed.safetensors"}
    path = reward_models / files.get(name, "CLIP-ViT-L-14/model.safetensors")
    model = clip_model(3, hidden_act="gelu" if name in files else "quick_gelu")
    write_clip(model, path.parent, path.name)
    write_aesthetic_head(reward_models, 64)
    expected = catalog.load(name).score(images, PROMPTS)
    write_clip(model, path.parent, path.name, {key: value.half() for key, value in model.state_dict().items()})
    judge = catalog.load(name)
    assert torch.float16 in {tensor.dtype for tensor in judge.patcher.model.state_dict().values()}
    torch.testing.assert_close(
        judge.score(images, PROMPTS), expected, rtol=0.1, atol=0.05 * expected.abs().max().item()
    )


def test_comfyui_loads_and_unloads_the_reward_and_nothing_else_stays(reward_models, images):
    write_image_reward(reward_models)
    judge = catalog.load("ImageReward")
    before = {name: tensor.clone() for name, tensor in judge.patcher.model.state_dict().items()}
    loaded = len(comfy.model_management.current_loaded_models)
    first = judge.score(images, PROMPTS)
    assert len(comfy.model_management.current_loaded_models) == loaded + 1
    comfy.model_management.unload_all_models()
    assert torch.equal(judge.score(images, PROMPTS), first)
    after = judge.patcher.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(tensor.requires_grad for tensor in after.values())


@pytest.mark.parametrize("size", [(28, 28), (31, 28), (28, 90), (17, 13), (600, 401)])
def test_the_crops_are_those_of_torchvision_and_transformers(size):
    from torchvision import transforms
    from transformers.models.clip import CLIPImageProcessorPil

    image = torch.rand(1, *size, 3, generator=torch.Generator().manual_seed(5))
    picture = Image.fromarray(pixels.eight_bit(image)[0])
    bicubic = transforms.InterpolationMode.BICUBIC
    expected = transforms.Compose([
        transforms.Resize(28, interpolation=bicubic), transforms.CenterCrop(28), transforms.ToTensor(),
        transforms.Normalize(pixels.MEAN, pixels.STD),
    ])(picture)  # fmt: skip
    torch.testing.assert_close(pixels.centre_crop(image, 28)[0], expected)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    expected = processor(images=picture, return_tensors="pt").pixel_values[0]
    torch.testing.assert_close(pixels.centre_crop_rounding_down(image, 28)[0], expected, rtol=1e-4, atol=1e-5)


def test_hps_sees_the_whole_image_between_black_bars():
    seen = pixels.whole(torch.ones(1, 40, 80, 3), 28)
    black, white = ((value - torch.tensor(pixels.MEAN)) / torch.tensor(pixels.STD) for value in (0.0, 1.0))
    assert seen.shape == (1, 3, 28, 28)
    torch.testing.assert_close(seen[0, :, 7:21].amin((1, 2)), white)
    for bar in (seen[0, :, :7], seen[0, :, 21:]):
        torch.testing.assert_close(bar, black.view(3, 1, 1).expand_as(bar))


def test_reward_files_may_lie_in_a_folder_of_the_users_own(reward_models, tmp_path):
    write_image_reward(tmp_path / "elsewhere")
    folder_paths.add_model_folder_path("reward_models", str(tmp_path / "elsewhere"))
    assert catalog.load("ImageReward").label == "ImageReward"


@pytest.mark.parametrize("view", [pixels.centre_crop, pixels.centre_crop_rounding_down])
def test_pixels_prepared_on_a_device_are_those_of_pil_to_a_level_of_255(view, monkeypatch):
    images = torch.rand(3, 8, 12, 3, generator=torch.Generator().manual_seed(5))
    images = (
        torch.nn.functional.interpolate(images.movedim(-1, 1), (96, 144), mode="bicubic").movedim(1, -1).clamp(0, 1)
    )
    by_pil = view(images, 28)
    monkeypatch.setattr(pixels, "eight_bit", None)
    monkeypatch.setattr(pixels, "is_on_host", lambda images: False)
    levels = (view(images, 28) - by_pil).abs() * torch.tensor(pixels.STD).view(3, 1, 1) * 255
    assert levels.max() <= 1.01 and levels.mean() < 0.01


def test_scores_of_pixels_prepared_on_a_device_keep_to_a_thousandth_of_their_spread(reward_models, monkeypatch):
    write_image_reward(reward_models)
    judge = catalog.load("ImageReward")
    images = torch.rand(8, 6, 9, 3, generator=torch.Generator().manual_seed(6))
    images = (
        torch.nn.functional.interpolate(images.movedim(-1, 1), (384, 576), mode="bicubic").movedim(1, -1).clamp(0, 1)
    )
    by_pil = judge.score(images, ["a red circle"])
    monkeypatch.setattr(pixels, "is_on_host", lambda images: False)
    assert (judge.score(images, ["a red circle"]) - by_pil).abs().max() < 1e-3 * by_pil.std()
