"""Recording changes nothing, leaves nothing behind, and belongs to the latent it came from."""

import comfy.controlnet
import comfy.model_management
import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_custom_sampler import BasicGuider, SamplerCustomAdvanced
from diffusion_probe.dev.random_models import random_conditioning
from diffusion_probe.engine.capture import store as capture_store
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured, score_latent, score_with_previews
from diffusion_probe.engine.core.scores import SeedName
from diffusion_probe.engine.runs import seeds
from diffusion_probe.engine.runs.keys import RECORDING
from diffusion_probe.engine.runs.latents import keep_rows, row_keys
from diffusion_probe.nodes.attach import ProbeScore
from diffusion_probe.probe_models.preview import PreviewReward

from support.marks import some_long


def snapshot(options):
    """Model options as comparable text, without the addresses of what they hold."""
    return {key: sorted(map(str, value)) if isinstance(value, dict) else str(value) for key, value in options.items()}


@pytest.mark.parametrize(
    "sampler", some_long(["euler", "heun", "dpmpp_2m_sde", "euler_ancestral", "uni_pc", "ddim"], ["uni_pc", "ddim"])
)
def test_latents_are_bit_identical_with_and_without_a_probe(flux, ksampler, probe, sampler):
    model = attach_probe(flux, probe, "20%, 40%, step 7")
    assert torch.equal(ksampler(flux, sampler=sampler), ksampler(model, sampler=sampler))


def test_the_models_options_are_as_before_after_a_run(flux, ksampler, probe):
    model = attach_probe(flux, probe)
    before = snapshot(flux.model_options), snapshot(model.model_options)
    ksampler(model)
    assert (snapshot(flux.model_options), snapshot(model.model_options)) == before
    assert RECORDING not in model.model_options["transformer_options"] and flux.get_attachment(RECORDING) is None


@pytest.mark.parametrize("error", [comfy.model_management.InterruptProcessingException(), RuntimeError("broken")])
def test_an_interrupt_or_an_exception_leaves_the_model_as_it_was(flux, ksampler, probe, error):
    model = attach_probe(flux, probe, "20%")
    before = snapshot(model.model_options)

    def stop(step, x0, x, total_steps):
        if step == 4:
            raise error

    with pytest.raises(type(error)):
        ksampler(model, callback=stop)
    assert snapshot(model.model_options) == before and len(model.get_attachment(RECORDING).store) == 0
    assert torch.equal(ksampler(model), ksampler(flux))
    assert len(model.get_attachment(RECORDING).store) == 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_another_packs_attention_override_is_called_as_often_as_without_us(flux, ksampler, probe, when):
    calls = []

    def install(model):
        model = model.clone()

        def override(func, *args, **kwargs):
            calls.append(1)
            return func(*args, **kwargs)

        model.model_options["transformer_options"]["optimized_attention_override"] = override
        return model

    expected = ksampler(install(flux))
    alone = len(calls)
    model = attach_probe(install(flux), probe) if when == "before" else install(attach_probe(flux, probe))
    latent = ksampler(model)
    assert torch.equal(latent, expected) and len(calls) == 2 * alone
    assert captured(model, {"samples": latent})[0].attention is not None


def test_an_inexact_attention_backend_does_not_reach_the_maps(flux, ksampler, probe):
    exact = attach_probe(flux, probe, "step 1")
    expected = captured(exact, {"samples": ksampler(exact, steps=2)})
    rounded = flux.clone()

    def coarse(func, q, k, v, heads, *args, **kwargs):
        return func(q, k, v, heads, *args, **kwargs).mul(16).round().div(16)

    rounded.model_options["transformer_options"]["optimized_attention_override"] = coarse
    model = attach_probe(rounded, probe, "step 1")
    rows = captured(model, {"samples": ksampler(model, steps=2)})
    assert (rows[0].attention[0] - expected[0].attention[0]).abs().max() < 1e-3


