"""Prune in Flight beside guidance and patches that take rows together: noticed, all rows computed, and said.

Each is written anew from the behaviour of nodes in other packs, or is one of ComfyUI's own.
"""

import types

import comfy.model_base
import comfy.samplers
import comfy_extras.nodes_post_processing  # noqa: F401 (nodes_latent wants it first)
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_apg import APG
from comfy_extras.nodes_cfg import CFGNorm, CFGZeroStar
from comfy_extras.nodes_flux import FluxKVCache
from comfy_extras.nodes_freelunch import FreeU_V2
from comfy_extras.nodes_fresca import FreSca
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_latent import LatentApplyOperationCFG, LatentOperationTonemapReinhard
from comfy_extras.nodes_mahiro import Mahiro
from comfy_extras.nodes_model_advanced import RescaleCFG
from comfy_extras.nodes_nag import NAGuidance
from comfy_extras.nodes_perpneg import PerpNeg, PerpNegGuider
from comfy_extras.nodes_sag import SelfAttentionGuidance
from comfy_extras.nodes_tcfg import TCFG
from comfy_extras.nodes_tomesd import TomePatchModel
from comfy_extras.nodes_video_model import VideoLinearCFGGuidance
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_model, random_sdxl
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import score_latent
from diffusion_probe.engine.runs.keys import RECORDING
from diffusion_probe.engine.selection.pruning import PruneRule

from support.marks import some_long
from support.probes import ByRow

KEPT, ROWS, STEPS = [1, 3], 4, 5
SIDES = random_conditioning(1), random_conditioning(2)


@pytest.fixture(scope="module")
def models():
    return {
        "flux": (random_flux(hidden_size=128, depth=1, depth_single_blocks=2), 16),
        "sdxl": (random_sdxl(), 4),
        "klein": (random_model("FLUX.2 Klein", scale=1.5), 128),
    }


@torch.inference_mode()
def sample(model, channels, guider=None, sides=SIDES, seed=5, size=(8, 8)):
    latent = torch.zeros(ROWS, channels, *size)
    noise = comfy.sample.prepare_noise(latent, seed)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", STEPS)
    if guider is None:
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(*sides)
        guider.set_cfg(2.5)
    return guider.sample(noise, latent, comfy.samplers.sampler_object("euler"), sigmas, disable_pbar=True, seed=seed)


def pruned(model):
    return attach_probe(model, ByRow(), "step 3", PruneRule(top_k=2))


def check(build, plain, channels, row_counts, guider=None, **options):
    """The kept rows of a pruned run are those of the stock run; its note, and the rows of its calls after the cut."""
    model = build()
    stock = sample(model, channels, guider and guider(model), **options)
    row_counts.clear()
    model = pruned(build())
    result = sample(model, channels, guider and guider(model), **options)
    after = row_counts[-1]
    error = float((result[KEPT] - stock[KEPT]).norm() / stock[KEPT].norm())
    assert error < 1e-5, error
    bare = sample(plain, channels, None, **options)
    assert float((stock - bare).norm() / bare.norm()) > 5e-5, "it does something"
    return score_latent(model, {"samples": result}).note, after


TOGETHER = {
    "PerpNeg": lambda model: PerpNeg.execute(model, random_conditioning(9), 1.0)[0],
    "Mahiro": lambda model: Mahiro.execute(model)[0],
}


@pytest.mark.parametrize("family", some_long(["flux", "sdxl"], ["sdxl"]))
@pytest.mark.parametrize("node", TOGETHER)
def test_guidance_that_takes_rows_together_computes_all_of_them(models, row_counts, family, node):
    model, channels = models[family]
    note, after = check(lambda: TOGETHER[node](model), model, channels, row_counts)
    assert f"Nothing is saved: {node} works on all rows of the batch together" in note and after >= ROWS


