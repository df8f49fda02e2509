"""A variation is what SamplerCustomAdvanced gives with a NOISE that mixes the noises of its seeds."""

import json
import math

import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_custom_sampler import (
    CFGGuider,
    DualCFGGuider,
    RandomNoise,
    SamplerCustomAdvanced,
)
from diffusion_probe.dev.random_models import random_conditioning, random_flux
from diffusion_probe.engine.core.scores import SeedName
from diffusion_probe.engine.core.seed_list import listed_names, names_around, seed_names
from diffusion_probe.engine.seed_search.candidates import guider_candidate, ksampler_candidate, name_in
from diffusion_probe.engine.seed_search.outcome import outcome_report, outcome_text
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.search import SearchOptions, seed_search
from diffusion_probe.engine.selection.naming import row_labels
from diffusion_probe.nodes.search import SeedSearch
from diffusion_probe.nodes.seeds import SeedBatch

import nodes as comfy_nodes
from support.compare import relative_error

STEPS = 4
AROUND, SEEDS, STRENGTH = 507, (512, 513, 3), 0.3


class MixedNoise:
    """NOISE of another pack: that of two nodes Random Noise, the second with weight sin(strength · 90°)."""

    def __init__(self, seed, *others):
        self.seed, self.others = seed, others

    def generate_noise(self, input_latent):
        def drawn(seed):
            return RandomNoise.execute(seed).result[0].generate_noise(input_latent)

        noise = drawn(self.seed)
        for seed, strength in self.others:
            angle = math.radians(90 * strength)
            noise = math.cos(angle) * noise + math.sin(angle) * drawn(seed)
        return noise


@pytest.fixture(scope="module")
def model():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


def custom(model, sampler="euler", scheduler="simple", steps=STEPS, denoise=1.0):
    """SAMPLER and SIGMAS as KSampler makes them."""
    cpu = torch.device("cpu")
    stock = comfy.samplers.KSampler(model, steps, cpu, sampler, scheduler, denoise)
    return comfy.samplers.sampler_object(sampler), stock.sigmas


@torch.inference_mode()
def stock(model, noise, latent, sampler="euler", positive=None, negative=None, **schedule):
    guider = CFGGuider.execute(model, positive or random_conditioning(1), negative or random_conditioning(2), 2.0)
    return SamplerCustomAdvanced.execute(noise, guider.result[0], *custom(model, sampler, **schedule), latent).result[
        0
    ]["samples"]


def candidate(name, latent, sampler="euler", denoise=1.0):
    given = (STEPS, 2.0, sampler, "simple", random_conditioning(1), random_conditioning(2), latent, denoise)
    return ksampler_candidate(name, *given)


@torch.inference_mode()
def searched(model, found, probe, survivors=2, **options):
    def one_cut(steps):
        return policy_named(ONE_CUT, steps, len(found), survivors, share=0.5)

    return seed_search(model, found, probe, one_cut, survivors, SearchOptions(**options))


def around():
    return names_around(str(AROUND), STRENGTH, listed_names(0, 1, ", ".join(map(str, SEEDS))))


def check(model, latent, probe, sampler="euler", denoise=1.0):
    """Two of three variations survive, and are those of a stock sampler with mixed noise."""
    result = searched(model, [candidate(name, latent, sampler, denoise) for name in around()], probe)
    assert len(result.survivors) == 2
    for samples, row in zip(result.latents, result.survivors, strict=True):
        expected = stock(model, MixedNoise(AROUND, (SEEDS[row], STRENGTH)), latent, sampler, denoise=denoise)
        assert relative_error(samples[None], expected) < 1e-5
    plain = stock(model, RandomNoise.execute(AROUND).result[0], latent, sampler, denoise=denoise)
    assert relative_error(result.latents[:1], plain) > 1e-4, "the noise makes a difference"
    return result


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_sde", "heun", "ddim"])
def test_samplers_also_those_that_add_noise(model, probe, sampler):
    check(model, {"samples": torch.zeros(1, 16, 8, 12)}, probe, sampler)


def image():
    return torch.randn(1, 16, 8, 12, generator=torch.manual_seed(0))


def half_masked():
    mask = torch.zeros(1, 64, 96)
    mask[:, 16:48, 20:70] = 1
    return {"samples": image(), "noise_mask": mask}


def test_a_masked_image(model, probe):
    check(model, half_masked(), probe, "ddim", denoise=0.6)


