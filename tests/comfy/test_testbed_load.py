"""The shipped testbed model goes through ComfyUI's stock nodes and loaders."""

import comfy.model_base
import comfy.sd
import folder_paths
import pytest
import torch
from diffusion_probe.testbed import render, sample, scenes, scorer
from diffusion_probe.testbed.load import MODELS, load_testbed

import nodes

PROMPT = "a small red circle to the left of a large blue square and above a green triangle"


@pytest.fixture(scope="module")
def testbed():
    with torch.inference_mode():
        return load_testbed("flux")


def test_the_files_are_small_enough_to_ship():
    size = {path.stem: path.stat().st_size / 1e6 for path in (MODELS / "flux").glob("*.safetensors")}
    assert size["diffusion_model"] <= 8 and size["text_encoder"] + size["vae"] <= 6


def test_it_is_detected_as_flux_dev_with_its_schedule(testbed):
    model, clip, vae = testbed
    assert type(model.model) is comfy.model_base.Flux
    assert model.model.model_sampling.shift == 1.15
    assert model.get_model_object("diffusion_model").params.hidden_size == 128
    assert isinstance(clip, comfy.sd.CLIP) and isinstance(vae, comfy.sd.VAE) and vae.latent_channels == 16


def test_the_stock_loader_nodes_load_the_files(monkeypatch):
    folder = str(MODELS / "flux")
    for kind in ("diffusion_models", "vae"):
        extensions = folder_paths.folder_names_and_paths[kind][1]
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, ([folder], extensions))
    folder_paths.filename_list_cache.clear()
    with torch.inference_mode():
        (model,) = nodes.UNETLoader().load_unet("diffusion_model.safetensors", "default")
        (vae,) = nodes.VAELoader().load_vae("vae.safetensors")
    folder_paths.filename_list_cache.clear()
    assert type(model.model) is comfy.model_base.Flux and vae.latent_channels == 16


def test_stock_clip_text_encode_gives_flux_conditioning(testbed):
    with torch.inference_mode():
        (conditioning,) = nodes.CLIPTextEncode().encode(testbed[1], PROMPT)
    context, extras = conditioning[0]
    assert context.shape == (1, 32, 64) and extras["pooled_output"].shape == (1, 64)


def test_prompt_weights_and_unknown_words_are_understood(testbed):
    with torch.inference_mode():
        encode = nodes.CLIPTextEncode().encode
        plain, weighted = (encode(testbed[1], text)[0][0][0] for text in (PROMPT, PROMPT.replace("red", "(red:1.4)")))
        cat, dog = (encode(testbed[1], f"a red {word}")[0][0][0] for word in ("cat", "dog"))
    assert not torch.equal(plain, weighted)
    assert torch.equal(cat, dog)


def test_an_image_survives_the_autoencoder_and_its_latent_has_unit_scale(testbed):
    model, _, vae = testbed
    some = scenes.sample_scenes(8, seed=31)
    images = torch.stack([torch.from_numpy(render.render(scene, n)) for n, scene in enumerate(some)])
    with torch.inference_mode():
        latent = vae.encode(images)
        decoded = vae.decode(latent)
    assert latent.shape == (8, 16, 16, 16)
    assert 0.7 < model.model.process_latent_in(latent).std() < 1.3
    assert (decoded - images).abs().mean() < 0.03
    assert scorer.score(decoded, [scene.prompt for scene in some]).mean() > 0.9


def test_sampling_is_deterministic_and_row_i_is_the_run_of_its_seed_alone(testbed):
    model, clip, _ = testbed
    with torch.inference_mode():
        both = sample.sample_latents(model, clip, PROMPT, [7, 8], steps=4)
        again = sample.sample_latents(model, clip, PROMPT, [7, 8], steps=4)
        alone = sample.sample_latents(model, clip, PROMPT, [8], steps=4)
    assert torch.equal(both, again)
    assert torch.allclose(both[1:], alone, atol=1e-3)


def test_rows_with_prompts_of_their_own_equal_runs_of_one_prompt(testbed):
    model, clip, _ = testbed
    other = "a large purple cross"
    with torch.inference_mode():
        mixed = sample.sample_latents(model, clip, [PROMPT, other], [1, 2], steps=4)
        single = sample.sample_latents(model, clip, other, [2], steps=4)
    assert torch.allclose(mixed[1:], single, atol=1e-3)


def test_an_unknown_model_name_lists_what_there_is():
    with pytest.raises(FileNotFoundError, match="Shipped: .*flux"):
        load_testbed("sd15")
