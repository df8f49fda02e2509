"""Rows dropped in flight cost nothing more, and those that stay end as in the whole batch."""

import logging

import comfy.controlnet
import comfy.model_base
import comfy.model_management
import comfy.samplers
import latent_preview
import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from comfy_extras.nodes_custom_sampler import BasicGuider, SamplerCustomAdvanced
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured, score_latent
from diffusion_probe.engine.runs import seeds
from diffusion_probe.engine.runs.keys import RECORDING
from diffusion_probe.engine.selection.pruning import PRUNING_KEY, PruneRule
from diffusion_probe.nodes.attach import AttachProbe, ProbeScore
from diffusion_probe.nodes.prune import PruneInFlight
from diffusion_probe.nodes.seeds import EarlySeedFilter

import nodes as comfy_nodes
from support.compare import relative_error
from support.marks import each_sampler
from support.models import SMALL_UNET, Hinted
from support.probes import ByRow

KEPT, DROPPED = [1, 3], [0, 2]


class Drawing(ByRow):
    """A probe that draws random numbers, as a careless one would."""

    def score(self, rows):
        torch.randn(5)
        return super().score(rows)


@pytest.fixture(scope="module")
def small_flux():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


@pytest.fixture(scope="module")
def sdxl():
    return random_sdxl(**SMALL_UNET)


def pruned(model, moment="step 3", rule=None):
    return attach_probe(model, Drawing(), moment, rule or PruneRule(top_k=2))


@pytest.fixture
def both(ksampler, row_counts):
    """One sampler run of a model and of its pruned clone: results, and rows per model call of the pruned one."""

    def run(model, moment="step 3", rule=None, channels=16, steps=7, **options):
        options.setdefault("latent", torch.zeros(4, channels, 8, 12))
        expected, patched = ksampler(model, steps=steps, **options), pruned(model, moment, rule)
        row_counts.clear()
        return expected, ksampler(patched, steps=steps, **options), patched, list(row_counts)

    return run


@pytest.mark.parametrize("family", ["flux", "sdxl"])
@pytest.mark.parametrize("sampler", each_sampler(without=("dpm_adaptive",)))
def test_rows_that_stay_equal_those_of_the_whole_batch(small_flux, sdxl, both, family, sampler):
    model, channels = (small_flux, 16) if family == "flux" else (sdxl, 4)
    options = {"scheduler": "normal", "latent": torch.zeros(4, channels, 8, 8), "steps": 4}
    expected, result, patched, counts = both(model, sampler=sampler, **options)
    assert relative_error(result[KEPT], expected[KEPT]) < 1e-5
    held = [captured(patched, {"samples": result})[row].denoised for row in DROPPED]
    assert torch.equal(result[DROPPED], torch.stack(held))
    assert set(counts) == {8, 4}


def test_a_probe_that_draws_random_numbers_does_not_take_them_from_the_sampler(small_flux, ksampler):
    states = []
    for model in (small_flux, pruned(small_flux)):
        ksampler(model, steps=7, latent=torch.zeros(4, 16, 8, 12))
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_dpm_adaptive_steps_by_the_whole_batch_and_the_score_says_so(sdxl, both):
    """Its step size follows an error norm over all rows: 5e-3 here, 4e-2 on the small FLUX, within the sampler's own
    tolerance of 5e-2."""
    expected, result, patched, _ = both(sdxl, channels=4, sampler="dpm_adaptive", scheduler="normal")
    assert relative_error(result[KEPT], expected[KEPT]) < 5e-2
    assert "dpm_adaptive chooses its steps by all rows together" in score_latent(patched, {"samples": result}).note


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize(("cfg", "conds"), [(2.0, 2), (1.0, 1)])
def test_the_model_sees_no_row_more_than_needed(small_flux, both, monkeypatch, cfg, conds, split):
    if split:  # as where memory is short: one call per conditioning
        monkeypatch.setattr(type(small_flux.model), "memory_required", lambda *args, **kwargs: 1e18)
    expected, result, patched, counts = both(small_flux, "step 5", steps=12, cfg=cfg)
    assert sum(counts) == 4 * 5 * conds + 2 * 7 * conds
    assert max(counts) == (4 if split else 4 * conds)
    assert score_latent(patched, {"samples": result}).model_rows == sum(counts)
    assert relative_error(result[KEPT], expected[KEPT]) < 1e-5


def entries(seed, rows, **fields):
    """A CONDITIONING entry with an embedding of its own per row."""
    parts = [random_conditioning(seed + row)[0] for row in range(rows)]
    pooled = torch.cat([part[1]["pooled_output"] for part in parts])
    return [[torch.cat([part[0] for part in parts]), {"pooled_output": pooled, **fields}]]


