"""CLIPScore by models of open_clip, compared with the package's own pipeline on random weights.

The package is optional: without it, and without that of ``make parity``, what needs it is skipped.
"""

import importlib.util
import json

import pytest
import torch
from diffusion_probe.engine.rewards import catalog
from diffusion_probe.nodes.rewards import LoadRewardModel
from PIL import Image
from safetensors.torch import save_file

from training.client.paths import CACHE

PARITY = next(iter(sorted((CACHE / "parity").glob("open_clip-*"))), None)
THERE = importlib.util.find_spec("open_clip") is not None
PROMPTS = ["a red circle", "a photo of a dog on a very long bench"]
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 64},
    "text_cfg": TEXT,
}
SQUASHED = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 0.5], "interpolation": "bilinear", "resize_mode": "squash"}
IMAGES = torch.rand(2, 40, 56, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def package(monkeypatch):
    if not THERE and PARITY is None:
        pytest.skip("open-clip-torch is not installed")
    if not THERE:
        monkeypatch.syspath_prepend(str(PARITY))
    return importlib.import_module("open_clip")


def written(package, name, folder, file, config, **more):
    """Write random weights of a model of the package's list, and return it."""
    torch.manual_seed(3)
    model = package.create_model(name, pretrained_text=False, **more)
    folder.mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / file)
    if config is not None:
        (folder / "open_clip_config.json").write_text(json.dumps(config))
    return model.eval()


@pytest.fixture
def listed(package, tmp_path, monkeypatch):
    """The package with a small model in its list, with two tags."""
    path = tmp_path / "tiny-gelu.json"
    path.write_text(json.dumps(MODEL))
    package.add_model_config(path)
    tags = {"plain": {"url": "x"}, "squashed": {"url": "x", **SQUASHED}}
    monkeypatch.setitem(package.pretrained._PRETRAINED, "tiny-gelu", tags)
    return package


def scores_of(package, model, transform, tokenizer, prompts):
    """Return CLIPScore as the package's documents compute it."""
    pixels = torch.stack([transform(Image.fromarray((image * 255).byte().numpy())) for image in IMAGES])
    with torch.no_grad():
        images, texts = model.encode_image(pixels), model.encode_text(tokenizer(prompts))
    cosines = torch.nn.functional.cosine_similarity(images, texts)
    return 100 * cosines.clamp(min=0)


def test_a_published_folder_scores_as_the_package_does(package, reward_models, tmp_path):
    folder = reward_models / "open_clip" / "my model"
    tiny = tmp_path / "tiny.json"
    tiny.write_text(json.dumps(MODEL))
    package.add_model_config(tiny)
    config = {"model_cfg": MODEL, "preprocess_cfg": SQUASHED}
    written(package, "tiny", folder, "open_clip_model.safetensors", config)
    model, _, transform = package.create_model_and_transforms(f"local-dir:{folder}")
    expected = scores_of(package, model.eval(), transform, package.get_tokenizer(f"local-dir:{folder}"), PROMPTS)
    reward = LoadRewardModel.execute("open_clip: my model")[0]
    scores = reward.score(IMAGES, PROMPTS)
    assert reward.label == "CLIPScore (my model)" and reward.reads_prompt and scores.std() > 1e-4
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tag", ["plain", "squashed"])
def test_a_model_of_the_list_is_prepared_as_the_tag_of_its_file_says(listed, reward_models, tag):
    folder = reward_models / "open_clip" / "tiny-gelu"
    model = written(listed, "tiny-gelu", folder, f"{tag}.safetensors", None)
    size = listed.transform.PreprocessCfg(size=32, **(SQUASHED if tag == "squashed" else {}))
    transform = listed.transform.image_transform_v2(size, is_train=False)
    expected = scores_of(listed, model, transform, listed.get_tokenizer("tiny-gelu"), PROMPTS)
    torch.testing.assert_close(
        catalog.load("open_clip: tiny-gelu").score(IMAGES, PROMPTS), expected, rtol=1e-5, atol=1e-5
    )


