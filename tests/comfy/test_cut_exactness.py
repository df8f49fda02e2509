"""A run cut in two nodes: what a second sampler needs is handed on, and what it can't have is said before."""

import comfy.hooks
import comfy.samplers
import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker
from comfy_extras.nodes_apg import APG
from comfy_extras.nodes_custom_sampler import CFGGuider, DisableNoise, SamplerCustomAdvanced
from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion
from comfy_extras.nodes_easycache import EasyCacheNode
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_mahiro import Mahiro
from comfy_extras.nodes_model_advanced import RescaleCFG
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_perpneg import PerpNeg
from comfy_extras.nodes_sag import SelfAttentionGuidance
from comfy_extras.nodes_video_model import VideoTriangleCFGGuidance
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import score_latent
from diffusion_probe.engine.runs import run_watch
from diffusion_probe.engine.runs.keys import RECORDING
from diffusion_probe.engine.runs.latents import row_keys
from diffusion_probe.engine.selection.pruning import PruneRule
from diffusion_probe.nodes.cache import TCPadeCache
from diffusion_probe.nodes.save import row_labels
from diffusion_probe.nodes.seeds import EarlySeedFilter, SeedBatch

import nodes as comfy_nodes
from support.compare import relative_error
from support.models import SMALL_UNET
from support.probes import ByRow

KEPT, ROWS, STEPS, CUT = [1, 3], 4, 6, 3
SEEDS = [3, 4, 5, 6]
SIDES = random_conditioning(1), random_conditioning(2)
NEEDS_MODEL = "connect the MODEL that recorded the first run to the second sampler"


@pytest.fixture(scope="module")
def models():
    return {
        "flux": (random_flux(hidden_size=128, depth=1, depth_single_blocks=1), 16),
        "sdxl": (random_sdxl(**SMALL_UNET), 4),
        "inpainting": (random_sdxl(in_channels=9, **SMALL_UNET), 4),
    }


@torch.inference_mode()
def advanced(model, latent, first=0, last=STEPS, sampler="euler", sides=SIDES, steps=STEPS, seed=5):
    return comfy_nodes.KSamplerAdvanced().sample(
        model, "disable" if first else "enable", seed, steps, 2.5, sampler, "normal", *sides, latent,
        first, last, "enable" if last < steps else "disable",
    )[0]  # fmt: skip


def half(model, latent, **options):
    """The first part of a cut, with the probed MODEL, its scores, and what the filter hands on and says."""
    probed = attach_probe(model, ByRow(), f"step {CUT}")
    sampled = advanced(probed, latent, last=CUT, **options)
    scores = score_latent(probed, sampled)
    output = EarlySeedFilter.execute(sampled, scores, 2, "off", 0.0, "keep all")
    return probed, scores, output


def empty(channels, rows=ROWS):
    return {"samples": torch.zeros(rows, channels, 8, 12)}


def masked(channels, mask_rows):
    source = torch.randn((ROWS, channels, 8, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(mask_rows, 1, 64, 96)
    for row in range(mask_rows):
        mask[row, :, :, 16 + 8 * row : 64 + 8 * row] = 1
    return {"samples": source, "noise_mask": mask}


# -- what a mask needs is handed on --------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["flux", "sdxl", "inpainting"])
@pytest.mark.parametrize("sampler", ["euler", "ddim", "heun"])
@pytest.mark.parametrize("mask_rows", [1, ROWS])
def test_outside_of_a_mask_the_picture_is_kept_by_the_probed_model(models, family, sampler, mask_rows):
    model, channels = models[family]
    model, latent = SeedBatch.execute(0, 1, ", ".join(map(str, SEEDS)), model)[1], masked(channels, mask_rows)
    expected = advanced(model, latent, sampler=sampler)["samples"][KEPT]
    probed, scores, output = half(model, latent, sampler=sampler)
    rest = advanced(probed, output[0], first=CUT, sampler=sampler)["samples"]
    assert relative_error(rest, expected) < 1e-5
    assert scores.exact_continuation and NEEDS_MODEL in output.ui["text"][0]
    assert relative_error(advanced(model, output[0], first=CUT, sampler=sampler)["samples"], expected) > 1e-2


def test_a_second_cut_of_a_masked_run_is_handed_on_again(models):
    model, channels = models["flux"]
    latent = masked(channels, 1)
    expected = advanced(model, latent)["samples"]
    probed = attach_probe(model, ByRow(), "step 2")
    first = advanced(probed, latent, last=2)
    second = advanced(probed, first, first=2, last=4)
    assert relative_error(advanced(probed, second, first=4)["samples"], expected) < 1e-5


@torch.inference_mode()
def test_sampler_custom_advanced_goes_on_from_a_masked_latent_too(models):
    model, channels = models["flux"]
    latent, sampler = masked(channels, 1), comfy.samplers.sampler_object("euler")
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)
    noise = SeedBatch.execute(0, 1, ", ".join(map(str, SEEDS)))[0]

    def custom(model, noise, sigmas, latent):
        guider = CFGGuider.execute(model, *SIDES, 2.0)[0]
        return SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent)[0]

    probed = attach_probe(model, ByRow(), f"step {CUT}")
    cut = custom(probed, noise, sigmas[: CUT + 1], latent)
    rest = custom(probed, DisableNoise.execute()[0], sigmas[CUT:], cut)
    assert relative_error(rest["samples"], custom(model, noise, sigmas, latent)["samples"]) < 1e-5