@pytest.mark.parametrize("rows", [2, 4, 6])
def test_each_row_keeps_its_own_conditioning(small_flux, both, rows):
    expected, result, _, counts = both(small_flux, positive=entries(10, rows), negative=entries(20, 4))
    assert relative_error(expected[2:3], expected[:1]) > 1e-2
    assert relative_error(result[KEPT], expected[KEPT]) < 1e-5 and counts[-1] == 4


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_masks_and_areas_of_several_entries_stay_with_their_rows(sdxl, both, rows):
    mask = torch.rand((rows, 8, 12), generator=torch.Generator().manual_seed(0))
    positive = [
        *entries(10, 4, mask=mask, mask_strength=0.8),
        *entries(30, 2, area=(4, 8, 2, 4), strength=0.7),
        *entries(50, 1, default=True),
    ]
    expected, result, _, counts = both(sdxl, channels=4, positive=positive, negative=entries(20, 1))
    assert relative_error(result[KEPT], expected[KEPT]) < 1e-5 and counts[-1] < counts[0]


def test_the_pictures_of_an_inpainting_model_stay_with_their_rows(both):
    generator = torch.Generator().manual_seed(0)
    picture = {"concat_latent_image": torch.randn((4, 4, 8, 12), generator=generator)}
    picture["concat_mask"] = torch.rand((4, 1, 64, 96), generator=generator).round()
    sides = {"positive": entries(10, 1, **picture), "negative": entries(20, 1, **picture)}
    expected, result, _, counts = both(random_sdxl(in_channels=9, **SMALL_UNET), channels=4, **sides)
    assert relative_error(result[KEPT], expected[KEPT]) < 1e-5 and counts[-1] == 4