def test_guidance_that_reads_the_models_attention_computes_all_rows(models, row_counts):
    model, channels = models["sdxl"]
    note, after = check(lambda: SelfAttentionGuidance.execute(model, 0.5, 2.0)[0], model, channels, row_counts)
    assert "SelfAttentionGuidance takes more from the model's calls" in note and after == ROWS


def test_a_guider_that_takes_rows_together_computes_all_of_them(models, row_counts):
    model, channels = models["sdxl"]

    def guider(model):
        return PerpNegGuider.execute(model, *SIDES, random_conditioning(9), 2.5, 1.0)[0]

    note, _ = check(lambda: model, model, channels, row_counts, guider)
    assert "Guider_PerpNeg works on all rows of the batch together" in note


APART = {
    "APG": lambda model: APG.execute(model, 1.0, 5.0, -0.5)[0],
    "CFGNorm": lambda model: CFGNorm.execute(model, 0.7)[0],
    "CFGZeroStar": lambda model: CFGZeroStar.execute(model)[0],
    "FreSca": lambda model: FreSca.execute(model, 1.2, 1.5, 2)[0],
    "FreeU_V2": lambda model: FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2)[0],
    "HyperTile": lambda model: HyperTile.execute(model, 32, 2, 0, False)[0],
    "a latent operation": lambda model: LatentApplyOperationCFG.execute(
        model, LatentOperationTonemapReinhard.execute(1.0)[0]
    )[0],
    "NAGuidance": lambda model: NAGuidance.execute(model, 5.0, 0.5, 1.5)[0],
    "RescaleCFG": lambda model: RescaleCFG().patch(model, 0.7)[0],
    "TCFG": lambda model: TCFG.execute(model)[0],
    "TomePatchModel": lambda model: TomePatchModel.execute(model, 0.5)[0],
    "VideoLinearCFGGuidance": lambda model: VideoLinearCFGGuidance().patch(model, 1.0)[0],
}


@pytest.mark.parametrize("node", APART)
def test_a_node_of_comfyui_that_takes_each_row_by_itself_is_cut(models, row_counts, node):
    model, channels = models["sdxl"]
    note, after = check(lambda: APART[node](model), model, channels, row_counts)
    assert "Nothing is saved" not in note and after == 2 * len(KEPT)


# -- caches of other packs: each makes a MODEL that returns what it computed before while little has changed ----------


def little_changed(now, before):
    return before is not None and now.shape == before.shape and (now - before).norm() < 0.9 * before.norm()


def cache_in_a_closure(model):
    """In a function wrapper, as first-block caches are installed."""
    model, last_input, last_output = model.clone(), None, None

    def wrapper(apply_model, args):
        nonlocal last_input, last_output
        x = args["input"]
        if little_changed(x, last_input):
            return last_output
        last_input, last_output = x.clone(), apply_model(x, args["timestep"], **args["c"])
        return last_output

    model.set_model_unet_function_wrapper(wrapper)
    return model


class Holder:
    def __init__(self):
        self.step, self.kept = 0, {}


def cache_in_an_object(model):
    """By a count of steps, in an object that travels in transformer_options."""
    model = model.clone()
    model.model_options["transformer_options"]["step_skipper"] = Holder()

    def wrapper(executor, x, *args, **kwargs):
        options = next(part for part in (*args, *kwargs.values()) if isinstance(part, dict) and "step_skipper" in part)
        holder = options["step_skipper"]
        holder.step += 1
        if holder.step % 2 or getattr(holder.kept.get("out"), "shape", None) != x.shape:
            holder.kept["out"] = executor(x, *args, **kwargs)
        return holder.kept["out"]

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "skipper", wrapper)
    return model


KEPT_IN_THE_MODULE = {}


