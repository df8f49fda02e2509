"""A probe never ends a run: what goes wrong in it is caught and logged once, and said where the scores are read."""

import comfy.model_management
import comfy.samplers
import pytest
import torch
from comfy.ldm.modules import attention as comfy_attention
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.capture import attach, recording
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.hooks import activation, maps, model_call, wrapper
from diffusion_probe.engine.capture.read import captured, finished_rows, score_latent
from diffusion_probe.engine.core.probe import CaptureAll, Probe
from diffusion_probe.engine.runs.keys import RECORDING
from diffusion_probe.engine.runs.latents import row_keys
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.search import seed_search
from diffusion_probe.engine.selection.pruning import PruneRule
from diffusion_probe.nodes.attach import ProbeScore

from support.models import SMALL_UNET

STEPS = 4


@pytest.fixture(scope="module")
def models():
    flux = random_flux(hidden_size=128, depth=1, depth_single_blocks=2, scale=1.5)
    return {"FLUX": flux, "SDXL": random_sdxl(scale=1.5, **SMALL_UNET)}


@pytest.fixture
def sample(ksampler):
    return lambda model, **options: ksampler(model, **{"steps": STEPS, **options})


def note_of(model, latent):
    (note,) = {model.get_attachment(RECORDING).store.find(key).note for key in row_keys(latent)}
    return note


PLACES = {
    "the maps of a block": (maps, "position_weights"),
    "their grid": (maps, "to_grid"),
    "the activation": (activation, "on_grid"),
    "the start of a call": (wrapper, "CapturedCall"),
    "the hooks": (wrapper, "_hook_attention"),
    "the rows of a block": (model_call.CapturedCall, "why_unknown"),
    "the end of a call": (model_call.CapturedCall, "end"),
    "the start of a look": (recording, "AttentionMaps"),
    "the text": (recording.SharedTexts, "of"),
    "the latent": (recording, "_model_input"),
    "the plan of moments": (recording, "MomentPlan"),
    "the question which moment it is": (recording.MomentPlan, "wanted"),
    "the names of rows": (attach, "name_seeds"),
    "the features of a row": (recording.Recording, "row_features"),
}


@pytest.mark.parametrize("family", ["FLUX", "SDXL"])
@pytest.mark.parametrize("place", PLACES)
def test_an_error_anywhere_in_a_look_leaves_the_run_as_it_is(models, sample, monkeypatch, caplog, family, place):
    expected = sample(models[family])

    def fail(*args, **kwargs):
        raise RuntimeError("boom")

    monkeypatch.setattr(*PLACES[place], fail)
    recorder = attach_probe(models[family], CaptureAll(), "step 2")
    latent = sample(recorder)
    assert torch.equal(latent, expected)
    assert sum("Diffusion Probe: " in message for message in caplog.messages) == 1, "logged once"
    with pytest.raises(ValueError, match=r"an error in this pack \(RuntimeError: boom\), and the run went on"):
        finished_rows(recorder, {"samples": latent})
    monkeypatch.undo()
    again = sample(recorder, seed=6)
    assert len(finished_rows(recorder, {"samples": again})[0]) == 2, "the next run is a fresh one"


def test_memory_that_a_look_has_not_is_no_end_of_the_run(models, sample, monkeypatch, probe):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("boom")

    monkeypatch.setattr(maps, "attention_pytorch", full, raising=False)
    monkeypatch.setattr("diffusion_probe.engine.capture.hooks.attention.attention_pytorch", full)
    model = attach_probe(models["FLUX"], probe, "step 1, step 3")
    latent = sample(model)
    assert torch.equal(latent, sample(models["FLUX"]))
    with pytest.raises(ValueError, match="nothing was captured, because there was an error in this pack .OutOfMemory"):
        captured(model, {"samples": latent}, "step 3")


