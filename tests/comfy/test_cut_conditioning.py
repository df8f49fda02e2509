"""A prompt, a mask or a picture for each row: kept rows of a cut graph end as in the stock batch that is never cut."""

import comfy.controlnet
import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import score_latent
from diffusion_probe.engine.runs.conditioning import cut_conditioning, what_differs
from diffusion_probe.nodes.seeds import EarlySeedFilter

import nodes as comfy_nodes
from support.compare import relative_error
from support.models import SMALL_UNET, Hinted
from support.probes import ByRow

KEPT, REJECTED = [1, 3], [0, 2]
STEPS, CUT = 6, 3


@pytest.fixture(scope="module")
def flux():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


@torch.inference_mode()
def sample(model, positive, negative, latent, first=0, last=STEPS):
    return comfy_nodes.KSamplerAdvanced().sample(
        model, "disable" if first else "enable", 5, STEPS, 2.0, "euler", "simple", positive, negative, latent,
        first, last, "enable" if last < STEPS else "disable",
    )[0]  # fmt: skip


def cut(model, positive, negative, latent, connected=True):
    """Both halves with the filter between them: its output, and the finished kept and rejected rows."""
    probed = attach_probe(model, ByRow(), f"step {CUT}")
    half = sample(probed, positive, negative, latent, last=CUT)
    sides = {"positive": positive, "negative": negative} if connected else {}
    output = EarlySeedFilter.execute(half, score_latent(probed, half), 2, "off", 0.0, "keep all", **sides)
    kept, _, _, rejected, *parts = output.result
    if not connected:
        parts = [positive, negative] * 2
    return output, *(sample(model, *parts[i : i + 2], rows, first=CUT) for i, rows in ((0, kept), (2, rejected)))


def empty(rows=4, channels=16):
    return {"samples": torch.zeros(rows, channels, 8, 12)}


def entry(seed, rows, **fields):
    """A CONDITIONING entry with an embedding of its own per row."""
    parts = [random_conditioning(seed + row)[0] for row in range(rows)]
    pooled = torch.cat([part[1]["pooled_output"] for part in parts])
    return [[torch.cat([part[0] for part in parts]), {"pooled_output": pooled, **fields}]]