@pytest.mark.parametrize("family", ["flux", "sdxl"])
def test_without_a_mask_the_probed_model_goes_on_bit_for_bit_as_any_other(models, family):
    model, channels = models[family]
    probed, _, output = half(model, empty(channels))
    plain = advanced(model, output[0], first=CUT)["samples"]
    assert torch.equal(advanced(probed, output[0], first=CUT)["samples"], plain)
    assert NEEDS_MODEL not in output.ui["text"][0]
    record = probed.get_attachment(RECORDING).store.find(row_keys(output[0]["samples"])[0])
    assert record.original is None, "nothing is kept that isn't needed"


def test_a_latent_that_another_model_sampled_is_gone_on_with_as_stock_does(models):
    model, channels = models["flux"]
    other = advanced(model, masked(channels, 1), last=CUT)
    probed = attach_probe(model, ByRow(), f"step {CUT}")
    assert torch.equal(advanced(probed, other, first=CUT)["samples"], advanced(model, other, first=CUT)["samples"])


def test_a_sampler_class_that_hides_its_mask_is_said_to_lose_it(models):
    model, channels = models["flux"]

    class Own(comfy.samplers.Sampler):
        def sample(self, model_wrap, sigmas, *args):
            return comfy.samplers.sampler_object("euler").sample(model_wrap, sigmas, *args)

    with torch.inference_mode():
        probed = attach_probe(model, ByRow(), f"step {CUT}")
        guider = CFGGuider.execute(probed, *SIDES, 2.0)[0]
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)
        noise = SeedBatch.execute(0, 1, ", ".join(map(str, SEEDS)))[0]
        cut = SamplerCustomAdvanced.execute(noise, guider, Own(), sigmas[: CUT + 1], masked(channels, 1))[0]
    said = score_latent(probed, cut).why_not_cut
    assert any("hides what lies outside of the noise mask" in reason for reason in said)


# -- what can't be handed on is said -------------------------------------------------------------------------------


def churned(sampler_name):
    """KSampler Advanced has no settings of samplers: euler with churn is one of SamplerCustomAdvanced."""
    return comfy.samplers.ksampler(sampler_name, {"s_churn": 2.0})


NODES = {
    "nothing": (lambda model: model, None),
    "APG with momentum": (lambda model: APG.execute(model, 1.0, 5.0, -0.5)[0], "APG uses earlier steps"),
    "APG without momentum": (lambda model: APG.execute(model, 1.0, 5.0, 0.0)[0], None),
    "PerpNeg": (lambda model: PerpNeg.execute(model, random_conditioning(9), 1.0)[0], "PerpNeg works on all rows"),
    "Mahiro": (lambda model: Mahiro.execute(model)[0], "Mahiro works on all rows"),
    "guidance by place": (lambda model: VideoTriangleCFGGuidance().patch(model, 1.0)[0], "TriangleCFGGuidance works"),
    "PAG": (lambda model: PerturbedAttentionGuidance.execute(model, 3.0)[0], None),
    "RescaleCFG": (lambda model: RescaleCFG().patch(model, 0.7)[0], None),
    "SAG": (lambda model: SelfAttentionGuidance.execute(model, 0.5, 2.0)[0], None),
    "TC-Padé Cache": (
        lambda model: TCPadeCache.execute(
            model, "custom", "linear", 2, 0.0, 1.0, "off", 0.0, 1.0, 0.0, 1.0, "output"
        )[0],
        "TC-Padé Cache starts anew",
    ),
    "EasyCache": (lambda model: EasyCacheNode.execute(model, 2.0, 0.1, 0.95, False)[0], "LazyCache starts anew"),
}  # fmt: skip


