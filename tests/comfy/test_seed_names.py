"""A row is called by what it takes to draw its noise again, and naming never ends a run."""

import time

import comfy.sample
import pytest
import torch
from comfy_extras.nodes_custom_sampler import BasicGuider, RandomNoise, SamplerCustomAdvanced
from diffusion_probe.dev.random_models import random_conditioning, random_flux
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import score_latent
from diffusion_probe.engine.core.scores import SeedName
from diffusion_probe.engine.core.seed_list import LARGEST_SEED, MOST_SEEDS
from diffusion_probe.engine.runs.keys import RECORDING
from diffusion_probe.engine.runs.latents import keep_rows, row_keys
from diffusion_probe.engine.runs.seed_names import name_seeds
from diffusion_probe.engine.runs.seeds import BatchSeed, batch_noise, use_seeds
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.outcome import outcome_text
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.search import seed_search
from diffusion_probe.engine.selection.naming import row_labels
from diffusion_probe.engine.selection.pruning import PruneRule

import nodes as comfy_nodes

STEPS = 3


@pytest.fixture(scope="module")
def model():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


@torch.inference_mode()
def sampled(model, latent, seed=5):
    sides = random_conditioning(1), random_conditioning(2)
    return comfy_nodes.KSampler().sample(model, seed, STEPS, 1.0, "euler", "simple", *sides, latent)[0]


def empty(rows):
    return {"samples": torch.zeros(rows, 16, 8, 8)}


def names(model, latent):
    return score_latent(model, latent).seeds


def test_a_row_out_of_a_batch_is_called_by_its_place_there_and_had_again(model, probe):
    """KSampler draws the noise of Latent From Batch's row 3 as the batch's row 3; it was called row 0."""
    attached = attach_probe(model, probe, "step 1")
    (one,) = comfy_nodes.LatentFromBatch().frombatch(empty(5), 3, 1)
    latent = sampled(attached, one)
    (name,) = names(attached, latent)
    assert name == SeedName(5, 3) and str(name) == "5 row 3"
    again = sampled(model, empty(name.batch_index + 1), seed=name.seed)["samples"][name.batch_index]
    assert torch.allclose(latent["samples"][0], again, rtol=1e-4, atol=1e-4)
    assert row_labels(1, seeds=str(name))[0].seed == name


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ([0], ["5"]),
        ([2, 0, 2], ["5 row 2", "5", "5 row 2"]),
        ([63], ["5 row 63"]),
        ([1500], ["5 row 1500"]),
        ([7, 40], ["5 row 7", "5 row 40"]),
    ],
)
def test_rows_with_places_of_any_order_keep_them(model, probe, place, expected):
    attached = attach_probe(model, probe, "step 1")
    latent = sampled(attached, {**empty(len(place)), "batch_index": place})
    assert [str(name) for name in names(attached, latent)] == expected


def test_rows_that_were_kept_and_noised_anew_by_a_second_sampler_keep_their_places(model, probe):
    attached = attach_probe(model, probe, "step 1")
    kept = keep_rows(empty(4), [1, 3])
    assert names(attached, sampled(attached, kept, seed=9)) == (SeedName(9, 1), SeedName(9, 3))


@torch.inference_mode()
def test_random_noise_of_a_custom_sampler_is_named_alike(model, probe):
    attached = attach_probe(model, probe, "step 1")
    guider = BasicGuider.execute(attached, random_conditioning(1)).result[0]
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)
    (noise,) = RandomNoise.execute(5).result
    sampler, latent = comfy.samplers.sampler_object("euler"), {**empty(1), "batch_index": [2]}
    output = SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).result[0]
    assert names(attached, output) == (SeedName(5, 2),)


