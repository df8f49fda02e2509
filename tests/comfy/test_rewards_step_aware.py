"""The Step-Aware Preference Model on small random weights, and how the noise level comes to it."""

import pytest
import torch
from comfy.model_sampling import ModelSamplingDiscrete
from diffusion_probe.dev.random_models import random_model, random_sdxl
from diffusion_probe.dev.random_rewards import random_tensors
from diffusion_probe.engine.capture.moments import percent_of_sigma
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.core.reward import Reward
from diffusion_probe.engine.rewards import catalog, pixels
from diffusion_probe.engine.rewards.mean_reward import MeanReward
from diffusion_probe.engine.rewards.word_ids import clip_words
from diffusion_probe.nodes.attach import AttachProbe, ProbeScore
from diffusion_probe.probe_models.preview import PreviewReward, decoded_previews
from torch import nn

from support.small_clip import clip_model, write_clip

NAMES = {
    "SPM (SD1.5)": "sd-v1-5_step-aware_preference_model",
    "SPM (SDXL)": "sdxl_step-aware_preference_model",
}
PROMPTS = ["a red circle", "blue", "Two cats, sitting", "x" * 60]
WIDTH = 64


@pytest.fixture
def images():
    return torch.rand(4, 40, 56, 3, generator=torch.Generator().manual_seed(3))


