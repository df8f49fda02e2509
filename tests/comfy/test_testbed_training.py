"""Training runs ComfyUI's own forward, is deterministic, and resumes exactly."""

import comfy.model_management
import comfy.sd
import pytest
import torch
from diffusion_probe.dev.testbed_training import autoencoder, train
from diffusion_probe.dev.testbed_training.autograd import differentiable
from diffusion_probe.dev.testbed_training.text_training import TextEncoder
from diffusion_probe.testbed import flux, sdxl, text
from diffusion_probe.training.fitting.stage import Plan, Stage, generator_for

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


@pytest.fixture
def fresh_sdxl():
    torch.manual_seed(0)
    model = sdxl.new_model()
    for name, parameter in model.named_parameters():
        if not name.startswith("label_emb"):
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model


@pytest.fixture
def sdxl_inputs():
    generator = torch.Generator().manual_seed(1)
    shapes = {"latent": (2, 4, 16, 16), "context": (2, 32, sdxl.TEXT.width), "pooled": (2, sdxl.TEXT.pooled_width)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_the_forward_of_sdxl_training_equals_the_loaded_models(fresh_sdxl, sdxl_inputs):
    timestep, adm = torch.tensor([30.0, 900.0]), torch.randn(2, sdxl.CONFIG["adm_in_channels"])
    arguments = sdxl_inputs["latent"], timestep, sdxl_inputs["context"], adm
    with differentiable():
        trained = fresh_sdxl(*arguments, transformer_options=dict(sdxl.TRAINING_OPTIONS)).detach()
    state = {name: value.detach().clone() for name, value in fresh_sdxl.state_dict().items()}
    with torch.inference_mode():
        stock = sdxl.load_model(state, sdxl.METADATA).get_model_object("diffusion_model")(*arguments)
    assert torch.allclose(trained, stock, atol=1e-5)


def test_the_sdxl_loss_is_the_weighted_noise_error_of_the_loaded_model(fresh_sdxl, sdxl_inputs):
    """Through ``apply_model``, which scales the input by itself and knows x0, not eps."""
    with differentiable():
        trained = sdxl.diffusion_loss(fresh_sdxl, *sdxl_inputs.values(), torch.Generator().manual_seed(2)).item()
    state = {name: value.detach().clone() for name, value in fresh_sdxl.state_dict().items()}
    loaded = sdxl.load_model(state, sdxl.METADATA).model
    generator = torch.Generator().manual_seed(2)
    sigma = loaded.model_sampling.sigmas[torch.randint(0, 1000, (2,), generator=generator)]
    latent, wide = sdxl_inputs["latent"], sigma[:, None, None, None]
    noise = torch.randn(latent.shape, generator=generator)
    adm = torch.zeros(2, sdxl.CONFIG["adm_in_channels"])
    with torch.inference_mode():
        x0 = loaded.apply_model(latent + wide * noise, sigma, c_crossattn=sdxl_inputs["context"], y=adm)
    error = ((x0 - latent) / wide).square().mean((1, 2, 3))
    expected = ((1 + sigma**2).clamp(max=sdxl.WEIGHT_CAP) * error).mean().item()
    assert trained == pytest.approx(expected, rel=1e-3)


def test_gradients_through_the_unet_are_right(fresh_sdxl, sdxl_inputs):
    context = sdxl_inputs["context"].requires_grad_()

    def loss(context):
        with differentiable():
            arguments = sdxl_inputs["latent"], context, sdxl_inputs["pooled"]
            return sdxl.diffusion_loss(fresh_sdxl, *arguments, torch.Generator().manual_seed(2))

    loss(context).backward()
    gradient = context.grad
    assert all((p.grad is not None) == p.requires_grad for p in fresh_sdxl.parameters())
    step = 1e-2 / gradient.norm()
    with torch.no_grad():
        difference = loss(context + step * gradient) - loss(context - step * gradient)
    assert difference / (2 * step) == pytest.approx(gradient.norm().square().item(), rel=0.05)


@pytest.mark.parametrize("side", [text.FLUX_TEXT, text.SDXL_TEXT], ids=["flux", "sdxl"])
def test_the_text_encoder_of_training_equals_stock_clip(side):
    torch.manual_seed(0)
    encoder = TextEncoder(side)
    for parameter in encoder.parameters():
        parameter.data = parameter.data.half().float()
    clip = text.build_clip(*encoder.export())
    with differentiable():
        context, pooled = encoder(encoder.rows(PROMPTS))
    for row, prompt in enumerate(PROMPTS):
        stock_context, stock_pooled = clip.encode_from_tokens(clip.tokenize(prompt), return_pooled=True)
        assert torch.allclose(context[row], stock_context[0], atol=1e-5)
        assert torch.allclose(pooled[row], stock_pooled[0], atol=1e-5)


@pytest.mark.parametrize("side", [text.FLUX_TEXT, text.SDXL_TEXT], ids=["flux", "sdxl"])
def test_only_used_rows_of_token_tables_are_shipped_and_others_take_the_unknown_one(side):
    tensors, metadata = TextEncoder(side).export()
    ids, unknown = tensors["token_ids"].tolist(), int(metadata["unknown_row"])
    clip = text.build_clip(tensors, metadata)
    for name in side.configs:
        rows = tensors[side.prefix(name) + text.TABLE].float()
        table = getattr(clip.cond_stage_model, f"clip_{name}").transformer.get_input_embeddings().weight.float()
        assert len(ids) == len(rows) < 64 and len(table) == text.VOCABULARY_SIZE
        assert torch.equal(table[ids], rows)
        others = torch.ones(len(table), dtype=torch.bool).index_fill(0, torch.tensor(ids), False)
        assert torch.equal(table[others].unique(dim=0), rows[[unknown]])


def test_a_text_encoder_file_of_another_size_is_refused():
    tensors, metadata = TextEncoder().export()
    with pytest.raises(ValueError, match="another configuration"):
        text.build_clip(tensors, {**metadata, "config": "{}"})


def _stage(path, steps=6, matrix_rate=0.0, **settings):
    torch.manual_seed(0)
    module = torch.nn.ModuleDict({"blocks": torch.nn.ModuleList([torch.nn.Conv2d(4, 4, 3), torch.nn.Linear(2, 4)])})

    def loss_of(step):
        images = torch.randn(8, 4, 4, 4, generator=generator_for(0, step))
        convolution, linear = module["blocks"]
        return linear(convolution(images)).square().mean()

    return Stage(path, module, loss_of, Plan(steps, 0.1, matrix_rate, average=0.5), settings)


@pytest.mark.parametrize("matrix_rate", [0.0, 0.1])
def test_an_interrupted_run_continues_exactly_where_it_was(tmp_path, matrix_rate):
    whole = _stage(tmp_path / "whole.safetensors", matrix_rate=matrix_rate)
    losses = whole.run()
    _stage(tmp_path / "parts.safetensors", matrix_rate=matrix_rate).run(until=3)
    resumed = _stage(tmp_path / "parts.safetensors", matrix_rate=matrix_rate)
    assert resumed.run() == losses
    assert all(map(torch.equal, resumed.module.parameters(), whole.module.parameters()))


def test_muon_moves_a_convolution_as_it_moves_the_same_weights_as_a_matrix(tmp_path):
    """A convolution over one position is a linear layer."""
    torch.manual_seed(0)
    weight, after = torch.randn(3, 8), []
    for layer in (torch.nn.Linear(8, 3), torch.nn.Conv2d(2, 3, 2)):
        layer.weight.data.copy_(weight.view_as(layer.weight))
        torch.nn.init.zeros_(layer.bias)
        module = torch.nn.ModuleDict({"blocks": torch.nn.ModuleList([layer])})
        inputs = torch.randn(5, 8, generator=generator_for(0, 1)).view(5, *layer.weight.shape[1:])
        path = tmp_path / f"{len(after)}.safetensors"
        Stage(path, module, lambda _: layer(inputs).square().mean(), Plan(3, 0.1, 0.1), {}).run()  # noqa: B023
        after.append(layer.weight.detach().view(3, 8))
    assert torch.allclose(*after, atol=1e-5) and not torch.allclose(after[0], weight, atol=1e-3)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    _stage(tmp_path / "stage.safetensors", seed=1).run()
    with pytest.raises(ValueError, match="another --out"):
        _stage(tmp_path / "stage.safetensors", seed=2).run()


@pytest.mark.long
@pytest.mark.parametrize(("module", "channels"), [(flux, 16), (sdxl, 4)], ids=["flux", "sdxl"])
def test_the_same_seed_trains_the_same_model(tmp_path, monkeypatch, module, channels):
    monkeypatch.setattr(module, "BATCH", 4)
    latents = torch.randn(8, channels, 16, 16, generator=torch.Generator().manual_seed(0)).half()
    runs = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        prompts = [f"a red circle above a {colour} square" for colour in ("blue", "green")] * 4
        runs.append(train.train_diffusion(tmp_path / name, module, latents, prompts, 2, 5, torch.device("cpu"))[2])
    assert runs[0] == runs[1] and not comfy.model_management.in_training


@pytest.mark.long
@pytest.mark.parametrize("module", [flux, sdxl], ids=["flux", "sdxl"])
def test_every_stage_runs_end_to_end_and_the_result_loads(tmp_path, monkeypatch, module):
    from diffusion_probe.testbed.load import load_testbed

    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(autoencoder, "BATCH", 2)
    name = module.__name__.split(".")[-1]
    out = train.train(name, tmp_path, seed=0, vae_steps=1, steps=1, scenes=2)
    assert (out / "loss.png").is_file()
    model, clip, vae = load_testbed(name, out)
    built = model.model.model_config.unet_config
    assert all(built[key] == value for key, value in module.CONFIG.items())


def test_an_unknown_family_lists_those_that_are():
    with pytest.raises(ValueError, match="flux"):
        train.family("sd15")
