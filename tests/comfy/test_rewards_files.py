"""A reward model's files: absent, damaged, of another model, or with code in them. One clear message each."""

import re
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
import torch
from diffusion_probe.dev.random_rewards import (
    WORDS,
    random_tensors,
    write_aesthetic_head,
    write_image_reward,
    write_tensors,
)
from diffusion_probe.engine.core.reward import Reward
from diffusion_probe.engine.rewards import catalog, files
from diffusion_probe.nodes.probes import PreviewRewardProbe
from diffusion_probe.nodes.rewards import LoadRewardModel, ScoreImages

from support import hostile

IMAGES = torch.rand(3, 32, 32, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def image_reward(reward_models):
    """The folder of a small ImageReward."""
    write_image_reward(reward_models)
    return reward_models / "ImageReward"


def tensors_there():
    return dict(catalog.load("ImageReward").patcher.model.state_dict())


@pytest.mark.parametrize("name", catalog.REWARDS)
def test_a_missing_file_is_named_with_its_path_source_and_size(reward_models, name):
    with pytest.raises(ValueError) as raised:
        LoadRewardModel.execute(name)
    message = str(raised.value)
    assert message.startswith("Load Reward Model: ")
    for file in catalog.REWARDS[name].files:
        assert str(reward_models / file.folder / file.names[0]) in message
        assert file.source in message and file.size in message
    assert "Nothing is downloaded" in message


def test_a_reward_is_also_chosen_by_its_file_which_the_node_lists_once_it_is_there(reward_models):
    def listed():
        return LoadRewardModel.define_schema().inputs[0].options

    file = "ImageReward/ImageReward.safetensors"
    assert listed() == list(catalog.REWARDS) and LoadRewardModel.validate_inputs(file) is True
    with pytest.raises(ValueError, match="Load Reward Model: ImageReward needs files that are not there"):
        LoadRewardModel.execute(file)
    write_image_reward(reward_models)
    assert listed() == [*catalog.REWARDS, file]
    by_name, by_file = (catalog.load(name).score(IMAGES, ["a cat"]) for name in ("ImageReward", file))
    assert torch.equal(by_name, by_file)


@pytest.mark.parametrize("name", ["PickScore/other.safetensors", "../PickScore/model.safetensors", "", "pickscore"])
def test_a_name_that_is_no_reward_model_is_refused_before_anything_runs(reward_models, name):
    assert "there is no reward model" in LoadRewardModel.validate_inputs(name)
    with pytest.raises(ValueError, match="there is no reward model"):
        catalog.load(name)


def test_every_file_has_a_direct_link_and_the_known_hashes_are_shown(reward_models):
    for name, entry in catalog.REWARDS.items():
        for file in entry.files:
            assert re.fullmatch(r"https://(huggingface\.co|github\.com)/[^ ]+", file.source), name
            assert unquote(file.source).endswith("/" + file.names[0])
            assert not file.sha256 or (len(file.sha256) == 64 and file.sha256 in file.wanted())
    assert catalog.CLIP_L.sha256 in catalog.file_list("ImageReward")


def test_the_node_lists_what_is_there_and_what_could_be(image_reward, reward_models):
    (text,) = LoadRewardModel.execute("ImageReward").ui["text"]
    lines = text.splitlines()
    assert lines[0] == "ImageReward: ready"
    assert lines[1].startswith(f"  there: {image_reward / 'ImageReward.safetensors'} (")
    size = (image_reward / "vocab.txt").stat().st_size
    assert lines[2] == f"  there: {image_reward / 'vocab.txt'} ({size / 1e3:.3g} kB)"
    wanted = reward_models / "PickScore" / "model.safetensors"
    assert f"PickScore: needs\n  missing: {wanted} (3.94 GB, from https://" in text
    assert [name for name in catalog.REWARDS if f"{name}:" in text] == list(catalog.REWARDS)


def test_an_error_says_which_rewards_are_ready(image_reward):
    with pytest.raises(FileNotFoundError, match="Ready are: ImageReward\\."):
        catalog.load("PickScore")


def test_the_folder_for_reward_models_is_made(reward_models):
    reward_models.rmdir()
    files.make_folder()
    assert reward_models.is_dir()
    files.make_folder()


def test_only_the_file_that_is_missing_is_named(image_reward):
    (image_reward / "vocab.txt").unlink()
    with pytest.raises(FileNotFoundError) as raised:
        catalog.load("ImageReward")
    assert "vocab.txt" in str(raised.value) and "ImageReward.pt" not in str(raised.value)


def test_the_official_format_and_safetensors_score_the_same(image_reward, reward_models):
    expected = catalog.load("ImageReward").score(IMAGES, ["a cat"])
    (image_reward / "ImageReward.safetensors").unlink()
    write_image_reward(reward_models, name="ImageReward.pt")
    torch.testing.assert_close(catalog.load("ImageReward").score(IMAGES, ["a cat"]), expected)


@pytest.mark.parametrize("name", ["ImageReward.pt", "ImageReward.safetensors"])
def test_a_file_that_is_cut_off_is_refused(reward_models, name):
    write_image_reward(reward_models, name=name)
    path = reward_models / "ImageReward" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"(?s){name} can't be read: .*cut off"):
        catalog.load("ImageReward")