def written(reward_models, name="SPM (SDXL)", ending=".bin", seed=0):
    """Write a small model as its authors do; return transformers' CLIP and the tensors that modulate it."""
    clip = clip_model(seed, hidden_act="gelu")
    added = nn.Module()
    added.t_embedder = nn.Module()
    added.t_embedder.mlp = nn.Sequential(nn.Linear(256, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
    added.vision_model = nn.Module()
    added.vision_model.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, 2 * WIDTH))
    layers = (nn.ModuleDict({"adaLN_modulation": nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, 6 * WIDTH))}) for _ in "12")
    added.vision_model.encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})
    tensors = random_tensors(added, seed)
    added.load_state_dict(tensors)
    file = {f"model.{key}": value for key, value in {**clip.state_dict(), **tensors}.items()}
    file["model.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    write_clip(clip, reward_models / "SPM", NAMES[name] + ending, file)
    return clip, added


@torch.no_grad()
def explicit_scores(clip, added, images, prompts, timestep):
    """Compute the scores by transformers' own layers and the formulas of adaptive layer norms."""
    frequencies = 10000.0 ** -(torch.arange(128) / 128)
    time = added.t_embedder.mlp(torch.cat([(timestep * frequencies).cos(), (timestep * frequencies).sin()]))
    vision = clip.vision_model
    states = vision.pre_layrnorm(vision.embeddings(pixels.unrounded_centre_crop(images, 28)))
    for layer, modulation in zip(vision.encoder.layers, added.vision_model.encoder["layers"], strict=True):
        first, second = modulation["adaLN_modulation"](time).view(2, 3, WIDTH)
        attended = layer.self_attn(layer.layer_norm1(states) * (1 + first[1]) + first[0], attention_mask=None)[0]
        states = states + first[2] * attended
        states = states + second[2] * layer.mlp(layer.layer_norm2(states) * (1 + second[1]) + second[0])
    shift, scale = added.vision_model.adaLN_modulation(time).view(2, WIDTH)
    image = clip.visual_projection(vision.post_layernorm(states[:, 0]) * (1 + scale) + shift)
    text = clip.text_projection(clip.text_model(clip_words(prompts)).pooler_output)
    return clip.logit_scale.exp() * torch.nn.functional.cosine_similarity(image, text)


@pytest.mark.parametrize("ending", [".bin", ".safetensors"])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_modulated_clip_of_transformers(reward_models, images, name, ending):
    clip, added = written(reward_models, name, ending)
    reward = catalog.load(name)
    assert reward.label == name and reward.reads_prompt and not reward.previews_skilled
    finished = explicit_scores(clip, added, images, PROMPTS, 0)
    assert finished.std() > 0.005
    torch.testing.assert_close(reward.score(images, PROMPTS), finished, rtol=1e-5, atol=1e-5)
    for timestep in (999, 400):
        expected = explicit_scores(clip, added, images, PROMPTS, timestep)
        assert (expected - finished).abs().min() > 0.01
        torch.testing.assert_close(
            reward.at("SDXL", 1 - timestep / 999).score(images, PROMPTS), expected, rtol=1e-5, atol=1e-5
        )


def test_a_preview_scores_the_same_alone_and_in_any_batch(reward_models):
    written(reward_models)
    reward = catalog.load("SPM (SDXL)").at("SDXL", 0.3)
    images = torch.rand(11, 33, 47, 3, generator=torch.Generator().manual_seed(1))
    together = reward.score(images, ["a cat"])
    alone = torch.cat([reward.score(images[row : row + 1], ["a cat"]) for row in range(11)])
    assert len(set(together.tolist())) == 11
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_timesteps_are_those_that_comfyui_gives_to_sd15_and_sdxl(reward_models):
    written(reward_models)
    reward, table = catalog.load("SPM (SDXL)"), ModelSamplingDiscrete()
    for timestep in range(0, 1000, 37):
        assert reward.at("SDXL", percent_of_sigma(table, float(table.sigmas[timestep]))).timestep == timestep
    assert reward.at("", 1.0).timestep == reward.timestep == 0


def test_a_mean_hands_the_noise_level_on_and_keeps_its_limits(reward_models, images):
    clip, added = written(reward_models)
    write_clip(clip, reward_models / "PickScore")
    pick, spm = catalog.load("PickScore"), catalog.load("SPM (SDXL)")
    mean = MeanReward([pick, spm])
    assert mean.preview_families == spm.preview_families and not mean.previews_skilled
    early, late = (mean.at("SDXL", percent).score(images, PROMPTS[:1]) for percent in (0.2, 0.9))
    assert not torch.allclose(early, late, atol=1e-3)
    unlimited = MeanReward([pick, Named()])
    assert not unlimited.preview_families and unlimited.previews_skilled


class Named(Reward):
    def score(self, images, prompts):
        return images.mean((1, 2, 3))


def test_the_crop_is_the_authors_interpolation_and_torchvisions_crop():
    from torchvision.transforms import CenterCrop, Normalize

    image = torch.rand(2, 61, 97, 3, generator=torch.Generator().manual_seed(5))
    signed = image.movedim(-1, 1) * 2 - 1
    size = [int(side * (28 / 61) + 0.5) for side in (61, 97)]
    resized = CenterCrop(28)(torch.nn.functional.interpolate(signed, size, mode="bicubic", align_corners=False))
    expected = Normalize(pixels.MEAN, pixels.STD)((resized / 2 + 0.5).clamp(0, 1))
    torch.testing.assert_close(pixels.unrounded_centre_crop(image, 28), expected, rtol=1e-4, atol=1e-5)


def test_a_probe_hands_the_noise_level_of_the_moment_to_the_reward(reward_models, ksampler):
    clip, added = written(reward_models)
    reward = catalog.load("SPM (SDXL)")

    def decode(latents):
        return latents[:, :3].sigmoid().movedim(1, -1)

    probe, model = PreviewReward(decode, reward, "a cat"), random_sdxl()
    attached = AttachProbe.execute(model, probe, "step 2")[0]
    latent = {"samples": ksampler(attached, latent=torch.zeros(2, 4, 16, 24), steps=4)}
    scores = ProbeScore.execute(latent, attached)[0].values
    rows = captured(attached, latent)
    timestep = int(model.get_model_object("model_sampling").timestep(torch.tensor(rows[0].sigma)))
    expected = explicit_scores(clip, added, decoded_previews(decode, rows), ["a cat"] * 2, timestep)
    assert 0 < timestep < 999 and scores == pytest.approx(expected.tolist(), rel=1e-5)


def test_previews_of_other_families_are_refused_before_sampling(reward_models, flux):
    written(reward_models)
    probe = PreviewReward(lambda latents: latents, catalog.load("SPM (SDXL)"), "a cat")
    with pytest.raises(ValueError, match=r"SPM \(SDXL\), which knows the noise levels of SD1.5 and SDXL alone.*FLUX"):
        AttachProbe.execute(flux, probe, "20%")
    assert AttachProbe.execute(random_model("SD1.5"), probe, "20%")


def test_its_previews_count_as_unskilled_until_measured(reward_models):
    written(reward_models)
    reward = catalog.load("SPM (SDXL)")
    assert not PreviewReward(lambda latents: latents, reward, "a cat").skilled


def test_finished_latents_are_scored_at_timestep_zero(reward_models, images):
    clip, added = written(reward_models)
    probe = PreviewReward(lambda latents: latents.movedim(1, -1), catalog.load("SPM (SDXL)"), PROMPTS[0])
    rows = [Features("", "end", 4, 0.0, 1.0, denoised=image.movedim(-1, 0)) for image in images]
    expected = explicit_scores(clip, added, images, PROMPTS[:1] * 4, 0)
    torch.testing.assert_close(probe.score(rows), expected, rtol=1e-5, atol=1e-5)


def test_a_pickscore_file_in_its_place_is_refused(reward_models):
    clip = clip_model(0, hidden_act="gelu")
    write_clip(clip, reward_models / "SPM", NAMES["SPM (SDXL)"] + ".bin")
    with pytest.raises(ValueError, match="is another model or only a part of one .*tensors are missing"):
        catalog.load("SPM (SDXL)")