def test_a_model_that_bypasses_comfyuis_attention_is_told_so(flux, ksampler, probe):
    bypassing = flux.clone()
    bypassing.set_model_unet_function_wrapper(lambda apply_model, args: 0.9 * args["input"])
    model = attach_probe(bypassing, probe)
    with pytest.raises(ValueError, match="nothing was captured, because .*Nunchaku"):
        captured(model, {"samples": ksampler(model)})


def test_an_unsupported_family_is_refused_with_those_that_are(flux, probe):
    class NotFlux:
        pass

    other = flux.clone()
    other.model = NotFlux()
    with pytest.raises(ValueError, match="is a NotFlux.*Supported: FLUX"):
        attach_probe(other, probe)


def test_a_second_probe_on_one_model_is_refused(flux, probe):
    with pytest.raises(ValueError, match="already attached"):
        attach_probe(attach_probe(flux, probe), probe)


def test_a_lora_after_the_probe_is_seen_and_shares_its_records(flux, ksampler, probe):
    model = attach_probe(flux, probe, "step 1")
    weight = flux.model.diffusion_model.single_blocks[0].linear1.weight
    patch = {"diffusion_model.single_blocks.0.linear1.weight": ("diff", (0.5 * torch.randn_like(weight),))}
    lora = model.clone()
    assert lora.add_patches(patch, 1.0)
    plain, changed = ksampler(model), ksampler(lora)
    a, b = captured(lora, {"samples": changed})[0], captured(model, {"samples": plain})[0]
    assert (a.attention[2] - b.attention[2]).abs().max() > 1e-3 and torch.equal(a.attention[0], b.attention[0])


def test_a_controlnet_changes_what_is_captured_not_whether(flux, ksampler, probe):
    class Control(comfy.controlnet.ControlBase):
        def get_control(self, x_noisy, *_):
            tokens = 50 * torch.randn((1, 24, 256), generator=torch.Generator().manual_seed(0))
            return {"input": [tokens, None], "output": [None] * 4}

        def get_models(self):
            return []

    positive, negative = random_conditioning(1), random_conditioning(2)
    positive[0][1]["control"] = negative[0][1]["control"] = Control()
    model = attach_probe(flux, probe, "step 1")
    with_control = ksampler(model, positive=positive, negative=negative)
    assert torch.equal(with_control, ksampler(flux, positive=positive, negative=negative))
    a, b = captured(model, {"samples": with_control})[0], captured(model, {"samples": ksampler(model)})[0]
    assert (a.attention[1] - b.attention[1]).abs().max() > 1e-3


def test_two_samplers_on_one_model_each_find_their_own(flux, ksampler, probe):
    model = attach_probe(flux, probe, "step 3")
    first, second = ksampler(model, seed=1), ksampler(model, seed=2)
    expected = [row.denoised for out in (first, second) for row in captured(model, {"samples": out})]
    mixed = torch.cat([second[1:], first[:1]])
    rows = captured(model, {"samples": mixed})
    assert torch.equal(rows[0].denoised, expected[3]) and torch.equal(rows[1].denoised, expected[0])


def test_a_latent_that_no_probed_model_sampled_is_told_how_to_wire_it(flux, ksampler, probe):
    model = attach_probe(flux, probe)
    latent = ksampler(model)
    with pytest.raises(ValueError, match=r"rows \[1\] .* not sampled with the probed MODEL"):
        captured(model, {"samples": torch.cat([latent[:1], latent[1:] + 1])})
    with pytest.raises(ValueError, match="no probe is attached"):
        captured(flux, {"samples": latent})


def custom_sampler(model, noise, rows=2, sampler="euler", steps=12):
    guider = BasicGuider.execute(model, random_conditioning(1)).result[0]
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", steps)
    latent = {"samples": torch.zeros(rows, 16, 8, 12)}
    sampler = comfy.samplers.sampler_object(sampler)
    return SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).result


