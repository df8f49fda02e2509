"""The Step-Aware Preference Model on small random weights, and how the noise level comes to it."""

import pytest
import torch
from comfy.model_sampling import ModelSamplingDiscrete
from diffusion_probe.dev.random_models import random_model, random_sdxl
from diffusion_probe.dev.random_rewards import random_tensors
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.rewards import catalog, pixels, step_aware
from diffusion_probe.engine.rewards.word_ids import clip_words
from diffusion_probe.nodes.attach import AttachProbe, ProbeScore
from diffusion_probe.probe_models.preview import PreviewReward
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
    for sigma, timestep in ((14.7, 999), (0.5, None)):
        timestep = step_aware.timestep_of(sigma) if timestep is None else timestep
        expected = explicit_scores(clip, added, images, PROMPTS, timestep)
        assert (expected - finished).abs().min() > 0.01
        torch.testing.assert_close(reward.score_previews(images, PROMPTS, [sigma] * 4), expected, rtol=1e-5, atol=1e-5)


def test_each_preview_is_scored_by_its_own_noise_level_in_any_batch(reward_models):
    written(reward_models)
    reward = catalog.load("SPM (SDXL)")
    images = torch.rand(1, 33, 47, 3, generator=torch.Generator().manual_seed(1)).expand(11, -1, -1, -1)
    sigmas = [0.1 + row for row in range(11)]
    together = reward.score_previews(images, ["a cat"] * 11, sigmas)
    alone = torch.cat([reward.score_previews(images[:1], ["a cat"], [sigma]) for sigma in sigmas])
    assert len(set(together.tolist())) == 11
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_timesteps_are_those_that_comfyui_gives_to_sd15_and_sdxl():
    table = ModelSamplingDiscrete()
    sigmas = torch.cat([table.sigmas, torch.rand(500, generator=torch.Generator().manual_seed(0)) * 20 + 1e-3])
    assert [step_aware.timestep_of(float(sigma)) for sigma in sigmas] == table.timestep(sigmas).tolist()
    assert step_aware.timestep_of(0.0) == 0


def test_the_crop_is_the_authors_interpolation_and_torchvisions_crop():
    from torchvision.transforms import CenterCrop, Normalize

    image = torch.rand(2, 61, 97, 3, generator=torch.Generator().manual_seed(5))
    signed = image.movedim(-1, 1) * 2 - 1
    size = [int(side * (28 / 61) + 0.5) for side in (61, 97)]
    resized = CenterCrop(28)(torch.nn.functional.interpolate(signed, size, mode="bicubic", align_corners=False))
    expected = Normalize(pixels.MEAN, pixels.STD)((resized / 2 + 0.5).clamp(0, 1))
    torch.testing.assert_close(pixels.unrounded_centre_crop(image, 28), expected, rtol=1e-4, atol=1e-5)


def test_a_probe_hands_the_noise_level_of_the_moment_to_the_reward(reward_models, ksampler):
    written(reward_models)
    reward = catalog.load("SPM (SDXL)")

    def decode(latents):
        return latents[:, :3].sigmoid().movedim(1, -1)

    probe, model = PreviewReward(decode, reward, "a cat"), random_sdxl()
    attached = AttachProbe.execute(model, probe, "step 2")[0]
    latent = {"samples": ksampler(attached, latent=torch.zeros(2, 4, 16, 24), steps=4)}
    seen = []
    reward.score_previews = lambda images, words, sigmas: seen.append((images, sigmas)) or torch.zeros(len(images))
    ProbeScore.execute(latent, attached)
    assert len(seen[0][0]) == 2 and len(set(seen[0][1])) == 1 and 0.1 < seen[0][1][0] < 14


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