ODD = {
    "a list": [torch.zeros(2), torch.zeros(2)],
    "a list of one": [torch.zeros(2)],
    "a tensor": torch.zeros(2),
    "numbers for names": {0: torch.zeros(2)},
    "a dictionary in one": {"state_dict": {"blip": torch.zeros(2)}},
    "nothing": {},
}


@pytest.mark.parametrize("kind", ODD)
def test_a_file_of_anything_but_tensors_by_name_is_refused(image_reward, kind):
    (image_reward / "ImageReward.safetensors").unlink()
    torch.save(ODD[kind], image_reward / "ImageReward.pt")
    said = "Load Reward Model: .*ImageReward.pt (holds no tensors by name|can't be read|is another)"
    with pytest.raises(ValueError, match=said) as refused:
        LoadRewardModel.execute("ImageReward")
    assert hostile.is_sentence(str(refused.value))


def test_hostile_tensors_of_a_reward_are_refused_in_one_sentence_or_judge(image_reward, draws):
    """One of the tensors is of another shape or type, or is gone; those that tell sizes more often."""
    whole, path = tensors_there(), image_reward / "ImageReward.safetensors"
    telling = [name for name in whole if "embed" in name or "qkv" in name or "intermediate" in name]
    for rng in draws:
        tensors = dict(whole)
        name = rng.choice(telling if rng.random() < 0.7 else sorted(tensors))
        tensor = tensors.pop(name)
        changes = [None, tensor[:0], tensor.flatten(), tensor[None], tensor.to(torch.int8), tensor[..., :1], tensor * 0]
        changed = rng.choice(changes)
        write_tensors(tensors if changed is None else {**tensors, name: changed.contiguous()}, path)
        try:
            judge = LoadRewardModel.execute("ImageReward")[0]
            assert len(ScoreImages.execute(IMAGES, judge, "a cat")[0]) == 3
        except ValueError as error:
            assert str(error).startswith(("Load Reward Model: ", "Score Images: ")), error
            assert hostile.is_sentence(str(error)), error