def test_custom_guiders_are_recorded_and_both_outputs_find_their_rows(flux, probe):
    model = attach_probe(flux, probe, "step 3")
    with torch.inference_mode():
        output, denoised = custom_sampler(model, seeds.SeedBatchNoise([3, 8]))
    rows = captured(model, output)
    assert torch.equal(captured(model, denoised)[1].denoised, rows[1].denoised)
    assert score_latent(model, output).seeds == (SeedName(3), SeedName(8))


@torch.inference_mode()
def test_row_i_of_a_seed_batch_is_what_a_single_run_of_its_seed_gives(flux, ksampler, probe):
    wanted = [4, 2**63 + 5, 4_000]
    model = seeds.use_seeds(attach_probe(flux, probe), wanted)
    batch = ksampler(model, rows=3, cfg=1.0)
    custom, _ = custom_sampler(flux, seeds.SeedBatchNoise(wanted), rows=3)
    for row, seed in enumerate(wanted):
        single = ksampler(flux, rows=1, seed=seed, cfg=1.0)
        assert torch.allclose(batch[row : row + 1], single, rtol=1e-4, atol=1e-4)
        assert torch.allclose(custom["samples"][row : row + 1], single, rtol=1e-4, atol=1e-4)
        noise = comfy.sample.prepare_noise(torch.zeros(1, 16, 8, 12), seed)
        assert torch.equal(seeds.seed_noise(torch.zeros(1, 16, 8, 12), seed), noise)
    assert [str(name) for name in score_latent(model, {"samples": batch}).seeds] == [str(seed) for seed in wanted]


def test_seeds_are_named_whichever_of_the_two_patches_came_first(flux, ksampler, probe):
    model = attach_probe(seeds.use_seeds(flux, [11, 12]), probe)
    assert score_latent(model, {"samples": ksampler(model)}).seeds == (SeedName(11), SeedName(12))


def test_a_row_of_a_plain_batch_is_named_by_seed_and_batch_index(flux, ksampler, probe):
    model = attach_probe(flux, probe)
    scores = score_latent(model, {"samples": ksampler(model, seed=5, rows=3)})
    assert scores.seeds == (SeedName(5), SeedName(5, 1), SeedName(5, 2))
    assert str(scores.seeds[2]) == "5 row 2"


def test_seed_batch_of_another_size_than_the_latent_is_an_error_with_the_fix(flux, ksampler):
    with pytest.raises(ValueError, match="Seed Batch: there are 3 seeds but the latent has 2 rows.*batch_size"):
        ksampler(seeds.use_seeds(flux, [1, 2, 3]))


def test_drawing_a_rows_noise_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    seeds.batch_noise(torch.zeros(2, 4, 8, 8), [1, 2])
    assert torch.equal(torch.get_rng_state(), before)


@torch.inference_mode()
def test_a_run_that_continues_a_cut_keeps_its_noise_and_the_seed_names(flux, ksampler, probe):
    model = seeds.use_seeds(attach_probe(flux, probe, "20%, 60%"), [21, 22, 23])
    whole = ksampler(flux, noise=seeds.batch_noise(torch.zeros(3, 16, 8, 12), [21, 22, 23]), rows=3)
    cut = ksampler(model, rows=3, last_step=4)
    kept = keep_rows({"samples": cut}, [2, 0])
    rest = ksampler(
        model, latent=kept["samples"], noise=torch.zeros_like(kept["samples"]), start_step=4, disable_noise=True
    )  # fmt: skip
    assert torch.allclose(rest, whole[[2, 0]], rtol=1e-4, atol=1e-4)
    scores = score_latent(model, {"samples": rest}, "60%")
    assert scores.seeds == (SeedName(23), SeedName(21)) and scores.exact_continuation
    with pytest.raises(ValueError, match="20% lies before its start"):
        captured(model, {"samples": rest}, "20%")