@torch.inference_mode()
def test_a_search_of_a_latent_out_of_a_batch_names_its_seeds_so(model, probe):
    (one,) = comfy_nodes.LatentFromBatch().frombatch(empty(5), 3, 1)
    settings = (STEPS, 1.0, "euler", "simple", random_conditioning(1), random_conditioning(2))
    found = [ksampler_candidate(seed, *settings, one) for seed in (5, 6)]
    result = seed_search(model, found, probe, lambda steps: policy_named(ONE_CUT, steps, 2, 1, share=0.4), 1)
    (name,) = result.outcome.kept_scores().seeds
    assert name.batch_index == 3 and f"seed {name}" in outcome_text(result.outcome)
    whole = sampled(model, empty(5), seed=name.seed)["samples"]
    assert torch.allclose(result.latents[0], whole[3], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rule", [None, PruneRule(top_k=1)])
@pytest.mark.parametrize("back", [0, 1])
def test_seeds_at_the_end_of_64_bits_end_no_run(model, probe, back, rule):
    """The seed after the last one was asked for, when everything was sampled."""
    seed = LARGEST_SEED - back
    attached = attach_probe(model, probe, "step 1", rule)
    latent = sampled(attached, empty(3), seed=seed)
    if rule is None:
        assert torch.equal(latent["samples"], sampled(model, empty(3), seed=seed)["samples"])
    assert names(attached, latent) == (SeedName(seed), SeedName(seed, 1), SeedName(seed, 2))


def test_a_seed_batch_up_to_the_last_seed_is_named(model, probe):
    wanted = [LARGEST_SEED - 1, LARGEST_SEED, 0]
    attached = attach_probe(use_seeds(model, wanted), probe, "step 1")
    assert [name.seed for name in names(attached, sampled(attached, empty(3)))] == wanted


@pytest.mark.parametrize("seed", [None, -3, 2**70, "seven"])
def test_a_seed_that_is_none_of_comfyuis_ends_no_run(seed):
    """Samplers of other packs may hand on whatever they like."""
    noise = torch.rand((2, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    assert [name.batch_index for name in name_seeds(noise, seed)] == [0, 1]


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_noise_of_any_size_is_named_as_comfyui_drew_it(size):
    """Where a row isn't a multiple of 16 numbers, ComfyUI draws the rows of a batch and single ones differently."""
    latent = torch.zeros(4, 4, *size)
    first = SeedName(5) if size == (8, 8) else SeedName(5, 0)
    assert name_seeds(comfy.sample.prepare_noise(latent, 5), 5) == [first, *(SeedName(5, n) for n in (1, 2, 3))]
    assert name_seeds(comfy.sample.prepare_noise(latent[:1], 5, [3]), 5) == [SeedName(5, 3)]
    assert name_seeds(batch_noise(latent, [8, 5, 6, 7]), 5) == [SeedName(seed) for seed in (8, 5, 6, 7)]


def test_noise_that_another_node_made_is_called_by_its_place_after_a_bounded_search():
    noise = torch.randn((3, 16, 128, 128), generator=torch.Generator().manual_seed(1))
    started = time.process_time()
    assert name_seeds(noise, 5) == [SeedName(5, row) for row in range(3)]
    assert time.process_time() - started < 5


def test_naming_draws_in_proportion_to_the_rows(monkeypatch):
    """It drew every seed of a batch for every row that wasn't where it was expected."""
    drawn = []
    original = comfy.sample.prepare_noise_inner

    def counting(latent, *given, **named):
        drawn.append(latent.shape[0])
        return original(latent, *given, **named)

    seeds = list(range(100, 300))
    noise = batch_noise(torch.zeros(200, 4, 4, 4), seeds).flip(0)
    monkeypatch.setattr(comfy.sample, "prepare_noise_inner", counting)
    assert name_seeds(noise, BatchSeed(seeds)) == [SeedName(seed) for seed in reversed(seeds)]
    assert sum(drawn) <= 200
    drawn.clear()
    mixed = torch.cat([noise[:100], torch.randn(100, 4, 4, 4)])
    assert name_seeds(mixed, BatchSeed(seeds))[:100] == [SeedName(seed) for seed in reversed(range(200, 300))]
    assert sum(drawn) <= 3 * 200 + MOST_SEEDS


def test_a_run_that_goes_on_without_noise_inherits_the_places(model, probe):
    attached = attach_probe(model, probe, "step 1")
    sides = random_conditioning(1), random_conditioning(2)
    with torch.inference_mode():
        start = {**empty(1), "batch_index": [4]}
        cut = comfy_nodes.KSamplerAdvanced().sample(
            attached, "enable", 5, 4, 1.0, "euler", "simple", *sides, start, 0, 2, "enable"
        )[0]  # fmt: skip
        rest = comfy_nodes.KSamplerAdvanced().sample(
            attached, "disable", 77, 4, 1.0, "euler", "simple", *sides, cut, 2, 4, "disable"
        )[0]  # fmt: skip
    records = [attached.get_attachment(RECORDING).store.find(key) for key in row_keys(rest["samples"])]
    assert [record.seed for record in records] == [SeedName(5, 4)]
