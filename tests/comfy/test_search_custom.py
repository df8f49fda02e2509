"""Seed Search (Custom): each image is what stock SamplerCustomAdvanced makes of its seed, with each stock guider."""

from types import SimpleNamespace

import comfy.samplers
import comfy_extras.nodes_custom_sampler as custom
import comfy_extras.nodes_perpneg as perpneg
import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from diffusion_probe.dev.random_models import random_conditioning, random_flux
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT
from diffusion_probe.nodes.attach import AttachProbe
from diffusion_probe.nodes.search_custom import SeedSearchCustom
from diffusion_probe.nodes.search_run import Search
from diffusion_probe.probe_models.focus import AttentionFocus

SEEDS = (3, 40, 41)
FIRST, SECOND, THIRD = (random_conditioning(seed) for seed in (1, 2, 3))

THREE = (FIRST, SECOND, THIRD, 2.0, 1.5)
GUIDERS = {
    "BasicGuider": lambda model: custom.BasicGuider.execute(model, FIRST),
    "CFGGuider": lambda model: custom.CFGGuider.execute(model, FIRST, SECOND, 2.5),
    "DualCFGGuider": lambda model: custom.DualCFGGuider.execute(model, *THREE, "regular"),
    "DualCFGGuider, nested": lambda model: custom.DualCFGGuider.execute(model, *THREE, "nested"),
    "PerpNegGuider": lambda model: perpneg.PerpNegGuider.execute(model, *THREE),
}


@pytest.fixture(scope="module")
def model():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


@pytest.fixture
def latent():
    return {"samples": torch.zeros(1, 16, 8, 8)}


def schedule(model, steps=4, denoise=1.0):
    return custom.BasicScheduler.execute(model, "simple", steps, denoise)[0]


def sampler(name="euler"):
    return comfy.samplers.sampler_object(name)


@torch.inference_mode()
def search(guider, sigmas, latent, probe, sampler_name="euler", survivors=2, **options):
    options = {"unskilled_scores": "use anyway", "cut": 0.5, "policy": ONE_CUT, **options}
    return SeedSearchCustom.execute(
        guider, sampler(sampler_name), sigmas, latent, seed=0, candidates=3, survivors=survivors, budget=0.0,
        seeds=", ".join(map(str, SEEDS)), probe=probe, **options,
    )  # fmt: skip


@torch.inference_mode()
def stock(guider, seed, sigmas, latent, sampler_name="euler"):
    noise = custom.RandomNoise.execute(seed)[0]
    return custom.SamplerCustomAdvanced.execute(noise, guider, sampler(sampler_name), sigmas, latent)[0]


def check(guider, sigmas, latent, probe, sampler_name="euler"):
    """Two of three survive: alone in its calls each is stock's bit for bit, in joined calls up to rounding."""
    for max_rows in (1, 0):
        output = search(guider, sigmas, latent, probe, sampler_name, max_rows=max_rows)
        survivors = [int(name.split()[0]) for name in output[1].split(", ")]
        assert len(survivors) == 2 and set(survivors) < set(SEEDS)
        alone = torch.cat([stock(guider, seed, sigmas, latent, sampler_name)["samples"] for seed in survivors])
        assert alone.std() > 1e-3
        if max_rows == 1:
            assert torch.equal(output[0]["samples"], alone)
        else:
            torch.testing.assert_close(output[0]["samples"], alone, rtol=1e-4, atol=1e-4)
    return output


@pytest.mark.parametrize("name", GUIDERS)
def test_every_stock_guider_makes_the_image_of_the_stock_sampler(model, latent, probe, name):
    output = check(GUIDERS[name](model)[0], schedule(model), latent, probe)
    assert len(output[2].values) == 3 and len(output[4].values) == 2 and "seed" in output[3]


@pytest.mark.parametrize("name", ["dpmpp_2m", "euler_ancestral", "dpmpp_2m_sde"])
def test_samplers_with_memory_and_noise_of_their_own(model, latent, probe, name):
    check(GUIDERS["CFGGuider"](model)[0], schedule(model), latent, probe, name)