def test_scores_count_the_model_rows_that_were_spent(flux, ksampler, probe):
    model = attach_probe(flux, probe)
    joined = score_latent(model, {"samples": ksampler(model, rows=3, steps=25, last_step=5, cfg=2.0)})
    assert joined.model_rows == 3 * 5 * 2
    assert score_latent(model, {"samples": ksampler(model, rows=3, steps=25, last_step=5, cfg=1.0)}).model_rows == 15


def test_a_history_sampler_is_known_not_to_survive_a_cut(flux, ksampler, probe):
    model = attach_probe(flux, probe)
    scores = score_latent(model, {"samples": ksampler(model, sampler="dpmpp_2m", last_step=4)})
    assert scores.exact_continuation is False and scores.sampler == "sample_dpmpp_2m"


def test_records_are_bounded_and_the_least_recently_used_go_first(flux, ksampler, probe):
    model = attach_probe(flux, probe)
    store = model.get_attachment(RECORDING).store
    store.limit_rows = 4
    first, second = ksampler(model, seed=1, steps=2), ksampler(model, seed=2, steps=2)
    captured(model, {"samples": first})
    third = ksampler(model, seed=3, steps=2)
    assert len(store) == 4
    assert captured(model, {"samples": first}) and captured(model, {"samples": third})
    with pytest.raises(ValueError, match="so long ago"):
        captured(model, {"samples": second})
    store.limit_bytes = 1
    newest = ksampler(model, seed=4, steps=2)
    assert len(store) == 2 and captured(model, {"samples": newest})
    assert store.size() == sum(record.size() for record in (store.find(key) for key in row_keys(newest)))


def test_half_precision_intermediates_find_the_same_records(flux, ksampler, probe):
    model = attach_probe(flux, probe)
    latent = ksampler(model)
    assert torch.equal(
        captured(model, {"samples": latent.half()})[0].denoised, captured(model, {"samples": latent})[0].denoised
    )


def test_kept_rows_carry_their_mask_and_batch_index():
    latent = {"samples": torch.arange(4.0).view(4, 1, 1, 1), "noise_mask": torch.arange(4.0).view(4, 1, 1, 1)}
    kept = keep_rows(latent, [3, 1])
    assert kept["samples"].flatten().tolist() == [3, 1] == kept["noise_mask"].flatten().tolist()
    assert kept["batch_index"] == [3, 1] and keep_rows(kept, [1])["batch_index"] == [1]
    with pytest.raises(ValueError, match="accepted are 0 to 3"):
        keep_rows(latent, [4])


def test_a_probe_that_decodes_its_rows_decodes_each_once(flux, ksampler, reward_of):
    decoded = []

    def decode(latents):
        decoded.append(len(latents))
        return latents[:, :3].movedim(1, -1).sigmoid()

    reward = reward_of(lambda images, prompts: images.mean((1, 2, 3)))
    model = attach_probe(flux, PreviewReward(decode, reward, "a prompt"))
    latent = {"samples": ksampler(model)}
    decoded.clear()  # two were decoded before the run, to see that the VAE fits
    scores, images, _ = score_with_previews(model, latent)
    assert sum(decoded) == 2 and scores.values == tuple(images.mean((1, 2, 3)).tolist())


def test_a_probe_without_pictures_shows_comfyuis_preview(flux, ksampler, probe):
    model = attach_probe(flux, probe)
    scores, images, _ = score_with_previews(model, {"samples": ksampler(model)})
    assert len(scores) == 2 and images.shape == (2, 8, 12, 3) and 0 <= images.min() <= images.max() <= 1


def test_probe_score_hashes_each_row_of_the_latent_once(flux, ksampler, probe, monkeypatch):
    model, hashed = attach_probe(flux, probe), []
    latent = {"samples": ksampler(model)}
    monkeypatch.setattr(capture_store, "row_keys", lambda samples: hashed.append(len(samples)) or row_keys(samples))
    ProbeScore.execute(latent, model)
    assert hashed == [2]