def test_a_row_of_a_batch_by_its_batch_index(model, probe):
    latent = {"samples": torch.zeros(1, 16, 8, 12), "batch_index": [3]}
    result = check(model, latent, probe)
    best = result.outcome.kept_scores().seeds[0]
    assert str(best) == f"507 row 3 variation {SEEDS[result.survivors[0]]} at 0.3"
    assert name_in(latent, best) == best, "its name gives the same candidate again"


def test_a_latent_with_one_channel_for_a_model_of_16(model, probe):
    """ComfyUI reshapes an empty latent before it draws noise."""
    check(model, {"samples": torch.zeros(1, 4, 8, 12)}, probe)


@pytest.mark.parametrize("name", ["SD1.5", "Qwen-Image"])
def test_families_with_other_latents(small_model, probe, name):
    small = small_model(name)
    given = (STEPS, 2.0, "euler", "simple", small.prompt(1), small.prompt(2), {"samples": small.latent})
    result = searched(small.model, [ksampler_candidate(each, *given) for each in around()], probe)
    for samples, row in zip(result.latents, result.survivors, strict=True):
        noise = MixedNoise(AROUND, (SEEDS[row], STRENGTH))
        prompts = {"positive": small.prompt(1), "negative": small.prompt(2)}
        assert relative_error(samples[None], stock(small.model, noise, {"samples": small.latent}, **prompts)) < 1e-5


def test_a_video(small_model):
    """Probes refuse models of videos, so only the candidate's own run is compared."""
    wan, latent = small_model("Wan 2.1"), {"samples": torch.zeros(1, 16, 3, 8, 12)}
    prompts = {"positive": wan.prompt(1), "negative": wan.prompt(2)}
    (name,) = seed_names("507 variation 512 at 0.3")
    with torch.inference_mode():
        ours = ksampler_candidate(name, STEPS, 2.0, "euler", "simple", *prompts.values(), latent).sample(
            wan.model, lambda *_: None
        )
    assert torch.equal(ours, stock(wan.model, MixedNoise(507, (512, 0.3)), latent, **prompts))


def test_any_guider(model, probe):
    positive, middle, negative = (random_conditioning(number) for number in (1, 3, 2))
    guider = DualCFGGuider.execute(model, positive, middle, negative, 2.0, 1.5, "regular").result[0]
    latent = {"samples": torch.zeros(1, 16, 8, 12)}
    settings = custom(model, "euler_ancestral")
    found = [guider_candidate(name, guider, *settings, latent) for name in around()]
    result = searched(model, found, probe)
    for samples, row in zip(result.latents, result.survivors, strict=True):
        with torch.inference_mode():
            noise = MixedNoise(AROUND, (SEEDS[row], STRENGTH))
            expected = SamplerCustomAdvanced.execute(noise, guider, *settings, latent).result[0]["samples"]
        assert relative_error(samples[None], expected) < 1e-5


def test_with_calls_of_single_rows_it_is_the_same_bit_for_bit(model, probe):
    latent = {"samples": torch.zeros(1, 16, 8, 12)}
    text = "507 variation 512 at 0.3, 507 variation 512 at 0.3 variation 3 at 0.1, 507"
    found = [candidate(name, latent) for name in seed_names(text)]
    result = searched(model, found, probe, survivors=3, max_rows=1)
    one, nested, plain = (result.latents[result.survivors.index(row)][None] for row in range(3))
    assert torch.equal(one, stock(model, MixedNoise(507, (512, 0.3)), latent))
    assert torch.equal(plain, stock(model, RandomNoise.execute(507).result[0], latent))
    assert relative_error(nested, stock(model, MixedNoise(507, (512, 0.3), (3, 0.1)), latent)) < 1e-5


def test_at_strength_1_candidates_are_the_other_seeds(model, probe):
    names = names_around("507", 1.0, [SeedName(512)])
    (found,) = [candidate(name, {"samples": torch.zeros(1, 16, 8, 12)}, "euler_ancestral") for name in names]
    result = searched(model, [found], probe, survivors=1)
    settings = (STEPS, 2.0, "euler_ancestral", "simple", random_conditioning(1), random_conditioning(2))
    with torch.inference_mode():
        expected = comfy_nodes.KSampler().sample(model, 512, *settings, {"samples": torch.zeros(1, 16, 8, 12)})
    assert relative_error(result.latents, expected[0]["samples"]) < 1e-5


def test_the_global_random_numbers_go_on_as_in_a_run_of_the_seed_that_varies(model):
    """A sampler that draws from the global generator adds the same noise to all variations of a seed."""
    after = []
    for name in seed_names("507, 507 variation 512 at 0.3"):
        run = candidate(name, {"samples": torch.zeros(1, 16, 8, 12)}, "euler")
        with torch.inference_mode():
            run.sample(model, lambda step, *_, after=after: after.append(torch.rand(3)) if step == 0 else None)
    assert torch.equal(*after)