def test_a_split_schedule_leaves_the_noise_for_the_next_sampler(model, latent, probe):
    high, low = custom.SplitSigmas.execute(schedule(model, 6), 4)
    guider = GUIDERS["CFGGuider"](model)[0]
    assert high[-1] > 0
    check(guider, high, latent, probe)
    best = search(guider, high, latent, probe, survivors=1, max_rows=1)
    silence = custom.DisableNoise.execute()[0]
    with torch.inference_mode():
        last = custom.SamplerCustomAdvanced.execute(silence, guider, sampler(), low, best[0])[0]
        whole = stock(guider, int(best[1]), schedule(model, 6), latent)
    torch.testing.assert_close(last["samples"], whole["samples"], rtol=1e-4, atol=1e-4)


def test_an_image_with_a_mask_and_the_index_of_a_batch(model, probe):
    mask = torch.zeros(1, 64, 64)
    mask[:, 16:48, 20:50] = 1
    samples = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    latent = {"samples": samples, "noise_mask": mask, "batch_index": [2]}
    output = check(GUIDERS["BasicGuider"](model)[0], schedule(model, 5, 0.7), latent, probe)
    assert torch.equal(output[0]["noise_mask"], mask)


def test_named_candidates_are_finished_without_a_probe(model, latent):
    guider, sigmas = GUIDERS["CFGGuider"](model)[0], schedule(model)
    output = search(guider, sigmas, latent, None, finish="41, 3", max_rows=1)
    assert output[1] == "41, 3"
    alone = torch.cat([stock(guider, seed, sigmas, latent)["samples"] for seed in (41, 3)])
    assert torch.equal(output[0]["samples"], alone)


def test_without_a_probe_and_a_browser_the_first_are_finished(model, latent):
    guider, sigmas = GUIDERS["CFGGuider"](model)[0], schedule(model)
    output = search(guider, sigmas, latent, None, max_rows=1)
    assert output[1] == "3, 40"
    assert torch.equal(output[0]["samples"][:1], stock(guider, 3, sigmas, latent)["samples"])


def test_where_nothing_was_chosen_every_output_is_blocked(model, latent, monkeypatch):
    monkeypatch.setattr(Search, "run", lambda *_: (SimpleNamespace(latents=None), {"text": ["none chosen"]}))
    output = search(GUIDERS["CFGGuider"](model)[0], schedule(model), latent, None)
    assert len(output.result) == 5 and all(isinstance(value, ExecutionBlocker) for value in output.result)
    assert output.ui == {"text": ["none chosen"]}


def test_the_guider_is_left_as_it_was(model, latent, probe):
    guider = GUIDERS["CFGGuider"](model)[0]
    before = dict(vars(guider))
    search(guider, schedule(model), latent, probe)
    assert all(vars(guider)[name] is value for name, value in before.items())


def refuse(says, *arguments, **options):
    with pytest.raises(ValueError, match=rf"Seed Search \(Custom\): {says}"):
        search(*arguments, **options)


def test_wrong_inputs_are_refused_in_one_sentence(model, latent, probe):
    guider, sigmas = GUIDERS["CFGGuider"](model)[0], schedule(model)
    refuse("The sigmas hold 0 noise levels", guider, schedule(model, 4, 0.0), latent, probe)
    refuse("The sigmas hold 1 noise levels", guider, sigmas[:1], latent, probe)
    refuse("The latent has 2 rows", guider, sigmas, {"samples": torch.zeros(2, 16, 8, 8)}, probe)
    foreign = SimpleNamespace(sample=print, set_conds=print)
    refuse("The guider, a SimpleNamespace, has no MODEL", foreign, sigmas, latent, probe)
    refuse(".*the prompts that are there: 1", guider, sigmas, latent, None, finish="3 prompt 2")
    refuse("The score .* has no measured skill", guider, sigmas, latent, AttentionFocus(), unskilled_scores="refuse")
    attached = AttachProbe.execute(model, probe, "step 2")[0]
    refuse(".*probe is attached", GUIDERS["CFGGuider"](attached)[0], sigmas, latent, probe)


def test_a_guider_of_two_models_is_refused(model, latent, probe):
    other = random_flux(seed=1, hidden_size=128, depth=1, depth_single_blocks=1)
    guider = custom.Guider_DualModel(model, other)
    guider.set_conds(FIRST, SECOND)
    guider.set_cfg(2.0)
    refuse("The guider, a Guider_DualModel, samples with two MODELs", guider, schedule(model), latent, probe)