def test_noise_masks_stay_with_their_rows_and_dropped_rows_keep_the_held_image(small_flux, ksampler):
    source = torch.randn((4, 16, 8, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(4, 1, 8, 12)
    for row in range(4):
        mask[row, :, row : row + 4] = 1
    options = {"latent": source, "steps": 7, "noise_mask": mask}
    expected, model = ksampler(small_flux, **options), pruned(small_flux)
    result = ksampler(model, **options)
    assert relative_error(result[KEPT], expected[KEPT]) < 1e-5
    held = torch.stack([captured(model, {"samples": result})[row].denoised for row in DROPPED])
    changed = mask[DROPPED].expand_as(held) > 0
    assert torch.equal(result[DROPPED][changed], held[changed])
    assert torch.allclose(result[DROPPED][~changed], source[DROPPED][~changed], atol=1e-5)


@pytest.mark.parametrize("hints", [1, 2, 4])
def test_a_controlnet_hints_each_row_as_before(small_flux, both, hints):
    def chained():
        picture = torch.rand((hints, 3, 64, 96), generator=torch.Generator().manual_seed(3))
        picture = picture * torch.arange(1.0, hints + 1)[:, None, None, None]
        first = comfy.controlnet.ControlNet(Hinted()).set_cond_hint(picture.flip(0), strength=0.3)
        return comfy.controlnet.ControlNet(Hinted()).set_cond_hint(picture).set_previous_controlnet(first)

    control = chained()
    sides = {"positive": entries(10, 1, control=control), "negative": entries(20, 1, control=control)}
    expected, result, _, counts = both(small_flux, **sides)
    assert relative_error(result[KEPT], expected[KEPT]) < 1e-5 and counts[-1] == 4
    assert control.cond_hint is None, "cleaned up as after every run"


class UnknownControl(comfy.controlnet.ControlBase):
    """One of another pack: it may remember the batch."""

    def get_control(self, x_noisy, t, cond, batched_number, transformer_options):
        rows = len(x_noisy) // batched_number
        row = torch.arange(rows, dtype=torch.float32).repeat(batched_number)[:, None, None]
        return {"input": [row * torch.ones(1, 24, 128)], "output": []}

    def get_models(self):
        return []


def test_what_cannot_be_cut_is_computed_for_all_rows_and_said_once(small_flux, both, caplog):
    caplog.set_level(logging.INFO)
    control = UnknownControl()
    sides = {"positive": entries(10, 1, control=control), "negative": entries(20, 1, control=control)}
    expected, result, patched, counts = both(small_flux, **sides)
    assert torch.equal(result[KEPT], expected[KEPT]) and set(counts) == {8}
    scores = score_latent(patched, {"samples": result})
    assert scores.dropped_at == ("step 3", None, "step 3", None)
    assert "Nothing is saved: the rows of a UnknownControl are not known" in scores.note
    assert caplog.text.count("Nothing is saved") == 1


@pytest.mark.parametrize("node", [EasyCacheNode, LazyCacheNode])
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_cache_that_keeps_whole_batches_is_left_alone(small_flux, ksampler, monkeypatch, node, order):
    computed = []
    original = type(small_flux.model.diffusion_model)._forward

    def forward(self, x, *args, **kwargs):
        computed.append(len(x))
        return original(self, x, *args, **kwargs)

    def cached(model):
        return node.execute(model, 0.5, 0.1, 0.95, False)[0]

    monkeypatch.setattr(type(small_flux.model.diffusion_model), "_forward", forward)
    options = {"steps": 12, "latent": torch.zeros(4, 16, 8, 12), "cfg": 1.0}
    expected, whole = ksampler(cached(small_flux), **options), list(computed)
    computed.clear()
    model = pruned(cached(small_flux)) if order == "before" else cached(pruned(small_flux))
    result = ksampler(model, **options)
    assert torch.equal(result[KEPT], expected[KEPT])
    assert computed == whole and len(whole) < 12, "it skips as often as without us"
    assert "EasyCache or LazyCache keeps whole batches" in score_latent(model, {"samples": result}).note


def test_guidance_that_calls_the_model_once_more_is_cut_too(sdxl, both):
    guided = PerturbedAttentionGuidance.execute(sdxl, 3.0)[0]
    expected, result, _, counts = both(guided, channels=4, rule=PruneRule(top_k=2))
    assert relative_error(result[KEPT], expected[KEPT]) < 1e-5
    assert sum(counts) == 4 * 3 * 3 + 2 * 4 * 3


def test_previews_and_progress_keep_all_rows(small_flux, ksampler):
    seen = []
    model, latent = pruned(small_flux), torch.zeros(4, 16, 8, 12)
    ksampler(model, steps=7, latent=latent, callback=lambda step, x0, x, total: seen.append((step, total, x0, x)))
    assert [(step, total) for step, total, *_ in seen] == [(step, 7) for step in range(7)]
    assert all(x0.shape == x.shape == latent.shape for *_, x0, x in seen)
    assert torch.equal(seen[-1][2][DROPPED], seen[2][2][DROPPED])
    assert not torch.equal(seen[-1][2][KEPT], seen[2][2][KEPT])


@torch.inference_mode()
def test_the_denoised_output_holds_the_dropped_rows_too(small_flux, monkeypatch):
    monkeypatch.setattr(latent_preview, "get_previewer", lambda *args: None)
    model = pruned(small_flux)
    guider = BasicGuider.execute(model, random_conditioning(1)).result[0]
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 7)
    output, denoised = SamplerCustomAdvanced.execute(
        seeds.SeedBatchNoise([3, 4, 5, 6]), guider, comfy.samplers.sampler_object("dpm_fast"), sigmas,
        {"samples": torch.zeros(4, 16, 8, 12)},
    ).result  # fmt: skip
    assert torch.equal(output["samples"][DROPPED], denoised["samples"][DROPPED])
    assert score_latent(model, denoised).dropped_at == score_latent(model, output).dropped_at


def test_with_nothing_left_the_model_is_not_called_again(small_flux, both):
    rule = PruneRule(threshold_on="raw score", threshold=5.0)
    _, result, patched, counts = both(small_flux, rule=rule)
    assert counts == [8] * 3
    scores = score_latent(patched, {"samples": result})
    assert scores.dropped_at == ("step 3",) * 4 and "Dropped all 4" in scores.note


@pytest.mark.parametrize("top_k", [0, 4, 9])
def test_nothing_is_pruned_where_the_limits_leave_all(small_flux, both, top_k):
    expected, result, patched, counts = both(small_flux, rule=PruneRule(top_k=top_k))
    scores = score_latent(patched, {"samples": result})
    assert torch.equal(result, expected) and set(counts) == {8}
    assert scores.dropped_at == () and "Kept all 4" in scores.note


def test_an_unskilled_score_prunes_nothing_unless_told_to(small_flux, both, monkeypatch):
    monkeypatch.setattr(Drawing, "skilled", False)
    expected, result, patched, _ = both(small_flux)
    assert torch.equal(result, expected)
    assert "no measured skill" in score_latent(patched, {"samples": result}).note
    _, _, _, counts = both(small_flux, rule=PruneRule(top_k=2, use_unskilled=True))
    assert counts[-1] == 4


def test_a_run_without_the_moment_prunes_nothing(small_flux, both):
    expected, result, patched, counts = both(small_flux, "step 9")
    assert torch.equal(result, expected) and set(counts) == {8}
    with pytest.raises(ValueError, match="the run had 7 model evaluations, so no step 9"):
        score_latent(patched, {"samples": result})


def test_a_run_that_ends_at_the_moment_prunes_nothing_and_says_so(small_flux, both):
    expected, result, patched, _ = both(small_flux, last_step=3)
    scores = score_latent(patched, {"samples": result})
    assert torch.equal(result, expected) and scores.dropped_at == ()
    assert scores.note == "Prune in Flight dropped nothing: the run ended at the moment."


def test_a_probe_that_unloads_the_model_does_not_disturb_the_run(small_flux, ksampler, monkeypatch):
    """As a VAE decode may when memory is short; a LoRA is in the weights only while the model is loaded."""
    weight = small_flux.model.diffusion_model.single_blocks[0].linear1.weight
    lora = small_flux.clone()
    lora.add_patches({"diffusion_model.single_blocks.0.linear1.weight": ("diff", (torch.randn_like(weight),))}, 1.0)

    class Hungry(Drawing):
        def score(self, rows):
            comfy.model_management.unload_all_models()
            return super().score(rows)

    options = {"steps": 7, "latent": torch.zeros(4, 16, 8, 12)}
    expected = ksampler(lora, **options)
    result = ksampler(attach_probe(lora, Hungry(), "step 3", PruneRule(top_k=2)), **options)
    assert relative_error(result[KEPT], expected[KEPT]) < 1e-5


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm_2", "dpm_fast"])
def test_a_moment_by_noise_level_prunes_after_the_evaluation_that_was_scored(small_flux, both, sampler):
    expected, result, patched, counts = both(small_flux, "20%", sampler=sampler, steps=12)
    features = captured(patched, {"samples": result})[0]
    assert counts.index(4) == features.step and relative_error(result[KEPT], expected[KEPT]) < 1e-5


@pytest.mark.parametrize("error", [comfy.model_management.InterruptProcessingException(), RuntimeError("broken")])
def test_an_interrupt_or_an_error_leaves_nothing_and_the_next_run_is_a_fresh_one(small_flux, ksampler, error):
    model, latent = pruned(small_flux), torch.zeros(4, 16, 8, 12)

    def stop(step, x0, x, total_steps):
        if step == 5:
            raise error

    with pytest.raises(type(error)):
        ksampler(model, steps=7, latent=latent, callback=stop)
    options = model.model_options["transformer_options"]
    assert RECORDING not in options and PRUNING_KEY not in options and len(model.get_attachment(RECORDING).store) == 0
    assert small_flux.model.current_patcher is None
    assert torch.equal(ksampler(model, steps=7, latent=latent), ksampler(pruned(small_flux), steps=7, latent=latent))


def node(model, probe, moment="step 3", top_k=2, threshold_on="off", threshold=0.0, unskilled="keep all"):
    return PruneInFlight.execute(model, probe, moment, top_k, threshold_on, threshold, unskilled)[0]


@torch.inference_mode()
def run_ksampler(model):
    sides = random_conditioning(1), random_conditioning(2)
    latent = {"samples": torch.zeros(4, 16, 8, 12)}
    return comfy_nodes.KSampler().sample(model, 5, 7, 2.0, "euler", "simple", *sides, latent)[0]


def test_the_filter_takes_the_dropped_rows_out_and_both_nodes_say_so(small_flux):
    model = node(small_flux, Drawing())
    latent = run_ksampler(model)
    output = ProbeScore.execute(latent, model)
    assert "Prune in Flight at step 3: Kept 2 of 4 (best 2)." in output.ui["text"][0]
    assert "(row 0, dropped at step 3)" in output.ui["text"][0]
    filtered = EarlySeedFilter.execute(latent, output[0], 0, "off", 0.0, "keep all")
    assert torch.equal(filtered[0]["samples"], latent["samples"][KEPT])
    assert "2 had been dropped in flight (at step 3)" in filtered.ui["text"][0]
    assert EarlySeedFilter.execute(latent, output[0], 1, "off", 0.0, "keep all")[0]["batch_index"] == [1]


def test_the_filter_skips_on_when_everything_was_dropped(small_flux):
    model = node(small_flux, Drawing(), threshold_on="raw score", threshold=5.0)
    latent = run_ksampler(model)
    filtered = EarlySeedFilter.execute(latent, ProbeScore.execute(latent, model)[0], 0, "off", 0.0, "keep all")
    assert isinstance(filtered[0], ExecutionBlocker) and "4 had been dropped in flight" in filtered.ui["text"][0]


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda flux: node(flux, Drawing(), "20%, 40%"), "Prune in Flight: .*are several moments.*Write one"),
        (lambda flux: node(flux, Drawing(), "soon"), "Prune in Flight: .*is no moment"),
        (lambda flux: node(flux, Drawing(), top_k=-1), 'Prune in Flight: "top_k" is -1. It takes numbers from 0'),
        (
            lambda flux: node(AttachProbe.execute(flux, Drawing(), "20%")[0], Drawing()),
            "Prune in Flight: A probe .*already attached.*Connect this one",
        ),
    ],
)
def test_an_error_names_the_node_the_cause_and_the_fix_and_the_next_run_is_fine(small_flux, build, says):
    expected = run_ksampler(small_flux)["samples"]
    with pytest.raises(ValueError, match=says):
        build(small_flux)
    assert torch.equal(run_ksampler(small_flux)["samples"], expected)