def test_a_model_that_was_trained_with_quick_gelu_has_it(listed, reward_models, monkeypatch):
    monkeypatch.setitem(listed.pretrained._PRETRAINED, "tiny-gelu", {"quick": {"url": "x", "quick_gelu": True}})
    folder = reward_models / "open_clip" / "tiny-gelu"
    model = written(listed, "tiny-gelu", folder, "quick.safetensors", None, force_quick_gelu=True)
    transform = listed.transform.image_transform_v2(listed.transform.PreprocessCfg(size=32), is_train=False)
    expected = scores_of(listed, model, transform, listed.get_tokenizer("tiny-gelu"), PROMPTS)
    torch.testing.assert_close(
        catalog.load("open_clip: tiny-gelu").score(IMAGES, PROMPTS), expected, rtol=1e-5, atol=1e-5
    )


def test_half_precision_files_load_and_score_in_float32(listed, reward_models):
    folder = reward_models / "open_clip" / "tiny-gelu"
    model = written(listed, "tiny-gelu", folder, "plain.safetensors", None)
    full = catalog.load("open_clip: tiny-gelu").score(IMAGES, PROMPTS)
    save_file(
        {key: value.half().contiguous() for key, value in model.state_dict().items()}, folder / "plain.safetensors"
    )
    half = catalog.load("open_clip: tiny-gelu").score(IMAGES, PROMPTS)
    assert half.dtype == torch.float32 and not torch.equal(half, full)
    torch.testing.assert_close(half, full, rtol=0.02, atol=0.05)


def test_an_unknown_tag_is_refused_where_tags_differ(listed, reward_models):
    written(listed, "tiny-gelu", reward_models / "open_clip" / "tiny-gelu", "my.safetensors", None)
    with pytest.raises(ValueError, match="which differ in how images are prepared. Name it as one of: plain, squashed"):
        catalog.load("open_clip: tiny-gelu")


def test_a_folder_that_is_no_model_of_the_list_is_refused(listed, reward_models):
    written(listed, "tiny-gelu", reward_models / "open_clip" / "no such", "plain.safetensors", None)
    with pytest.raises(ValueError, match='open_clip has no model "no such"'):
        catalog.load("open_clip: no such")


def test_a_file_of_another_model_is_refused(listed, reward_models):
    folder = reward_models / "open_clip" / "tiny-gelu"
    written(listed, "tiny-gelu", folder, "plain.safetensors", None)
    save_file({"weight": torch.zeros(2)}, folder / "plain.safetensors")
    with pytest.raises(ValueError, match="plain.safetensors can't be read as tiny-gelu"):
        catalog.load("open_clip: tiny-gelu")


def test_a_tokenizer_of_others_is_wanted_in_the_folder_and_never_downloaded(listed, reward_models):
    folder = reward_models / "open_clip" / "other words"
    config = {"model_cfg": {**MODEL, "text_cfg": {**TEXT, "hf_tokenizer_name": "someone/words"}}, "preprocess_cfg": {}}
    written(listed, "tiny-gelu", folder, "model.safetensors", config)
    with pytest.raises(ValueError, match="Put the files of someone/words .* into .*other words"):
        catalog.load("open_clip: other words")


def test_a_long_prompt_is_counted_as_the_tokenizer_cuts_it(listed, reward_models):
    written(listed, "tiny-gelu", reward_models / "open_clip" / "tiny-gelu", "plain.safetensors", None)
    reward = catalog.load("open_clip: tiny-gelu")
    assert reward.remarks("dog " * 75) == ()
    (remark,) = reward.remarks("dog " * 76)
    assert "reads the first 75 tokens of a prompt, and this one has 76" in remark


def test_without_the_package_one_sentence_says_how_to_install_it(reward_models, monkeypatch):
    folder = reward_models / "open_clip" / "ViT-B-32"
    folder.mkdir(parents=True)
    save_file({"weight": torch.zeros(2)}, folder / "laion2b_s34b_b79k.safetensors")
    imported = importlib.import_module

    def missing(name, *more):
        if name == "open_clip":
            raise ModuleNotFoundError("No module named 'open_clip'")
        return imported(name, *more)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(
        ValueError, match="The reward open_clip: ViT-B-32 needs the Python package open-clip-torch .*pip install"
    ):
        LoadRewardModel.execute("open_clip: ViT-B-32")
    (choice,) = LoadRewardModel.define_schema().inputs
    assert choice.options == [*catalog.REWARDS, "open_clip: ViT-B-32"]


def test_a_name_without_a_folder_says_where_its_file_belongs(reward_models):
    with pytest.raises(ValueError, match="There are no weights in .*open_clip/ViT-B-32. Put a model's file there"):
        LoadRewardModel.execute("open_clip: ViT-B-32")
