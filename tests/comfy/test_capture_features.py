"""What learned probes need besides maps equals what the model itself computed, hooked independently."""

from contextlib import contextmanager

import comfy.samplers
import pytest
import torch
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.prompt.encode import text_of
from diffusion_probe.engine.capture.read import captured, finished_rows, score_latent
from diffusion_probe.engine.core.probe import CaptureAll
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.search import seed_search

import nodes as comfy_nodes


@pytest.fixture(scope="module")
def models():
    return {"FLUX": random_flux(scale=1.5), "SDXL": random_sdxl(scale=1.5)}


@pytest.fixture(params=["FLUX", "SDXL"])
def family(request):
    return request.param


@pytest.fixture
def model(models, family):
    return models[family]


@pytest.fixture
def sample(ksampler, family):
    """A short run of either model: latents of 8 x 12 (FLUX: 4 x 6 image tokens) or 16 x 24."""

    def run(model, rows=2, size=(8, 12), **options):
        channels, scale = (16, 1) if family == "FLUX" else (4, 2)
        empty = torch.zeros(rows, channels, scale * size[0], scale * size[1])
        return ksampler(model, **{"latent": empty, "steps": 4, **options})

    return run


def attached(model, moments="step 1", projection=None):
    return attach_probe(model, CaptureAll(projection), moments)


@contextmanager
def hooked(model, family):
    """What the block that is read gave in each model call, ``[rows, channels, height, width]`` (FLUX: tokens)."""
    network, calls = model.model.diffusion_model, []
    if family == "FLUX":  # 2 double and 4 single blocks: the fifth of six
        handle = network.single_blocks[2].register_forward_hook(
            lambda module, given, output: calls.append(output.clone())
        )
    else:  # the first layer of the decoder's last block is given what entered it, and the skip beside it
        layer = network.output_blocks[-1][0]
        handle = layer.register_forward_pre_hook(lambda module, given: calls.append(given[0].clone()))
    try:
        yield calls
    finally:
        handle.remove()


def images(call, family, channels, tokens=(4, 6)):
    """The image part of one hooked call."""
    if family == "SDXL":
        return call[:, :channels]
    return call[:, -tokens[0] * tokens[1] :].unflatten(1, tokens).movedim(-1, 1)


def test_the_activation_is_the_blocks_own_output_at_the_image_tokens(model, family, sample):
    recorder = attached(model, "step 1, step 3")
    with hooked(model, family) as calls:
        latent = {"samples": sample(recorder, cfg=1.0)}
    for step in (1, 3):
        rows = captured(recorder, latent, f"step {step}")
        for row, features in enumerate(rows):
            channels = features.activation.shape[0]
            expected = images(calls[step - 1], family, channels)[row]
            assert features.activation.shape == expected.shape and features.activation.dtype == torch.float16
            assert torch.equal(features.activation, expected.half())
    assert not torch.equal(rows[0].activation, rows[1].activation)