def test_an_error_of_the_model_itself_is_the_models_and_is_not_hidden(models, sample, probe, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("the model's own")

    monkeypatch.setattr(comfy_attention, "optimized_attention", broken)
    monkeypatch.setattr("comfy.ldm.flux.math.optimized_attention", broken)
    with pytest.raises(RuntimeError, match="the model's own"):
        sample(attach_probe(models["FLUX"], probe, "step 1"))


def test_a_later_evaluation_that_fails_takes_back_the_earlier_one(models, sample, monkeypatch, probe):
    """heun looks twice at one moment; the first look is not what was asked for."""
    calls = []
    original = recording.Recording._features

    def second_fails(self, *args):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("boom")
        return original(self, *args)

    monkeypatch.setattr(recording.Recording, "_features", second_fails)
    model = attach_probe(models["FLUX"], probe, "40%")
    latent = sample(model, sampler="heun", steps=8)
    assert len(calls) == 2, "the moment came twice"
    with pytest.raises(ValueError, match="nothing was captured: there was an error in this pack"):
        captured(model, {"samples": latent})


class Scoring(Probe):
    """Scores of any kind, in the middle of a run or after it."""

    name, label, needs, skilled, calibration = "scoring", "liking", frozenset({"denoised"}), True, ()

    def __init__(self, give):
        self.give = give

    def score(self, rows):
        return self.give(rows)


def raising(error, says=""):
    def give(*args, **kwargs):
        raise error(says)

    return give


SCORES = {
    "a ValueError": (raising(ValueError, "a row is not to my taste."), "a row is not to my taste."),
    "any error": (raising(KeyError, "nose"), "the rows could not be scored (KeyError: 'nose')"),
    "no memory": (raising(torch.OutOfMemoryError, "full"), "the rows could not be scored (OutOfMemoryError: full)"),
    "NaN": (lambda rows: torch.tensor([0.5, float("nan")]), "Row 1 of 2 has no score (nan)"),
    "too many": (lambda rows: torch.zeros(3), "gave scores of shape [3] for 2 rows"),
    "nothing": (lambda rows: None, "gave no numbers for 2 rows"),
}


@pytest.mark.parametrize("scores", SCORES)
def test_rows_that_cannot_be_scored_in_mid_run_all_go_on_and_why(models, sample, scores):
    give, says = SCORES[scores]
    model = attach_probe(models["FLUX"], Scoring(give), "step 2", PruneRule(top_k=1))
    latent = sample(model)
    assert torch.equal(latent, sample(models["FLUX"]))
    assert note_of(model, latent).startswith("Prune in Flight dropped nothing: ") and says in note_of(model, latent)


def test_an_interrupt_while_scoring_in_mid_run_is_one(models, sample):
    stop = comfy.model_management.InterruptProcessingException
    with pytest.raises(stop):
        sample(attach_probe(models["FLUX"], Scoring(raising(stop)), "step 2", PruneRule(top_k=1)))
    assert torch.equal(sample(models["FLUX"]), sample(attach_probe(models["FLUX"], CaptureAll(), "step 2")))


@pytest.mark.parametrize("rule", [None, PruneRule(top_k=1)])
def test_a_sampler_that_calls_the_model_without_its_options_runs(models, rule):
    """Samplers of other packs do, and ComfyUI lets them."""

    def sampler(model, x, sigmas, extra_args=None, callback=None, disable=None):
        for step in range(len(sigmas) - 1):
            denoised = model(x, sigmas[step].expand(len(x)), denoise_mask=None)
            x = denoised + (x - denoised) / sigmas[step] * sigmas[step + 1]
        return x

    def run(model):
        noise = comfy.sample.prepare_noise(torch.zeros(2, 16, 8, 8), 5)
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)
        sides = random_conditioning(1), random_conditioning(2)
        with torch.inference_mode():
            return comfy.sample.sample_custom(
                model, noise, 2.0, comfy.samplers.KSAMPLER(sampler), sigmas, *sides, torch.zeros(2, 16, 8, 8),
                disable_pbar=True,
            )  # fmt: skip

    probe = Scoring(lambda rows: torch.zeros(len(rows)))
    assert torch.equal(run(attach_probe(models["FLUX"], probe, "step 2", rule)), run(models["FLUX"]))


@pytest.mark.parametrize("family", ["FLUX", "SDXL"])
def test_a_search_goes_on_with_those_that_could_be_looked_at(models, sample, monkeypatch, probe, family):
    original, failed = maps.AttentionMaps.capture, []

    def fails_once(self, *args):
        if not failed:
            failed.append(self)
        if self is failed[0]:
            raise RuntimeError("boom")
        return original(self, *args)

    monkeypatch.setattr(maps.AttentionMaps, "capture", fails_once)
    channels = models[family].get_model_object("latent_format").latent_channels
    latent = {"samples": torch.zeros(1, channels, 8, 8)}
    prompts = random_conditioning(1), random_conditioning(2)
    found = [ksampler_candidate(seed, STEPS, 2.0, "euler", "simple", *prompts, latent) for seed in range(3)]
    with torch.inference_mode():
        result = seed_search(
            models[family], found, probe, lambda steps: policy_named(ONE_CUT, steps, 3, 1, share=0.5), 1
        )
    remarks = [each.remark for each in result.outcome.candidates]
    assert sum(remark is not None for remark in remarks) == 1
    assert "an error in this pack (RuntimeError: boom), and the run went on" in next(filter(None, remarks))
    expected = sample(models[family], latent=latent["samples"], seed=result.survivors[0])
    assert (result.latents - expected).norm() / expected.norm() < 1e-5


def test_probe_score_names_the_reason_of_the_node(models, sample, monkeypatch, probe):
    monkeypatch.setattr(maps, "position_weights", raising(RuntimeError, "boom"))
    model = attach_probe(models["FLUX"], probe, "step 1")
    latent = {"samples": sample(model)}
    with pytest.raises(ValueError, match="Probe Score: Nothing was captured, because there was an error in this pack"):
        ProbeScore.execute(latent, model)
    with pytest.raises(ValueError, match="there was an error in this pack"):
        score_latent(model, latent)