def test_a_row_of_a_batch_is_a_candidate_only_for_that_row_of_a_latent():
    latent = {"samples": torch.zeros(1, 16, 8, 12)}
    third = {**latent, "batch_index": [3]}
    assert name_in(third, SeedName(5, 3)) == name_in(third, 5) == SeedName(5, 3)
    assert name_in(latent, 5) == name_in({**latent, "batch_index": [0]}, SeedName(5)) == SeedName(5)
    for wrong, where in ((SeedName(5, 3), latent), (SeedName(5, 2), third), (SeedName(5, 0, ((6, 0.5),)), latent)):
        with pytest.raises(ValueError, match=f'"{wrong}" is a row of a batch .* can\'t be drawn alone'):
            candidate(wrong, where)


def test_reports_and_files_name_variations_and_their_names_give_them_again(model, probe):
    latent = {"samples": torch.zeros(1, 16, 8, 12)}
    result = searched(model, [candidate(name, latent) for name in around()], probe)
    best = str(result.outcome.kept_scores().seeds[0])
    assert f"1. seed {best}: finished" in outcome_text(result.outcome)
    report = json.loads(json.dumps(outcome_report(result.outcome)))
    assert report["rows"][0]["seed"] == best and report["next_seed"] == "514"
    again = searched(model, [candidate(name, latent) for name in seed_names(best)], probe, survivors=1)
    assert relative_error(again.latents, result.latents[:1]) < 1e-5
    (label, _) = row_labels(2, result.outcome.kept_scores())
    assert label.file_name.startswith(f"seed_{best.replace(' ', '_')}_score_") and label.metadata["seed"] == best


@torch.inference_mode()
def node(model, probe, **changes):
    inputs = {
        "model": model, "probe": probe, "positive": random_conditioning(1), "negative": random_conditioning(2),
        "latent_image": {"samples": torch.zeros(1, 16, 8, 12)}, "seed": 512, "candidates": 3, "survivors": 2,
        "budget": 0.0, "policy": ONE_CUT, "steps": STEPS, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple",
        "denoise": 1.0, "unskilled_scores": "use anyway",
    }  # fmt: skip
    return SeedSearch.execute(**{**inputs, **changes})


def test_the_node_varies_a_seed(model, probe):
    output = node(model, probe, around=" 507 ", strength=0.3)
    latent, seeds, scores, text, *_ = output.result
    assert sorted(map(str, scores.seeds)) == [f"507 variation {seed} at 0.3" for seed in (512, 513, 514)]
    best = seed_names(seeds)[0]
    expected = stock(model, MixedNoise(507, *best.variations), {"samples": torch.zeros(1, 16, 8, 12)})
    assert relative_error(latent["samples"][:1], expected) < 1e-5
    board, report = output.ui["diffusion_probe_board"][0], output.ui["diffusion_probe"][0]
    assert {row["seed"] for row in board["rows"]} == set(map(str, scores.seeds)) and str(best) in text
    assert board["next_seed"] == report["next_seed"] == "515"


def test_the_node_takes_names_of_variations_as_seeds(model, probe):
    text = "507 variation 512 at 0.3, 507"
    output = node(model, probe, seeds=text)
    assert sorted(output.result[1].split(", ")) == ["507", "507 variation 512 at 0.3"]


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (
            {"around": "507", "strength": 0.0},
            'Seed Search: "around" is set and the strength is 0.0, so every candidate',
        ),
        ({"around": "507", "strength": math.nan}, '"strength" is nan'),
        ({"around": "no seed"}, 'Seed Search: "around" is "no seed". Give one seed'),
        ({"around": "507", "seeds": "7 variation 8 at 0.1"}, "can't be varied towards"),
        ({"seeds": "7 row 3"}, "is a row of a batch"),
        ({"around": "7 row 3"}, "is a row of a batch"),
    ],
)
def test_the_node_refuses_before_anything_is_sampled(model, probe, row_counts, inputs, says):
    with pytest.raises(ValueError) as refused:
        node(model, probe, **inputs)
    assert says in str(refused.value) and not row_counts


def test_a_seed_batch_takes_no_variations():
    with pytest.raises(ValueError, match="Seed Batch: .* is a variation of a seed, which only Seed Search samples"):
        SeedBatch.execute(0, 1, "507 variation 512 at 0.3")