def test_an_empty_file_is_refused(image_reward):
    (image_reward / "ImageReward.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="can't be read"):
        catalog.load("ImageReward")


class RunsCode:
    """What a malicious file holds: unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_file_with_code_in_it_is_refused_and_the_code_not_run(image_reward, tmp_path):
    (image_reward / "ImageReward.safetensors").unlink()
    torch.save({"state_dict": {}, "x": RunsCode(tmp_path / "ran")}, image_reward / "ImageReward.pt")
    with pytest.raises(ValueError, match="holds more than tensors, which is refused"):
        catalog.load("ImageReward")
    assert not (tmp_path / "ran").exists()


def test_a_file_without_tensors_is_refused(image_reward):
    (image_reward / "ImageReward.safetensors").unlink()
    torch.save({"epoch": 3, "name": "x"}, image_reward / "ImageReward.pt")
    with pytest.raises(ValueError, match="holds no tensors"):
        catalog.load("ImageReward")


def test_missing_tensors_are_fatal_and_named(image_reward):
    tensors = tensors_there()
    del tensors["mlp.layers.6.weight"]
    write_tensors(tensors, image_reward / "ImageReward.safetensors")
    with pytest.raises(ValueError, match=r"1 tensors are missing, such as mlp\.layers\.6\.weight"):
        catalog.load("ImageReward")


def test_unknown_tensors_are_fatal_and_named(image_reward):
    tensors = tensors_there() | {"lora_up.weight": torch.zeros(2, 2)}
    write_tensors(tensors, image_reward / "ImageReward.safetensors")
    with pytest.raises(ValueError, match=r"1 tensors are unknown, such as lora_up\.weight"):
        catalog.load("ImageReward")


def test_tensors_of_another_shape_are_fatal_and_named(image_reward):
    tensors = tensors_there() | {"mlp.layers.6.weight": torch.zeros(16, 63)}
    write_tensors(tensors, image_reward / "ImageReward.safetensors")
    with pytest.raises(ValueError, match=r"(?s)another shape.*mlp\.layers\.6\.weight"):
        catalog.load("ImageReward")


@pytest.mark.parametrize("name", catalog.REWARDS)
def test_a_file_of_another_model_is_refused(reward_models, name):
    write_image_reward(reward_models)
    write_aesthetic_head(reward_models, width=64)
    for file in catalog.REWARDS[name].files:
        if file.names[0] != "vocab.txt":
            (reward_models / file.folder).mkdir(exist_ok=True)
            write_tensors({"model.diffusion_model.x": torch.zeros(2)}, reward_models / file.folder / file.names[0])
    with pytest.raises(ValueError, match="is another model or only a part of one"):
        catalog.load(name)


@pytest.mark.parametrize(
    "lines", [WORDS[:-1], WORDS[1:] + ("x",), ("cat", *WORDS[1:])], ids=["too short", "shifted", "no padding"]
)
def test_another_vocabulary_is_refused(image_reward, lines):
    (image_reward / "vocab.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="not the vocabulary of bert-base-uncased"):
        catalog.load("ImageReward")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="ImageReward, PickScore, HPSv2.1, CLIPScore, LAION aesthetic"):
        catalog.load("BLIPScore")


def test_images_that_are_none_and_prompts_that_do_not_fit_are_refused(image_reward):
    judge = catalog.load("ImageReward")
    with pytest.raises(ValueError, match="3 images but 2 prompts"):
        judge.score(IMAGES, ["a", "b"])
    with pytest.raises(ValueError, match=r"not \[0, 32, 32, 3\]"):
        judge.score(IMAGES[:0], ["a"])
    with pytest.raises(ValueError, match=r"not \[3, 32, 32\]"):
        judge.score(IMAGES[..., 0], ["a"])
    with pytest.raises(ValueError, match="NaN or infinity"):
        judge.score(IMAGES * float("nan"), ["a"])


def test_a_damaged_weight_does_not_pass_as_a_score(image_reward):
    tensors = tensors_there()
    tensors["mlp.layers.0.bias"][5] = float("nan")
    write_tensors(tensors, image_reward / "ImageReward.safetensors")
    with pytest.raises(ValueError, match="its file is damaged"):
        catalog.load("ImageReward").score(IMAGES, ["a"])


def test_score_images_gives_one_number_per_image_and_the_best(image_reward):
    judge = LoadRewardModel.execute("ImageReward")[0]
    output = ScoreImages.execute(IMAGES, judge, "a cat")
    scores, best, image = output.result
    assert scores == judge.score(IMAGES, ["a cat"]).tolist() and len(set(scores)) == 3
    assert scores[best] == max(scores) and torch.equal(image, IMAGES[best : best + 1])
    assert output.ui["text"][0].splitlines()[:2] == [
        "ImageReward, higher is better",
        f"1. {max(scores):.4g}  (image {best})",
    ]


def test_an_empty_prompt_is_refused_unless_the_reward_reads_none(image_reward):
    judge = LoadRewardModel.execute("ImageReward")[0]
    with pytest.raises(ValueError, match="Score Images: The prompt is empty"):
        ScoreImages.execute(IMAGES, judge, " ")
    with pytest.raises(ValueError, match="Preview Reward: The prompt is empty"):
        PreviewRewardProbe.execute(SimpleNamespace(decode=None), judge, " ")[0].require_ready((4, 8, 8), "")

    class Looks(Reward):
        label, reads_prompt = "looks", False

        def score(self, images, prompts):
            return images.mean((1, 2, 3))

    class Vae:
        decode = None

    assert PreviewRewardProbe.execute(Vae, Looks(), "")[0].label == "looks"
    assert len(ScoreImages.execute(IMAGES, Looks(), "")[0]) == 3


def test_random_files_differ_by_seed():
    layer = torch.nn.Linear(3, 2)
    first, again, other = (random_tensors(layer, seed)["weight"] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


# What is known of a prompt beforehand ---------------------------------------------------------------


def test_the_end_of_a_long_prompt_is_remarked_where_scores_are_read(image_reward):
    judge = LoadRewardModel.execute("ImageReward")[0]
    says = "ImageReward reads the first 33 tokens of a prompt, and this one has 40"
    assert judge.remarks("a " * 33) == () and says in judge.remarks("a " * 40)[0]
    assert says in ScoreImages.execute(IMAGES, judge, "a " * 40).ui["text"][0]


def test_a_prompt_without_a_known_word_is_refused_before_anything_is_sampled(image_reward):
    judge = LoadRewardModel.execute("ImageReward")[0]
    says = 'Preview Reward: ImageReward knows no word of the prompt "猫". Write an English one into "prompt"'
    with pytest.raises(ValueError, match=says):
        PreviewRewardProbe.execute(SimpleNamespace(decode=None), judge, "猫")


# An installed image tower ---------------------------------------------------------------------------


@pytest.fixture
def tower(reward_models, tmp_path, monkeypatch):
    """``tower(name, **changes)``: a small CLIP's image tower in models/clip_vision, where its shapes count as right."""
    import folder_paths
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    write_aesthetic_head(reward_models, 64)
    folder = tmp_path / "clip_vision"
    folder.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "clip_vision", ([str(folder)], {".safetensors", ".pt"}))
    config = CLIPVisionConfig(hidden_size=64, num_attention_heads=1, num_hidden_layers=2, intermediate_size=128,
                              projection_dim=64, image_size=28, patch_size=14, hidden_act="quick_gelu")  # fmt: skip
    torch.manual_seed(0)
    tensors = CLIPVisionModelWithProjection(config).state_dict()
    small = replace(
        catalog.CLIP_L_VISION,
        shapes=tuple((name, tuple(tensors[name].shape)) for name, _ in catalog.CLIP_L_VISION.shapes),
        layers=2,
    )
    entry = catalog.REWARDS["LAION aesthetic"]
    monkeypatch.setitem(catalog.REWARDS, "LAION aesthetic", replace(entry, files=(entry.files[0], small)))

    def write(name, **changes):
        write_tensors({**tensors, **changes}, folder / name)
        return tensors

    return write