def values(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def controls(hints, kind=comfy.controlnet.ControlNet):
    picture = values(3, hints, 3, 64, 96).abs() * torch.arange(1.0, hints + 1)[:, None, None, None]
    first = kind(Hinted()).set_cond_hint(picture.flip(0), strength=0.3)
    return kind(Hinted()).set_cond_hint(picture).set_previous_controlnet(first)


def check(model, positive, negative, latent):
    expected = sample(model, positive, negative, latent)["samples"]
    output, kept, rejected = cut(model, positive, negative, latent)
    assert relative_error(kept["samples"], expected[KEPT]) < 1e-5
    assert relative_error(rejected["samples"], expected[REJECTED]) < 1e-5
    _, wrong, _ = cut(model, positive, negative, latent, connected=False)
    assert relative_error(wrong["samples"], expected[KEPT]) > 1e-4, "other rows' parts change the image"
    return output


@pytest.mark.parametrize("rows", [2, 4, 6])
def test_each_kept_row_goes_on_with_its_own_prompt(flux, rows):
    check(flux, entry(10, rows), entry(20, 4), empty())


def test_a_negative_prompt_per_row_alone(flux):
    check(flux, random_conditioning(1), entry(20, 4), empty())


@pytest.mark.parametrize("rows", [2, 4])
def test_masks_and_areas_of_several_entries(rows):
    mask = values(0, rows, 64, 96).sigmoid().round()
    positive = [
        *entry(10, 4, mask=mask, mask_strength=0.8, set_area_to_bounds=False),
        *entry(30, 2, area=(4, 8, 2, 4), strength=0.7),
        *entry(50, 1, default=True),
    ]
    check(random_sdxl(**SMALL_UNET), positive, entry(20, 1), empty(channels=4))


@pytest.mark.parametrize("hints", [2, 4])
def test_a_controlnet_picture_for_each_row(flux, hints):
    control = controls(hints)
    check(flux, entry(10, 1, control=control), entry(20, 1, control=control), empty())
    assert control.cond_hint_original.shape[0] == hints, "the connected ControlNet is left as it is"


@pytest.mark.parametrize("pictures", [3, 4])
def test_the_pictures_of_an_inpainting_model(pictures):
    """ComfyUI spreads three pictures over four rows in another way than three prompts."""
    picture = {"concat_latent_image": values(1, pictures, 4, 8, 12)}
    picture["concat_mask"] = values(2, pictures, 1, 64, 96).sigmoid().round()
    sides = entry(10, 1, **picture), entry(20, 1, **picture)
    check(random_sdxl(in_channels=9, **SMALL_UNET), *sides, empty(channels=4))


def test_reference_pictures_of_an_edit_model(flux):
    references = {"reference_latents": [values(1, 4, 16, 8, 8), values(2, 1, 16, 4, 4)]}
    check(flux, entry(10, 1, **references), entry(20, 1, **references), empty())


def test_a_noise_mask_and_the_batch_index_follow_as_well():
    latent = {"samples": values(1, 4, 16, 8, 12), "noise_mask": values(2, 4, 1, 64, 96), "batch_index": [4, 5, 6, 7]}
    scores = score_of(4)
    kept, _, _, rejected, *_ = EarlySeedFilter.execute(latent, scores, 2, "off", 0.0, "keep all").result
    for rows, index in ((kept, KEPT), (rejected, REJECTED)):
        assert torch.equal(rows["noise_mask"], latent["noise_mask"][index])
        assert rows["batch_index"] == [4 + row for row in index]


def score_of(rows):
    from diffusion_probe.engine.core.scores import Scores, SeedName

    return Scores((0.1, 0.9, 0.2, 0.8)[:rows], tuple(map(SeedName, range(rows))), "p", "q", "20%", 5, True)


def test_what_is_shared_by_all_rows_is_handed_on_as_it_is(flux):
    control = controls(1)
    shared = random_conditioning(1)
    shared[0][1] |= {"control": control, "guidance": 3.5, "words": [("cat", [1])], "strength": 0.5}
    ((embedding, fields),) = cut_conditioning(shared, KEPT, 4, {})
    assert embedding is shared[0][0] and fields == shared[0][1] and fields["control"] is control
    assert fields is not shared[0][1]


def test_a_controlnet_of_another_pack_with_a_picture_per_row_is_refused(flux):
    class Unknown(comfy.controlnet.ControlNet):
        pass

    with pytest.raises(ValueError, match="Early Seed Filter: The rows of a Unknown are not known.*Prune or search"):
        sides = {"positive": entry(1, 1, control=controls(4, Unknown))}
        EarlySeedFilter.execute(empty(), score_of(4), 2, "off", 0.0, "keep all", **sides)
    one = entry(1, 1, control=controls(1, Unknown))
    assert EarlySeedFilter.execute(empty(), score_of(4), 2, "off", 0.0, "keep all", positive=one)[4]


def test_an_output_for_a_side_that_is_not_connected_says_what_to_connect():
    output = EarlySeedFilter.execute(empty(), score_of(4), 2, "off", 0.0, "keep all", positive=entry(1, 4))
    _, _, _, _, positive, negative, _, rejected_negative = output.result
    assert positive[0][0].shape[0] == 2
    for blocked in (negative, rejected_negative):
        assert isinstance(blocked, ExecutionBlocker) and "Connect the conditioning" in blocked.message


def test_nothing_kept_blocks_the_kept_conditioning_silently():
    output = EarlySeedFilter.execute(empty(), score_of(4), 0, "raw score", 5.0, "keep all", positive=entry(1, 4))
    assert isinstance(output[4], ExecutionBlocker) and output[4].message is None
    assert output[6][0][0].shape[0] == 4


def test_what_differs_from_row_to_row_is_named():
    control = controls(2)
    entries = [
        {"cross_attn": values(1, 4, 5, 8), "pooled_output": values(2, 4, 8), "guidance": 3.5},
        {"cross_attn": values(1, 1, 5, 8).expand(4, -1, -1), "mask": values(3, 4, 8, 8), "control": control},
        {"reference_latents": [values(4, 1, 4, 8, 8)], "other": [{"pack": values(5, 2, 3)}]},
    ]
    assert what_differs(entries) == ["prompt", "mask", "ControlNet picture", "other"]
    assert what_differs(entries[2:]) == ["other"] and what_differs([{"cross_attn": values(1, 1, 5, 8)}]) == []