@pytest.mark.parametrize("node", NODES)
def test_a_reason_is_given_where_a_cut_ends_elsewhere_and_only_there(models, node):
    """With steps enough for a memory to matter."""
    (model, channels), (build, says) = models["sdxl"], NODES[node]
    options, latent = {"steps": 2 * STEPS}, {"samples": torch.zeros(ROWS, channels, 8, 8)}
    expected = advanced(build(model), latent, last=2 * STEPS, **options)["samples"][KEPT]
    _, scores, output = half(build(model), latent, **options)
    rest = advanced(build(model), output[0], first=CUT, last=2 * STEPS, **options)["samples"]
    assert (relative_error(rest, expected) < 1e-5) == (says is None) == scores.exact_continuation
    if says:
        assert says in output.ui["text"][0] and "Pruning and seed searches need no cut." in output.ui["text"][0]
        assert says in output.ui["diffusion_probe"][0]["continuation"]
        assert says in row_labels(2, output[2])[0].metadata["cut_note"]
    else:
        assert output.ui["diffusion_probe"][0]["continuation"] == ""
        assert "cut_note" not in row_labels(2, output[2])[0].metadata


def test_random_numbers_inside_of_the_model_are_said_to_be_drawn_anew(models):
    model, channels = models["sdxl"]
    _, scores, _ = half(HyperTile.execute(model, 32, 2, 0, False)[0], empty(channels))
    assert scores.why_not_cut == (
        "Random numbers are drawn inside of the model (as HyperTile and ToMe do), and a second run draws others.",
    )


def test_a_mask_that_changes_along_the_run_is_said_to_change_with_the_cut(models):
    model, channels = models["sdxl"]
    latent = masked(channels, 1)
    latent["noise_mask"] = torch.linspace(0, 1, 96).expand(1, 1, 64, 96).clone()
    patched = DifferentialDiffusion.execute(model)[0]
    expected = advanced(patched, latent)["samples"][KEPT]
    probed, scores, output = half(patched, latent)
    assert relative_error(advanced(probed, output[0], first=CUT)["samples"], expected) > 1e-5
    assert any("Differential Diffusion" in reason for reason in scores.why_not_cut)


@pytest.mark.parametrize(("guaranteed", "exact"), [(1, True), (5, False)])
def test_a_lora_keyframe_with_guaranteed_steps_is_said_to_count_anew(models, guaranteed, exact):
    model, channels = models["flux"]
    weights = model.model_state_dict()
    key = next(k for k, w in weights.items() if w.ndim == 2 and k.startswith("diffusion_model.") and ".0." in k)
    change = torch.randn(weights[key].shape, generator=torch.manual_seed(1)) * 0.3
    hooks, group = comfy.hooks.create_hook_lora({key.removesuffix(".weight") + ".diff": change}, 1.0, 0.0), None
    group = comfy.hooks.HookKeyframeGroup()
    for start, strength, steps in ((0.0, 0.2, guaranteed), (0.2, 1.0, 1)):
        group.add(comfy.hooks.HookKeyframe(strength=strength, start_percent=start, guarantee_steps=steps))
    hooks.set_keyframes_on_hooks(group)
    sides = comfy.hooks.set_hooks_for_conditioning(random_conditioning(1), hooks), SIDES[1]
    expected = advanced(model, empty(channels), sides=sides)["samples"][KEPT]
    _, scores, output = half(model, empty(channels), sides=sides)
    rest = advanced(model, output[0], first=CUT, sides=sides)["samples"]
    assert (relative_error(rest, expected) < 1e-5) == exact == scores.exact_continuation


@torch.inference_mode()
def test_euler_with_churn_is_not_the_euler_that_can_be_cut(models):
    model, channels = models["flux"]
    probed = attach_probe(model, ByRow(), f"step {CUT}")
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)
    noise, guider = SeedBatch.execute(0, 1, "3, 4, 5, 6")[0], CFGGuider.execute(probed, *SIDES, 2.0)[0]
    cut = SamplerCustomAdvanced.execute(noise, guider, churned("euler"), sigmas[: CUT + 1], empty(channels))[0]
    scores = score_latent(probed, cut)
    assert any("euler adds noise on the way" in reason for reason in scores.why_not_cut)
    assert any("euler draws the noise of its steps for the whole batch" in reason for reason in scores.why_not_alone)


def prompts(seed):
    parts = [random_conditioning(seed + row)[0] for row in range(ROWS)]
    return [[torch.cat([part[0] for part in parts]), {"pooled_output": parts[0][1]["pooled_output"]}]]


