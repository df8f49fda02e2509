"""The shipped testbed models go through ComfyUI's stock nodes and loaders."""

import comfy.model_base
import comfy.model_sampling
import comfy.sd
import comfy.sdxl_clip
import folder_paths
import pytest
import torch
from comfy_extras.nodes_clip_sdxl import CLIPTextEncodeSDXL
from diffusion_probe.dev.testbed_training.train import FAMILIES
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.nodes.testbed import LoadTestbedModel
from diffusion_probe.probe_models.focus import AttentionFocus
from diffusion_probe.probe_models.preview import PreviewReward
from diffusion_probe.testbed import render, sample, scenes, scorer
from diffusion_probe.testbed.load import MODELS, load_testbed

import nodes

PROMPT = "a small red circle to the left of a large blue square and above a green triangle"


@pytest.fixture(scope="module")
def flux():
    with torch.inference_mode():
        return load_testbed("flux")


@pytest.fixture(scope="module")
def sdxl():
    with torch.inference_mode():
        return tuple(LoadTestbedModel.execute("sdxl").args)


@pytest.fixture(params=FAMILIES)
def testbed(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_files_are_small_enough_to_ship(name):
    size = {path.stem: path.stat().st_size / 1e6 for path in (MODELS / name).glob("*.safetensors")}
    assert size["diffusion_model"] <= 8 and size["text_encoder"] + size["vae"] <= 6


def test_it_is_detected_as_flux_dev_with_its_schedule(flux):
    model, clip, vae = flux
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


def test_the_sdxl_is_comfyuis_with_its_noise_schedule_and_attends_first_at_16_by_16(sdxl):
    model, clip, vae = sdxl
    assert type(model.model) is comfy.model_base.SDXL and vae.latent_channels == 4
    assert type(clip.cond_stage_model) is comfy.sdxl_clip.SDXLClipModel
    real = comfy.model_sampling.ModelSamplingDiscrete()
    assert torch.equal(model.get_model_object("model_sampling").sigmas, real.sigmas)
    assert model.model.model_type is comfy.model_base.ModelType.EPS
    patched = attach_probe(model, AttentionFocus(), "step 1")
    latents = sample.sample_latents(patched, clip, PROMPT, [1], steps=2)
    row = captured(patched, {"samples": latents})[0]
    assert row.blocks[0] == "input 1 0" and row.attention.shape[2:] == (16, 16)


def test_stock_clip_text_encode_gives_flux_conditioning(flux):
    with torch.inference_mode():
        (conditioning,) = nodes.CLIPTextEncode().encode(flux[1], PROMPT)
    context, extras = conditioning[0]
    assert context.shape == (1, 32, 64) and extras["pooled_output"].shape == (1, 64)


def test_both_stock_text_nodes_give_sdxl_conditioning(sdxl):
    sizes = {"width": 128, "height": 128, "crop_w": 0, "crop_h": 0, "target_width": 128, "target_height": 128}
    with torch.inference_mode():
        (plain,) = nodes.CLIPTextEncode().encode(sdxl[1], PROMPT)
        special = CLIPTextEncodeSDXL.execute(sdxl[1], text_g=PROMPT, text_l=PROMPT, **sizes).args[0]
        split = CLIPTextEncodeSDXL.execute(sdxl[1], text_g=PROMPT, text_l="a green cross", **sizes).args[0]
    assert plain[0][0].shape == (1, 32, 96) and plain[0][1]["pooled_output"].shape == (1, 64)
    assert torch.equal(plain[0][0], special[0][0]) and special[0][1]["target_width"] == 128
    same = [torch.equal(split[0][0][..., part], plain[0][0][..., part]) for part in (slice(0, 32), slice(32, 96))]
    assert same == [False, True]


def test_sdxls_adm_reaches_the_model_and_image_sizes_change_nothing(sdxl):
    model, clip, _ = sdxl
    seen = []

    def look(apply, args):
        seen.append(args["c"]["y"])
        return apply(args["input"], args["timestep"], **args["c"])

    watched = model.clone()
    watched.set_model_unet_function_wrapper(look)

    @torch.inference_mode()
    def run(width):
        (text,) = nodes.CLIPTextEncode().encode(clip, PROMPT)
        text[0][1]["width"] = width
        latent = {"samples": torch.zeros(1, 4, 16, 16)}
        return nodes.KSampler().sample(watched, 5, 2, 1.0, "euler", "simple", text, text, latent)[0]["samples"]

    assert torch.equal(run(128), run(1024))
    assert {y.shape[1] for y in seen} == {64 + 6 * 256} and not torch.equal(seen[0], seen[-1])


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
    assert latent.shape == (8, vae.latent_channels, 16, 16)
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


def test_the_trained_sdxl_obeys_words_that_its_noise_knows_nothing_of(sdxl):
    """One colour in the prompt; the seeds are the same for every colour."""
    colours = list(scenes.COLOURS)
    prompts = [f"a large {colour} square" for colour in colours for _ in range(2)]
    images = sample.sample_images(*sdxl, prompts, [1, 2] * len(colours), steps=12)
    right = [parts.presence and parts.colour for parts in scorer.criteria_of(images, prompts)]
    assert sum(right) >= 9  # of 12


def test_focus_and_preview_look_into_the_sdxl_and_change_nothing(sdxl):
    model, clip, vae = sdxl
    with torch.inference_mode():
        plain = sample.sample_latents(model, clip, PROMPT, [1, 2], steps=10)
        for probe in (AttentionFocus(), PreviewReward(vae.decode, scorer.GroundTruth(), PROMPT)):
            watched = attach_probe(model, probe, "80%")
            latents = sample.sample_latents(watched, clip, PROMPT, [1, 2], steps=10)
            scores = probe.score(captured(watched, {"samples": latents}))
            assert torch.equal(latents, plain)
            assert scores.shape == (2,) and scores.isfinite().all() and scores[0] != scores[1]
        truth = scorer.score(vae.decode(plain), [PROMPT] * 2)
    assert (scores - truth).abs().max() < 0.4  # the preview of a late evaluation shows the finished image


def test_an_unknown_model_name_lists_what_there_is():
    with pytest.raises(FileNotFoundError, match="Shipped: flux, sdxl"):
        load_testbed("sd15")
