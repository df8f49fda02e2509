"""Preview Images and Scores From Values on a small FLUX: rows scored by numbers from elsewhere."""

import pytest
import torch
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.nodes.attach import AttachProbe
from diffusion_probe.nodes.gate import PromptGate
from diffusion_probe.nodes.other_packs import PreviewImages, ScoresFromValues
from diffusion_probe.nodes.seeds import EarlySeedFilter, SeedBatch


class Vae:
    latent_channels = 16

    @staticmethod
    def decode(latents):
        return latents[:, :3].movedim(1, -1)


@pytest.fixture
def sampled(flux, probe, ksampler):
    """A probed MODEL with the seeds 7, 40 and 41, and the LATENT of a run of it."""
    model = SeedBatch.execute(0, 1, "7, 40, 41", model=flux)[1]
    model = AttachProbe.execute(model, probe, "step 2, step 3")[0]
    return model, {"samples": ksampler(model, rows=3, steps=4)}


def scores_of(model, latent, *values, label="likeness", **moment):
    return ScoresFromValues.execute([latent], [model], list(values), [label], **moment)[0]


@pytest.mark.parametrize("moment", ["", "step 2"])
def test_preview_images_are_the_decoded_x0_of_each_row_at_the_moment(sampled, moment):
    model, latent = sampled
    rows = captured(model, latent, moment or "step 3")
    expected = Vae.decode(torch.stack([row.denoised for row in rows])).clamp(0, 1)
    assert torch.equal(PreviewImages.execute(latent, model, Vae(), moment)[0], expected) and expected.std() > 0.01


def test_rows_taken_out_of_the_batch_keep_their_previews_and_order(sampled):
    model, latent = sampled
    whole = PreviewImages.execute(latent, model, Vae())[0]
    some = {"samples": latent["samples"][[2, 0]]}
    assert torch.equal(PreviewImages.execute(some, model, Vae())[0], whole[[2, 0]])


def test_a_vae_of_other_channels_is_refused_by_both_numbers(sampled):
    other = Vae()
    other.latent_channels = 4
    with pytest.raises(ValueError, match='Preview Images: "vae" decodes latents of 4 channels, .* this MODEL have 16'):
        PreviewImages.execute(sampled[1], sampled[0], other)


@pytest.mark.parametrize("values", [(0.1, 0.9, 0.5), ("0.1, 0.9\n0.5",), ([0.1, 0.9, 0.5],), ("0.1", 0.9, 0.5)])
def test_values_of_any_form_become_the_scores_of_the_rows(sampled, values):
    scores = scores_of(*sampled, *values)
    assert scores.values == (0.1, 0.9, 0.5) and [str(seed) for seed in scores.seeds] == ["7", "40", "41"]
    assert (scores.label, scores.probe, scores.moment, scores.skilled) == ("likeness", "values", "step 3", True)


def test_filter_and_gate_decide_by_the_values(sampled):
    latent, scores = sampled[1], scores_of(*sampled, 0.1, 0.9, 0.5)
    kept, seeds, *_ = EarlySeedFilter.execute(latent, scores, 1, "off", 0.0, "keep all").result
    assert seeds == "40" and torch.equal(kept["samples"], latent["samples"][1:2])
    gate = {"rows": "best row", "threshold_on": "raw score", "threshold": 0.95, "unskilled_scores": "pass"}
    assert PromptGate.check_lazy_status(passing=None, otherwise=None, scores=scores, **gate) == ["otherwise"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((0.5, 0.5), '"values" holds 2 numbers, and the LATENT has 3 rows. Give one number per row'),
        ((), '"values" holds 0 numbers'),
        (("0.5, high, 0.1",), '"high" is not a number'),
        ((0.5, float("nan"), 0.1), "Number 2 is nan"),
    ],
)
def test_values_that_do_not_fit_the_rows_are_refused(sampled, values, says):
    with pytest.raises(ValueError, match=f"Scores From Values: {says}"):
        scores_of(*sampled, *values)


def test_several_latents_and_values_of_another_type_are_refused(sampled):
    model, latent = sampled
    with pytest.raises(ValueError, match='"latent" takes one value, and a list of 2 came in'):
        ScoresFromValues.execute([latent, latent], [model], [1.0], ["x"])
    with pytest.raises(ValueError, match='Scores From Values: "label" takes text, and what came in is the number'):
        ScoresFromValues.execute([latent], [model], [1.0, 2.0, 3.0], [5])
    with pytest.raises(ValueError, match="Scores From Values: The model is missing"):
        ScoresFromValues.execute([latent], [None], [1.0, 2.0, 3.0], ["x"])


def test_an_optional_input_without_a_value_has_its_default(sampled):
    assert scores_of(*sampled, 1, 2, 3, moment=[None]).moment == "step 3"
    assert scores_of(*sampled, 1, 2, 3, moment=["step 2"]).moment == "step 2"


def test_a_latent_that_no_probe_has_seen_is_refused_with_the_wiring(sampled):
    strange = {"samples": torch.zeros(3, 16, 8, 12)}
    with pytest.raises(ValueError, match="Scores From Values: Rows .* were not sampled with the probed MODEL"):
        scores_of(sampled[0], strange, 1, 2, 3)
    with pytest.raises(ValueError, match="Preview Images: Rows .* were not sampled"):
        PreviewImages.execute(strange, sampled[0], Vae())
