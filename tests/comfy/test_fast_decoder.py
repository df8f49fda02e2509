"""Fast decoders of previews, from files as ComfyUI's loader reads them."""

import folder_paths
import latent_preview
import pytest
import torch
from comfy.taesd.taesd import TAESD
from diffusion_probe.dev.random_models import random_flux
from diffusion_probe.engine.capture.fast_decoder import FOLDER, fast_decoder
from diffusion_probe.engine.core.features import Features
from diffusion_probe.nodes.probes import FAST, VAE, PreviewRewardProbe
from safetensors.torch import save_file


class Vae:
    """A VAE whose images are black."""

    @staticmethod
    def decode(latents):
        return torch.zeros(len(latents), 8 * latents.shape[-2], 8 * latents.shape[-1], 3)


@pytest.fixture(scope="module")
def model():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty ``vae_approx``, the only one that ComfyUI knows of."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, FOLDER, ([str(tmp_path)], {".safetensors", ".pth"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


def write(folder, name="taef1_decoder.safetensors", channels=16):
    torch.manual_seed(0)
    small = TAESD(latent_channels=channels).taesd_decoder.state_dict()
    save_file({key: torch.randn(like.shape) * like[0].numel() ** -0.5 for key, like in small.items()}, folder / name)


@pytest.fixture
def latents():
    return torch.randn(3, 16, 8, 12, generator=torch.Generator().manual_seed(1))


def test_images_are_those_of_comfyuis_own_preview(model, folder, latents, monkeypatch):
    write(folder)
    monkeypatch.setattr(latent_preview.args, "preview_method", latent_preview.LatentPreviewMethod.TAESD)
    latent_format = model.get_model_object("latent_format")
    stock = latent_preview.get_previewer(torch.device("cpu"), latent_format)
    images = fast_decoder(model)(latents)
    assert images.shape == (3, 64, 96, 3) and 0 <= images.min() < images.max() <= 1
    for latent, image in zip(latent_format.process_in(latents), images, strict=True):
        drawn = stock.decode_latent_to_preview(latent[None])
        eight_bit = torch.tensor(list(drawn.getdata())).reshape(64, 96, 3)
        assert (image * 255 - eight_bit).abs().max() <= 1


def test_without_a_file_or_with_one_that_is_damaged_the_vae_decodes(model, folder, caplog):
    assert fast_decoder(model) is None
    (folder / "taef1_decoder.safetensors").write_bytes(b"not tensors")
    folder_paths.filename_list_cache.clear()
    assert fast_decoder(model) is None and "decoded by the VAE" in caplog.text


def test_a_preview_is_decoded_fast_for_a_model_and_a_finished_image_by_the_vae(model, folder, latents, reward_of):
    write(folder)
    brightness = reward_of(lambda images, prompts: images.mean((1, 2, 3)))
    rows = [Features("FLUX", "20%", 1, 1.0, 0.2, denoised=latent) for latent in latents]
    for decoder, fast in ((FAST, True), (VAE, False)):
        probe = PreviewRewardProbe.execute(Vae(), brightness, "a lamp", decoder)[0]
        assert probe.score(rows).tolist() == [0, 0, 0], "a judge of finished images is bound to no model"
        scores, pictures = probe.for_model(model).score_and_decode(rows, 32)
        assert bool((scores > 0).all()) == fast and max(pictures.shape[1:3]) == 32


def test_a_vae_that_is_small_itself_decodes_its_own_latents(model, folder, latents, reward_of):
    """As those of the testbeds, whose latents are not those of the models that share their format."""
    write(folder)

    class Small(Vae):
        first_stage_model = TAESD(latent_channels=16)

    brightness = reward_of(lambda images, prompts: images.mean((1, 2, 3)))
    probe = PreviewRewardProbe.execute(Small(), brightness, "a lamp", FAST)[0]
    assert probe.for_model(model) is probe
