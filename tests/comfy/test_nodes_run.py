"""The nodes called as ComfyUI calls them, on a small random FLUX."""

import json
from types import SimpleNamespace

import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from diffusion_probe.dev.random_models import random_conditioning
from diffusion_probe.engine.core.scores import Scores, SeedName
from diffusion_probe.nodes.attach import AttachProbe, ProbeScore
from diffusion_probe.nodes.probes import AttentionFocusProbe, PreviewRewardProbe
from diffusion_probe.nodes.seeds import EarlySeedFilter, SeedBatch
from diffusion_probe.testbed.scorer import GroundTruth

import nodes as comfy_nodes

SEEDS = "7, 40, 41"
NAN = float("nan")
THREE_ROWS = {"samples": torch.zeros(3, 16, 8, 12)}


@torch.inference_mode()
def sample(model, latent=None, first=0, last=5, steps=12, sampler="euler", seed=1, rows=3):
    """A stock KSampler Advanced; the first half of a cut adds noise, the second doesn't."""
    latent = {"samples": torch.zeros(rows, 16, 8, 12)} if latent is None else latent
    (result,) = comfy_nodes.KSamplerAdvanced().sample(
        model, "enable" if first == 0 else "disable", seed, steps, 2.0, sampler, "simple",
        random_conditioning(1), random_conditioning(2), latent, first, last, "enable" if last < steps else "disable",
    )  # fmt: skip
    return result


def scored(flux, probe, moments="20%", **options):
    patched = SeedBatch.execute(0, 1, SEEDS, model=flux)[1]
    patched = AttachProbe.execute(patched, probe, moments)[0]
    latent = sample(patched, **options)
    return patched, latent, ProbeScore.execute(latent, patched)


def chosen(latent, scores, top_k=0, threshold_on="off", threshold=0.0, unskilled="keep all"):
    return EarlySeedFilter.execute(latent, scores, top_k, threshold_on, threshold, unskilled)


def test_probe_score_gives_scores_best_row_previews_and_json(flux, probe):
    _, _, output = scored(flux, probe)
    scores, best = output.result
    assert [str(seed) for seed in scores.seeds] == ["7", "40", "41"]
    assert best == max(range(3), key=lambda row: scores.values[row])
    shown = json.loads(json.dumps(output.ui))
    (report,) = shown["diffusion_probe"]
    assert [row["seed"] for row in report["rows"]] == ["7", "40", "41"]
    assert sorted(row["rank"] for row in report["rows"]) == [1, 2, 3]
    assert report["model_rows"] > 0 and report["moment"] == "20%"
    assert len(shown["images"]) == 3
    assert shown["text"][0].splitlines()[1].startswith("1. ")


def test_the_attention_focus_node_scores_without_vae_or_reward(flux):
    _, _, output = scored(flux, AttentionFocusProbe.execute()[0])
    assert len(output[0]) == 3 and len(output.ui["images"]) == 3


def test_preview_reward_shows_what_it_judged(flux, reward_of):
    class Vae:
        @staticmethod
        def decode(latents):
            return latents[:, :3].movedim(1, -1).sigmoid()

    def brightness(images, prompts):
        assert prompts == ["a lamp"] * len(images)
        return images.mean((1, 2, 3))

    probe = PreviewRewardProbe.execute(Vae(), reward_of(brightness), "a lamp")[0]
    _, _, output = scored(flux, probe)
    assert len(output.ui["images"]) == 3


def test_the_moment_may_be_written_loosely_but_must_be_one(flux, probe):
    patched, latent, _ = scored(flux, probe, moments="20%, step 3")
    assert ProbeScore.execute(latent, patched, " Step  3 ")[0].moment == "step 3"
    assert ProbeScore.execute(latent, patched, "20 %")[0].moment == "20%"
    with pytest.raises(ValueError, match="Probe Score: .*is not one moment.*latest"):
        ProbeScore.execute(latent, patched, "20%, step 3")


def test_the_filter_keeps_the_best_rows_and_their_places(flux, probe):
    _, latent, output = scored(flux, probe)
    kept, seeds, kept_scores, rejected, *_ = chosen(latent, output[0], top_k=2).result
    worst = min(range(3), key=lambda row: output[0].values[row])
    rows = [row for row in range(3) if row != worst]
    assert kept["batch_index"] == rows and torch.equal(kept["samples"], latent["samples"][rows])
    assert rejected["batch_index"] == [worst] and rejected["samples"].shape[0] == 1
    assert seeds == ", ".join(str(output[0].seeds[row]) for row in rows)
    assert kept_scores.values == tuple(output[0].values[row] for row in rows)


def test_kept_rows_end_in_the_image_that_their_seed_alone_gives(flux, probe):
    """The promise of the filter, for an exact sampler."""
    _, latent, output = scored(flux, probe)
    kept, seeds, *_ = chosen(latent, output[0], top_k=1).result
    finished = sample(flux, kept, first=5, last=12)["samples"]
    alone = sample(flux, rows=1, last=12, seed=int(seeds))["samples"]
    assert torch.allclose(finished, alone, atol=1e-4)


def test_nothing_passes_blocks_silently_and_says_why(flux, probe):
    _, latent, output = scored(flux, probe)
    result = chosen(latent, output[0], threshold_on="raw score", threshold=1e5)
    assert all(isinstance(value, ExecutionBlocker) and value.message is None for value in result.result[:3])
    assert result[3]["samples"].shape[0] == 3
    assert "Dropped all 3" in result.ui["text"][0]


