"""Training runs ComfyUI's own forward, is deterministic, and resumes exactly."""

import comfy.model_management
import comfy.sd
import pytest
import torch
from diffusion_probe.testbed import autoencoder, flux, text, train
from diffusion_probe.testbed.autograd import differentiable
from diffusion_probe.testbed.stage import Stage, generator_for

PROMPTS = ["a small red circle above a large blue square", "a green cross", ""]


@pytest.fixture
def fresh_flux():
    torch.manual_seed(0)
    model = flux.new_model()
    for parameter in model.parameters():  # away from the zero start, where most of the model is silent
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    shapes = {"latent": (2, 16, 16, 16), "context": (2, 32, 64), "pooled": (2, 64)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_the_forward_of_training_equals_the_loaded_models(fresh_flux, inputs):
    sigma, guidance = torch.tensor([0.3, 0.9]), torch.full((2,), 3.5)
    arguments = (inputs["latent"], sigma, inputs["context"], inputs["pooled"], guidance)
    with differentiable():
        trained = fresh_flux(*arguments, transformer_options=flux.TRAINING_OPTIONS).detach()
    state = {name: value.detach().clone() for name, value in fresh_flux.state_dict().items()}
    loaded = comfy.sd.load_diffusion_model_state_dict(state, model_options={"dtype": torch.float32})
    with torch.inference_mode():
        stock = loaded.get_model_object("diffusion_model")(*arguments)
    assert torch.allclose(trained, stock, atol=1e-5)


def test_gradients_through_the_in_place_blocks_are_right(fresh_flux, inputs):
    def loss():
        return flux.diffusion_loss(fresh_flux, *inputs.values(), torch.Generator().manual_seed(2))

    with differentiable():
        value = loss()
    value.backward()
    parameters = list(fresh_flux.parameters())
    gradients = [p.grad for p in parameters]
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    step = 3e-2 / norm  # along the gradient itself, where a wrong term shows most
    with torch.no_grad():
        values = []
        for sign in (1, -2):
            for parameter, gradient in zip(parameters, gradients):
                parameter += sign * step * gradient
            values.append(loss().item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(norm.square().item(), rel=0.05)


def test_the_text_encoder_of_training_equals_stock_clip():
    torch.manual_seed(0)
    encoder = text.TextEncoder()
    for parameter in encoder.parameters():
        parameter.data = parameter.data.half().float()
    clip = text.build_clip(*encoder.export())
    with differentiable():
        context, pooled = encoder(encoder.rows(PROMPTS))
    for row, prompt in enumerate(PROMPTS):
        stock_context, stock_pooled = clip.encode_from_tokens(clip.tokenize(prompt), return_pooled=True)
        assert torch.allclose(context[row], stock_context[0], atol=1e-5)
        assert torch.allclose(pooled[row], stock_pooled[0], atol=1e-5)


def test_only_used_rows_of_the_token_table_are_shipped():
    tensors, metadata = text.TextEncoder().export()
    assert len(tensors["token_ids"]) == len(tensors[text.TABLE]) < 64
    assert int(metadata["unknown_row"]) < 64


def test_a_text_encoder_file_of_another_size_is_refused():
    tensors, metadata = text.TextEncoder().export()
    with pytest.raises(ValueError, match="another configuration"):
        text.build_clip(tensors, {**metadata, "config": "{}"})


def _stage(path, steps=6, **settings):
    torch.manual_seed(0)
    module = torch.nn.Linear(4, 4)

    def loss_of(step):
        return module(torch.randn(8, 4, generator=generator_for(0, step))).square().mean()

    return Stage(path, module, loss_of, steps, 0.1, settings, average=0.5)


def test_an_interrupted_run_continues_exactly_where_it_was(tmp_path):
    whole = _stage(tmp_path / "whole.safetensors")
    losses = whole.run()
    _stage(tmp_path / "parts.safetensors").run(until=3)
    resumed = _stage(tmp_path / "parts.safetensors")
    assert resumed.run() == losses
    assert torch.equal(resumed.module.weight, whole.module.weight)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    _stage(tmp_path / "stage.safetensors", seed=1).run()
    with pytest.raises(ValueError, match="another --out"):
        _stage(tmp_path / "stage.safetensors", seed=2).run()


def test_the_same_seed_trains_the_same_flux(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "BATCH", 4)
    latents = torch.randn(8, 16, 16, 16, generator=torch.Generator().manual_seed(0)).half()
    runs = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        prompts = [f"a red circle above a {colour} square" for colour in ("blue", "green")] * 4
        runs.append(train.train_diffusion(tmp_path / name, flux, latents, prompts, 2, 5, torch.device("cpu"))[2])
    assert runs[0] == runs[1] and not comfy.model_management.in_training


def test_every_stage_runs_end_to_end_and_the_result_loads(tmp_path, monkeypatch):
    from diffusion_probe.testbed.load import load_testbed

    monkeypatch.setattr(train, "BATCH", 2)
    monkeypatch.setattr(autoencoder, "BATCH", 2)
    out = train.train("flux", tmp_path, seed=0, vae_steps=1, steps=1, scenes=2)
    assert (out / "loss.png").is_file()
    model, clip, vae = load_testbed("flux", out)
    assert model.model.model_config.unet_config["hidden_size"] == 128


def test_an_unknown_family_lists_those_that_are():
    with pytest.raises(ValueError, match="flux"):
        train.family("sd15")