def test_large_activations_and_latents_are_averaged_over_equal_areas(model, family, sample):
    recorder = attached(model)
    size = (64, 128) if family == "FLUX" else (16, 32)  # tokens 32 x 64 in both
    with hooked(model, family) as calls:
        (row,) = captured(recorder, {"samples": sample(recorder, rows=1, size=size, cfg=1.0, steps=1)})
    whole = images(calls[0], family, row.activation.shape[0], (32, 64))[0]
    factor = whole.shape[-1] // 32
    explicit = whole.unflatten(2, (-1, factor)).mean(3).unflatten(1, (-1, factor)).mean(2)
    assert row.activation.shape[1:] == (16, 32) == row.latent.shape[1:]
    assert torch.allclose(row.activation.float(), explicit, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("how", ["joined", "split"])
def test_it_is_the_positive_prompts_in_joined_and_in_split_calls(model, family, sample, how):
    alone = attached(model)
    expected = captured(alone, {"samples": sample(alone, cfg=1.0)})
    negative = random_conditioning(2, tokens=12 if how == "joined" else 5)  # 12 and 5 tokens don't fit one call
    recorder = attached(model)
    with hooked(model, family) as calls:
        rows = captured(recorder, {"samples": sample(recorder, cfg=2.0, negative=negative, steps=1)})
    assert len(calls) == (1 if how == "joined" else 2)
    for row, single in zip(rows, expected, strict=True):
        assert torch.allclose(row.activation.float(), single.activation.float(), atol=1e-3, rtol=1e-3)
        assert torch.equal(row.latent, single.latent) and torch.equal(row.text, single.text)


def test_a_row_of_a_batch_is_what_it_is_alone(model, sample):
    noise = torch.randn(3, *sample(model, rows=1, steps=1).shape[1:], generator=torch.Generator().manual_seed(0))
    together, alone = attached(model), attached(model)
    rows = captured(together, {"samples": sample(together, rows=3, noise=noise)})
    (single,) = captured(alone, {"samples": sample(alone, rows=1, noise=noise[1:2])})
    for name in ("activation", "latent", "attention", "text", "denoised"):
        assert torch.allclose(getattr(rows[1], name).float(), getattr(single, name).float(), atol=2e-3, rtol=2e-3), name
    assert not torch.allclose(rows[0].activation, rows[1].activation, atol=1e-2)


def test_a_projection_is_an_explicit_matrix_product(model, sample):
    whole = attached(model)
    expected = captured(whole, {"samples": sample(whole)})
    channels = expected[0].activation.shape[0]
    projection = torch.randn(5, channels, generator=torch.Generator().manual_seed(0)) * channels**-0.5
    projected = attached(model, projection=projection)
    for row, full in zip(captured(projected, {"samples": sample(projected)}), expected, strict=True):
        product = (projection.double() @ full.activation.double().flatten(1)).unflatten(1, full.activation.shape[1:])
        assert row.activation.shape == product.shape
        assert (row.activation - product).abs().max() < 1e-3 * product.abs().max()


def test_values_beyond_half_precision_stay_finite(models, ksampler):
    model = models["FLUX"].clone()
    weight = model.model.diffusion_model.single_blocks[2].linear2.weight
    before = weight.data.clone()
    try:
        weight.data *= 1e7
        recorder = attached(model)
        rows = captured(recorder, {"samples": ksampler(recorder, steps=1)})
    finally:
        weight.data = before
    assert rows[0].activation.isfinite().all() and rows[0].activation.abs().max() > 60000


def test_latents_are_bit_identical_with_and_without_a_recorder(model, sample):
    recorder = attached(model, "8%, 20%, 40%, 60%")
    assert torch.equal(sample(model, steps=8), sample(recorder, steps=8))
    assert torch.equal(
        sample(model, steps=8, sampler="dpmpp_2m_sde"), sample(recorder, steps=8, sampler="dpmpp_2m_sde")
    )


def test_the_latent_is_what_the_sampler_had_as_the_model_is_given_it(model, family, sample):
    seen = []
    recorder = attached(model, "step 1, step 3")
    latent = {"samples": sample(recorder, callback=lambda step, x0, x, total: seen.append(x.clone()))}
    for step in (1, 3):
        rows = captured(recorder, latent, f"step {step}")
        sigma = rows[0].sigma
        scale = 1 if family == "FLUX" else (sigma**2 + 1) ** -0.5  # Karras et al., c_in at unit data variance
        for row, x in zip(rows, seen[step - 1], strict=True):
            assert torch.allclose(row.latent.float(), scale * x, atol=3e-3, rtol=2e-3)


def test_the_text_is_the_conditionings_context_of_all_entries_in_order(model, sample):
    first, second = random_conditioning(1), random_conditioning(4, tokens=5)
    recorder = attached(model)
    rows = captured(recorder, {"samples": sample(recorder, positive=first + second)})
    expected = {tuple(c.shape): c[0].half() for c in (first[0][0], second[0][0])}
    text = rows[0].text
    assert text.shape == (17, 32) == (rows[0].attention.shape[1], 32)
    orders = [torch.cat([*expected.values()]), torch.cat([*expected.values()][::-1])]
    assert any(torch.equal(text, order) for order in orders) and torch.equal(rows[1].text, text)


def test_rows_of_different_prompts_have_their_own_text(model, sample):
    both = torch.cat([random_conditioning(seed)[0][0] for seed in (1, 3)])
    pooled = torch.cat([random_conditioning(seed)[0][1]["pooled_output"] for seed in (1, 3)])
    recorder = attached(model)
    rows = captured(recorder, {"samples": sample(recorder, positive=[[both, {"pooled_output": pooled}]])})
    assert all(torch.equal(row.text, context.half()) for row, context in zip(rows, both, strict=True))


def test_embeddings_that_leave_half_precision_end_at_its_range():
    """Text encoders that are language models have single channels of 1e5 and more."""
    context = torch.tensor([[[1e5, -1e6, 0.5]]])
    assert text_of([({"cross_attn": context, "model_conds": {}}, 1)]).tolist() == [[[65504, -65504, 0.5]]]


def replaced_block(model, calls):
    """A clone whose read FLUX block is another pack's, that runs the block and changes its output."""
    model = model.clone()

    def replacement(args, extra):
        calls.append(1)
        output = extra["original_block"](args)
        return {**output, "img": output["img"] * 0.5}

    model.set_model_patch_replace(replacement, "dit", "single_block", 2)
    return model


def changed_entry(model, calls):
    """A clone with another pack's ``output_block_patch``, as FreeU's."""
    model = model.clone()

    def patch(h, skip, options):
        if tuple(options["block"]) == ("output", 3):
            calls.append(1)
            h = h * 0.5
        return h, skip

    model.set_model_output_block_patch(patch)
    return model


@pytest.mark.parametrize("order", ["before", "after"])
def test_another_packs_block_still_runs_and_what_it_gives_is_seen(model, family, sample, order):
    other = replaced_block if family == "FLUX" else changed_entry
    alone, beside = [], []
    expected = sample(other(model, alone))
    recorder = attached(other(model, beside)) if order == "before" else other(attached(model), beside)
    latent = sample(recorder)
    assert torch.equal(latent, expected) and beside == alone and len(alone) >= 4
    assert not torch.equal(latent, sample(model)), "the other has an effect"
    plain = attached(model)
    rows = zip(captured(recorder, {"samples": latent}), captured(plain, {"samples": sample(plain)}), strict=True)
    assert all(
        torch.allclose(seen.activation, 0.5 * without.activation, atol=1e-3, rtol=1e-3) for seen, without in rows
    )


def test_the_models_patches_are_as_before_after_a_run(model, sample):
    def patches(model):
        options = model.model_options["transformer_options"]
        return {name: str(options.get(name)) for name in ("patches", "patches_replace")}

    recorder = attached(model)
    before = patches(recorder)
    sample(recorder)
    assert patches(recorder) == before == patches(model)


def test_a_search_shows_a_probe_what_a_single_run_shows_it(models, ksampler):
    model, seen = models["FLUX"], []

    class Watching(CaptureAll):
        name, label, skilled = "watching", "mean", True

        def score(self, rows):
            seen.extend(rows)
            return torch.stack([row.activation.float().mean() for row in rows])

    latent = {"samples": torch.zeros(1, 16, 8, 12)}
    prompts = random_conditioning(1), random_conditioning(2)
    found = [ksampler_candidate(seed, 6, 2.0, "euler", "simple", *prompts, latent, 1.0, 0) for seed in range(3)]
    with torch.inference_mode():
        seed_search(
            model, found, Watching(), lambda steps: policy_named(ONE_CUT, steps, 3, 1, share=0.5, target=0.0), 1
        )
    assert len(seen) >= 3
    for seed, row in enumerate(seen[:3]):
        single = attached(model, f"step {row.step}")
        with torch.inference_mode():
            (output,) = comfy_nodes.KSampler().sample(single, seed, 6, 2.0, "euler", "simple", *prompts, latent)
        (expected,) = captured(single, output)
        assert row.sigma == expected.sigma and row.blocks == expected.blocks
        for name in ("activation", "latent", "attention", "text", "denoised"):
            given, wanted = getattr(row, name).float(), getattr(expected, name).float()
            assert torch.allclose(given, wanted, atol=2e-3, rtol=2e-3), name


def test_finished_rows_are_those_of_every_moment_once(model, sample):
    recorder = attached(model, "8%, 20%, 60%")  # of four steps, the first two fall on one evaluation
    records, moments = finished_rows(recorder, {"samples": sample(recorder, steps=4)})
    steps = [rows[0].step for rows in moments]
    assert steps == sorted(set(steps)) and len(steps) < 3 and {len(rows) for rows in moments} == {2}
    assert [record.steps for record in records] == [4, 4] and all(record.finished for record in records)


@pytest.mark.long
def test_a_full_run_of_every_sampler_can_be_recorded(ksampler):
    recorder = attached(random_flux(hidden_size=128, depth=1, depth_single_blocks=1), "8%, 20%, 40%, 60%")
    for sampler in comfy.samplers.SAMPLER_NAMES:
        latent = {"samples": ksampler(recorder, rows=1, steps=10, sampler=sampler, cfg=1.0)}
        (record,), moments = finished_rows(recorder, latent)
        percents = [rows[0].percent for rows in moments]
        assert len(moments) == 4 and percents == sorted(percents) and record.finished, sampler
        assert all(before <= limit for before, limit in zip(percents, (0.08, 0.2, 0.4, 0.6), strict=True)), sampler
        assert all(tensor.isfinite().all() for rows in moments for tensor in rows[0].tensors()), sampler


@pytest.mark.parametrize(
    ("moments", "options", "says"),
    [
        ("20%", {"last_step": 4}, "is not finished: its sampler stopped before the noise was gone"),
        ("8%, step 9", {}, "nothing was captured at a moment: the run had 6 model evaluations, so no step 9"),
        ("8%, 40%", {"denoise": 0.5}, "8% lies before its start"),
    ],
)
def test_a_run_that_can_not_be_recorded_is_refused_with_the_fix(models, ksampler, moments, options, says):
    recorder = attached(models["FLUX"], moments)
    latent = {"samples": ksampler(recorder, steps=6, **options)}
    with pytest.raises(ValueError, match=says):
        finished_rows(recorder, latent)


def test_rows_of_different_schedules_are_refused(models, ksampler):
    recorder = attached(models["FLUX"], "40%")
    both = torch.cat([ksampler(recorder, rows=1, steps=steps) for steps in (6, 9)])
    with pytest.raises(ValueError, match="runs with different schedules. Record each run by itself"):
        finished_rows(recorder, {"samples": both})


def test_a_prompt_for_a_part_of_the_image_has_no_activation_and_that_is_said(models, ksampler):
    ((context, entry),) = random_conditioning(1)
    part = [[context, {**entry, "area": (4, 6, 0, 0), "strength": 1.0, "set_area_to_bounds": False}]]
    recorder = attached(models["FLUX"])
    latent = {"samples": ksampler(recorder, positive=part)}
    with pytest.raises(ValueError, match="the activation could not be captured at step 1: no conditioning covers"):
        finished_rows(recorder, latent)


def test_scoring_with_a_recorder_says_what_to_connect(models, ksampler):
    recorder = attached(models["FLUX"])
    latent = {"samples": ksampler(recorder, steps=2)}
    with pytest.raises(ValueError, match="which captures features and scores nothing. Connect a MODEL with a probe"):
        score_latent(recorder, latent)