def test_an_installed_clip_vision_file_serves_the_aesthetic_reward(tower, reward_models):
    tensors = tower("clip-vit-large-patch14.safetensors")
    judge = catalog.load("LAION aesthetic")
    assert judge.remarks("") == (
        "LAION aesthetic reads images by clip-vit-large-patch14.safetensors of models/clip_vision.",
    )
    scores = judge.score(IMAGES, [""])
    own = reward_models / "CLIP-ViT-L-14"
    own.mkdir()
    write_tensors(tensors, own / "model.safetensors")
    again = catalog.load("LAION aesthetic")
    assert again.remarks("") == () and torch.equal(again.score(IMAGES, [""]), scores) and scores.std() > 0


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("CLIP-ViT-L-14-laion2B.safetensors", {}),
        ("clip.safetensors", {"visual_projection.weight": torch.zeros(32, 64)}),
        ("clip.safetensors", {"vision_model.encoder.layers.2.layer_norm1.weight": torch.zeros(64)}),
        ("clip.pt", {}),
    ],
    ids=["other authors", "another width", "more layers", "not safetensors"],
)
def test_a_clip_vision_file_of_another_kind_is_not_used(tower, name, changes):
    tower(name, **changes)
    with pytest.raises(FileNotFoundError, match=r"CLIP-ViT-L-14.*or the same image tower in models/clip_vision"):
        catalog.load("LAION aesthetic")


def test_a_damaged_clip_vision_file_is_passed_over(tower, tmp_path):
    (tmp_path / "clip_vision" / "broken.safetensors").write_bytes(b"no tensors")
    tower("clip-vit-large-patch14.safetensors")
    assert catalog.load("LAION aesthetic").notes