def test_a_prompt_per_row_is_said_until_it_is_connected(models):
    model, channels = models["flux"]
    sides = prompts(10), SIDES[1]
    _, scores, output = half(model, empty(channels), sides=sides)
    assert scores.per_row == (("positive", ("prompt",)),)
    assert "Each row has its own prompt in positive: connect positive here" in output.ui["text"][0]
    assert "connect positive here" in row_labels(2, output[2])[0].metadata["cut_note"]
    connected = EarlySeedFilter.execute(empty(channels), scores, 2, "off", 0.0, "keep all", positive=sides[0])
    assert "Each row has its own" not in connected.ui["text"][0] and connected[2].per_row == ()


def test_the_board_says_it_too(models):
    model, channels = models["flux"]
    _, _, output = half(APG.execute(model, 1.0, 5.0, -0.5)[0], empty(channels))
    assert "APG uses earlier steps" in output.ui["diffusion_probe_board"][0]["reason"]


def test_a_run_that_is_finished_needs_no_word_about_cuts(models):
    model, channels = models["flux"]
    probed = attach_probe(model, ByRow(), f"step {CUT}", PruneRule(top_k=2))
    result = advanced(probed, empty(channels), sampler="dpmpp_2m")
    output = EarlySeedFilter.execute(result, score_latent(probed, result), 0, "off", 0.0, "keep all")
    assert not isinstance(output[0], ExecutionBlocker)
    assert "continue" not in output.ui["text"][0] and "cut" not in output.ui["text"][0]
    assert "cut_note" not in row_labels(2, output[2])[0].metadata


# -- whether a seed alone gives its row ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed_batch", "sampler", "node", "says"),
    [
        (True, "euler_ancestral", "nothing", None),
        (
            False,
            "euler_ancestral",
            "nothing",
            "euler_ancestral draws the noise of its steps for the whole batch at once",
        ),
        (True, "dpm_adaptive", "nothing", "dpm_adaptive chooses its steps by all rows together"),
        (True, "euler", "PerpNeg", "PerpNeg works on all rows of the batch together"),
        (True, "euler", "guidance by place", "VideoTriangleCFGGuidance works on all rows"),
        (True, "euler", "APG with momentum", None),
        (True, "euler", "SAG", None),
    ],
)
def test_a_reason_is_given_where_a_seed_alone_gives_another_image(models, seed_batch, sampler, node, says):
    (model, channels), (build, _) = models["sdxl"], NODES[node]
    patched = SeedBatch.execute(0, 1, "3, 4, 5, 6", build(model))[1] if seed_batch else build(model)
    probed = attach_probe(patched, ByRow(), f"step {CUT}")
    latent = {"samples": torch.zeros(ROWS, channels, 8, 8)}
    result = advanced(probed, latent, sampler=sampler, seed=4)
    row = 1 if seed_batch else 0  # a stock batch's first row starts as its seed alone does
    scores = score_latent(probed, result)
    assert str(scores.seeds[row]) == "4"
    alone = advanced(build(model), {"samples": latent["samples"][:1]}, sampler=sampler, seed=4)["samples"]
    assert (relative_error(result["samples"][row : row + 1], alone) < 1e-5) == (says is None)
    labels = row_labels(ROWS, scores)
    if says is None:
        assert scores.why_not_alone == () and "alone_note" not in labels[0].metadata
    else:
        assert any(says in reason for reason in scores.why_not_alone) and says in labels[0].metadata["alone_note"]
        output = EarlySeedFilter.execute(result, scores, 2, "off", 0.0, "keep all")
        assert "A seed alone gives another image." in output.ui["text"][0] and says in output.ui["text"][0]


def test_one_row_is_always_its_seed(models):
    model, channels = models["flux"]
    probed = attach_probe(PerpNeg.execute(model, random_conditioning(9), 1.0)[0], ByRow(), f"step {CUT}")
    result = advanced(probed, empty(channels, 1), sampler="euler_ancestral")
    assert score_latent(probed, result).why_not_alone == ()


# -- nothing of it ends a run --------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["Snapshot", "guidance_of", "what_differs", "GuidedEvaluation"])
def test_a_run_that_cannot_be_watched_goes_on_and_says_that_nothing_is_known(models, monkeypatch, part):
    model, channels = models["flux"]
    patched = APG.execute(model, 1.0, 5.0, -0.5)[0]
    expected = advanced(APG.execute(model, 1.0, 5.0, -0.5)[0], empty(channels), last=CUT)["samples"]

    def broken(*args, **kwargs):
        raise RuntimeError("an object that can't be looked into")

    monkeypatch.setattr(run_watch, part, broken)
    probed = attach_probe(patched, ByRow(), f"step {CUT}")
    sampled = advanced(probed, empty(channels), last=CUT)
    assert torch.equal(sampled["samples"], expected)
    assert any("It is not known whether" in reason for reason in score_latent(probed, sampled).why_not_cut)