def cache_in_a_module(model):
    """In a dict of the pack's module."""
    KEPT_IN_THE_MODULE.clear()
    model = model.clone()

    def wrapper(apply_model, args):
        x = args["input"]
        if not little_changed(x, KEPT_IN_THE_MODULE.get("x")):
            KEPT_IN_THE_MODULE["x"] = x.clone()
            KEPT_IN_THE_MODULE["out"] = apply_model(x, args["timestep"], **args["c"])
        return KEPT_IN_THE_MODULE["out"]

    model.set_model_unet_function_wrapper(wrapper)
    return model


def cache_on_the_model(model):
    """In attributes of the diffusion model, whose forward it has replaced."""
    model, diffusion_model = model.clone(), model.model.diffusion_model
    vars(diffusion_model).pop("previous", None)

    def forward(self, x, *args, **kwargs):
        before, out = vars(self).get("previous", (None, None))
        if not little_changed(x, before):
            out = type(self).forward(self, x, *args, **kwargs)
            self.previous = (x.clone(), out)
        return out

    model.add_object_patch("diffusion_model.forward", types.MethodType(forward, diffusion_model))
    return model


CACHES = {
    build.__name__: build for build in (cache_in_a_closure, cache_in_an_object, cache_in_a_module, cache_on_the_model)
}


@pytest.fixture
def clean(models):
    yield
    for model, _ in models.values():
        vars(model.model.diffusion_model).pop("previous", None)


@pytest.mark.parametrize("family", some_long(["flux", "sdxl"], ["sdxl"]))
@pytest.mark.parametrize("cache", CACHES)
def test_a_cache_of_another_pack_keeps_its_whole_batches(models, row_counts, clean, family, cache):
    model, channels = models[family]
    note, _ = check(lambda: CACHES[cache](model), model, channels, row_counts)
    assert "Nothing is saved" in note and "keeps whole batches from one evaluation to the next" in note


def test_the_reference_cache_of_flux_keeps_its_whole_batches(models, row_counts):
    model, channels = models["klein"]
    reference = torch.randn((1, channels, 4, 4), generator=torch.Generator().manual_seed(0))
    sides = tuple([[part[0][0], {**part[0][1], "reference_latents": [reference]}]] for part in SIDES)
    note, _ = check(lambda: FluxKVCache.execute(model)[0], model, channels, row_counts, sides=sides)
    assert "KV_Attn_Input keeps whole batches" in note


# -- patches inside of the model -----------------------------------------------------------------------------------


def picture_for_each_row(model):
    """Adds to each row's cross-attention what belongs to its place in the batch, as image prompts do."""
    model, pictures = model.clone(), torch.randn((ROWS, 1, 32), generator=torch.Generator().manual_seed(3))

    def attn2(q, k, v, options):
        rows = len(k) // len(options["cond_or_uncond"])
        mine = pictures[:rows].repeat(len(options["cond_or_uncond"]), 1, 1)
        return q, k, v + mine

    model.set_model_attn2_patch(attn2)
    return model


def attention_to_the_first_row(model):
    """Each row's self-attention sees the first row's, as nodes for one style in all images do."""
    model = model.clone()

    def attn1(q, k, v, options):
        return q, torch.cat([k, k[:1].expand_as(k)], 1), torch.cat([v, v[:1].expand_as(v)], 1)

    model.set_model_attn1_patch(attn1)
    return model


def mean_of_the_batch(model):
    """A function wrapper that takes a part of the batch's mean away."""
    model = model.clone()

    def wrapper(apply_model, args):
        out = apply_model(args["input"], args["timestep"], **args["c"])
        return out - 0.1 * out.mean(0, keepdim=True)

    model.set_model_unet_function_wrapper(wrapper)
    return model


INSIDE = {build.__name__: build for build in (picture_for_each_row, attention_to_the_first_row, mean_of_the_batch)}


@pytest.mark.parametrize("patch", INSIDE)
def test_a_patch_that_gives_a_row_alone_something_else_computes_all_rows(models, row_counts, patch):
    model, channels = models["sdxl"]
    note, after = check(lambda: INSIDE[patch](model), model, channels, row_counts)
    assert f"{patch} gives another result for a row alone than in the batch" in note and after == 2 * ROWS