def test_nothing_rejected_blocks_the_rejected_output_only(flux, probe):
    _, latent, output = scored(flux, probe)
    result = chosen(latent, output[0])
    assert isinstance(result[3], ExecutionBlocker) and result[3].message is None
    assert result[0]["samples"].shape[0] == 3


def test_an_unskilled_probe_drops_nothing_unless_told_to(flux, probe):
    probe.skilled = False
    _, latent, output = scored(flux, probe)
    assert chosen(latent, output[0], top_k=1)[0]["samples"].shape[0] == 3
    assert chosen(latent, output[0], top_k=1, unskilled="use anyway")[0]["samples"].shape[0] == 1


@pytest.mark.parametrize(("sampler", "warns"), [("euler", False), ("dpmpp_2m", True), ("euler_ancestral", True)])
def test_the_filter_says_when_a_cut_run_does_not_continue_exactly(flux, probe, sampler, warns):
    _, latent, output = scored(flux, probe, sampler=sampler)
    text = chosen(latent, output[0], top_k=1).ui["text"][0]
    assert (f"{sampler} does not continue exactly" in text) == warns


def test_seed_batch_without_a_model_blocks_that_output_with_a_message():
    noise, model, seeds, count = SeedBatch.execute(5, 3).result
    assert isinstance(model, ExecutionBlocker) and "Connect the model" in model.message
    assert (seeds, count) == ("5, 6, 7", 3)
    assert noise.generate_noise({"samples": torch.zeros(3, 4, 2, 2)}).shape == (3, 4, 2, 2)


THREE = Scores((0.1, 0.2, 0.3), tuple(map(SeedName, (1, 2, 3))), "a probe", "quality", "20%", 5, skilled=True)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda flux, probe: SeedBatch.execute(0, 1, "7, 7"), r"Seed Batch: Seed 7 .* more than once\. Give"),
        (lambda flux, probe: SeedBatch.execute(0, 1, "seven"), r"Seed Batch: .seven. .*Write seeds as digits"),
        (lambda flux, probe: AttachProbe.execute(flux, probe, "soon"), r'Attach Probe: "soon" is no moment. Accepted'),
        (
            lambda flux, probe: AttachProbe.execute(AttachProbe.execute(flux, probe, "20%")[0], probe, "20%"),
            r"Attach Probe: .*already attached.*Connect this one",
        ),
        (
            lambda flux, probe: ProbeScore.execute({"samples": torch.zeros(1, 16, 8, 12)}, flux),
            r"Probe Score: No probe is attached.*Attach one between",
        ),
        (
            lambda flux, probe: ProbeScore.execute(
                {"samples": torch.zeros(1, 16, 8, 12)}, AttachProbe.execute(flux, probe, "20%")[0]
            ),
            r"Probe Score: Rows \[0\] .*were not sampled.*Connect the LATENT",
        ),
        (
            lambda flux, probe: chosen({"samples": torch.zeros(2, 16, 8, 12)}, THREE, top_k=1),
            r"Early Seed Filter: There are 3 scores but the latent has 2 rows. Connect",
        ),
        (
            lambda flux, probe: chosen({"samples": torch.zeros(3, 16, 8, 12)}, THREE, 0, "percentile in batch", 200.0),
            r"Early Seed Filter: .*between 0 and 100",
        ),
        (
            lambda flux, probe: PreviewRewardProbe.execute(SimpleNamespace(decode=None), GroundTruth(), "a cat"),
            r'Preview Reward: The prompt "a cat" names no testbed object. Write',
        ),
        (
            lambda flux, probe: PreviewRewardProbe.execute(None, GroundTruth(), "a lamp"),
            r'Preview Reward: "vae" is not connected, and the graph has none, or several',
        ),
        (
            lambda flux, probe: AttachProbe.execute("flux", probe, "20%"),
            r"Attach Probe: .model. takes a MODEL, and what came in is the text .flux.\. Connect a MODEL",
        ),
        (lambda flux, probe: AttachProbe.execute(flux, flux, "20%"), r'"probe" takes a probe, .* is a MODEL\. Connect'),
        (lambda flux, probe: AttachProbe.execute(flux, probe, "\ud800"), r'"moments" holds half a character'),
        (lambda flux, probe: SeedBatch.execute(0, 10**9), r'Seed Batch: "count" is 1000000000\. It takes .* 1 to 4096'),
        (lambda flux, probe: chosen({"samples": None}, THREE), r'"latent" takes a LATENT of images, .* something else'),
        (lambda flux, probe: chosen(THREE_ROWS, THREE, threshold=NAN), r'"threshold" is nan\. It takes numbers from'),
        (
            lambda flux, probe: chosen(THREE_ROWS, THREE, unskilled="maybe"),
            r".unskilled_scores. has no choice .maybe.\. It takes .keep all., .use anyway.",
        ),
    ],
)
def test_an_error_names_the_node_the_cause_and_the_fix(flux, probe, call, says):
    with pytest.raises(ValueError, match=says):
        call(flux, probe)


def test_a_run_that_ends_before_the_moment_says_so_at_the_score(flux, probe):
    patched = AttachProbe.execute(flux, probe, "90%")[0]
    with pytest.raises(
        ValueError, match="Probe Score: Nothing was captured: .*lies after its end.*end at a later step"
    ):
        ProbeScore.execute(sample(patched), patched)