def test_one_row_is_asked_alone_and_counted_and_nothing_else_is_different(models, row_counts):
    model, channels = models["sdxl"]
    patched = model.clone()
    patched.set_model_attn2_patch(lambda q, k, v, options: (q, 1.1 * k, v))
    counts = []

    def count(executor, *args, **kwargs):
        counts.append(torch.get_rng_state())
        return executor(*args, **kwargs)

    patched.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "count", count)
    stock = sample(patched, channels)
    stock_counts = list(counts)
    counts.clear(), row_counts.clear()
    model = pruned(patched)
    result = sample(model, channels)
    assert torch.equal(result[KEPT], stock[KEPT]) or float((result - stock)[KEPT].norm() / stock[KEPT].norm()) < 1e-5
    assert row_counts == [8, 8, 8, 2, 4, 4]
    assert score_latent(model, {"samples": result}).model_rows == sum(row_counts)
    assert all(map(torch.equal, counts, stock_counts)), "no random number was taken from the run"


def test_a_counter_in_a_patch_goes_on_where_it_stood(models, row_counts):
    """The row that is asked alone is not a step of the run."""
    model, channels = models["sdxl"]

    def build():
        step, patched = [0], model.clone()

        def attn2(q, k, v, options):
            step[0] += 1
            return q, k * (1 + 0.001 * step[0]), v

        patched.set_model_attn2_patch(attn2)
        return patched

    note, after = check(build, model, channels, row_counts)
    assert "Nothing is saved" not in note and after == 2 * len(KEPT)


def global_average(model):
    """Guidance that keeps what it needs in a dict of its module, and says nothing of it."""
    KEPT_IN_THE_MODULE.clear()
    model = model.clone()

    def post_cfg(args):
        before = KEPT_IN_THE_MODULE.get("average", args["denoised"])
        KEPT_IN_THE_MODULE["average"] = 0.5 * before + 0.5 * args["denoised"]
        return args["denoised"] + 0.2 * (args["denoised"] - KEPT_IN_THE_MODULE["average"])

    model.set_model_sampler_post_cfg_function(post_cfg)
    return model


def random_guidance(model):
    model = model.clone()

    def post_cfg(args):
        return args["denoised"] * (1 + 0.01 * torch.rand(1))

    model.set_model_sampler_post_cfg_function(post_cfg)
    return model


@pytest.mark.parametrize("build", [global_average, random_guidance])
def test_guidance_with_a_memory_or_random_numbers_is_not_disturbed_by_being_tried(models, row_counts, build):
    model, channels = models["flux"]
    note, after = check(lambda: build(model), model, channels, row_counts)
    assert "Nothing is saved" not in note and after == 2 * len(KEPT)


def test_guidance_that_cannot_be_tried_computes_all_rows(models, row_counts):
    model, channels = models["flux"]

    def build():
        patched, seen = model.clone(), iter(range(100))  # an iterator can't be turned back

        def post_cfg(args):
            return args["denoised"] * (1 + 0.01 * next(seen))

        patched.set_model_sampler_post_cfg_function(post_cfg)
        return patched

    model_note, after = check(build, model, channels, row_counts)
    assert "it is not known whether" in model_note and after == 2 * ROWS


@pytest.mark.parametrize("build", [*TOGETHER.values(), *some_long(APART.values(), APART.values()), *INSIDE.values()])
def test_a_probed_run_is_bit_identical_beside_all_of_them(models, build):
    model, channels = models["sdxl"]
    states = []
    for patched in (build(model), attach_probe(build(model), ByRow(), "step 2, step 3")):
        states += [sample(patched, channels), torch.get_rng_state()]
    assert torch.equal(states[0], states[2]) and torch.equal(states[1], states[3])
    assert RECORDING not in patched.model_options["transformer_options"]
