"""Whose rows an attention call has is known, or nothing is captured there and the user is told why."""

import threading

import comfy.multigpu
import comfy.patcher_extension
import pytest
import torch
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured, finished_rows, score_latent
from diffusion_probe.engine.core.probe import CaptureAll
from diffusion_probe.engine.runs.keys import RECORDING
from diffusion_probe.engine.runs.latents import row_keys
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.search import seed_search
from diffusion_probe.engine.selection.pruning import PruneRule
from diffusion_probe.probe_models.focus import AttentionFocus

ROWS = "another node repeats, splits or leaves out rows before the attention"
SMALL_UNET = {"num_res_blocks": [1], "channel_mult": [1], "transformer_depth": [2], "transformer_depth_output": [1, 1]}


@pytest.fixture(scope="module")
def models():
    flux = random_flux(hidden_size=128, depth=1, depth_single_blocks=3, scale=1.5)
    return {"FLUX": flux, "SDXL": random_sdxl(scale=1.5, **SMALL_UNET)}


@pytest.fixture
def sample(ksampler):
    return lambda model, **options: ksampler(model, **{"steps": 3, **options})


def regional_unet(model, times=2, block=None):
    """As regional prompts do it: each row once for each region, which see other text; then the mean."""
    model = model.clone()

    def here(options):
        return block is None or (*options["block"], options["block_index"]) == block

    def repeat(q, k, v, options):
        if not here(options):
            return q, k, v
        copies = [(q, k * (region + 1), v * (region + 1)) for region in range(times)]
        return tuple(torch.cat(parts) for parts in zip(*copies, strict=True))

    def merge(n, options):
        return torch.stack(n.chunk(times)).mean(0) if here(options) else n

    model.set_model_attn2_patch(repeat)
    model.set_model_attn2_output_patch(merge)
    return model


def regional_flux(model):
    """The same of joint attention."""
    model = model.clone()

    def repeat(q, k, v, pe, attn_mask, extra_options):
        return {name: torch.cat([value, value * 0.5]) for name, value in (("q", q), ("k", k), ("v", v))} | {
            "pe": torch.cat([pe, pe]) if pe.shape[0] > 1 else pe
        }

    model.set_model_attn1_patch(repeat)
    model.set_model_attn1_output_patch(lambda n, options: torch.stack(n.chunk(2)).mean(0))
    return model


REGIONAL = {"FLUX": regional_flux, "SDXL": regional_unet}


@pytest.mark.parametrize("family", REGIONAL)
def test_beside_regional_prompts_nothing_is_captured_and_the_reason_is_said(models, sample, probe, family):
    """Two regions of two rows and two prompts were eight rows, of which each row got another one's map."""
    regional = REGIONAL[family](models[family])
    model = attach_probe(regional, probe, "step 1")
    latent = sample(model)
    assert torch.equal(latent, sample(regional)) and not torch.equal(latent, sample(models[family]))
    with pytest.raises(ValueError, match=f"nothing was captured, because {ROWS} .8 instead of 4.*connect a probe"):
        score_latent(model, {"samples": latent})


def test_rows_that_are_dropped_before_the_attention_are_noticed(models, sample, probe):
    dropping = models["SDXL"].clone()
    dropping.set_model_attn2_patch(lambda q, k, v, options: (q[:2], k[:2], v[:2]))
    dropping.set_model_attn2_output_patch(lambda n, options: torch.cat([n, n]))
    model = attach_probe(dropping, probe, "step 1")
    with pytest.raises(ValueError, match=rf"{ROWS} \(2 instead of 4\)"):
        captured(model, {"samples": sample(model)})


def test_one_block_with_other_rows_is_left_out_and_the_scores_say_so(models, sample):
    whole = attach_probe(models["SDXL"], AttentionFocus(), "step 1")
    expected = captured(whole, {"samples": sample(whole)})
    partly = regional_unet(models["SDXL"], block=("input", 1, 1))
    model = attach_probe(partly, AttentionFocus(), "step 1")
    latent = {"samples": sample(model)}
    for row, other in zip(captured(model, latent), expected, strict=True):
        assert other.blocks == ("input 1 0", "input 1 1") and row.blocks == ("input 1 0",)
        assert torch.equal(row.attention[0], other.attention[0])
    note = score_latent(model, latent).note
    assert note.startswith(f"The attention of input 1 1 is left out, because {ROWS} (8 instead of 4)")
    recorder = attach_probe(partly, CaptureAll(), "step 1")
    with pytest.raises(ValueError, match=f"the attention of input 1 1 could not be captured at step 1: {ROWS}"):
        finished_rows(recorder, {"samples": sample(recorder)})


def test_an_override_that_repeats_rows_behind_the_tap_moves_no_map(models, sample, probe):
    def doubled(func, q, k, v, heads, *args, **kwargs):
        out = func(torch.cat([q, 0.5 * q]), torch.cat([k, k]), torch.cat([v, v]), heads, *args, **kwargs)
        return torch.stack(out.chunk(2)).mean(0)

    other = models["FLUX"].clone()
    other.model_options["transformer_options"]["optimized_attention_override"] = doubled
    plain, model = (attach_probe(given, probe, "step 1") for given in (models["FLUX"], other))
    latent = sample(model)
    assert torch.equal(latent, sample(other))
    for row, expected in zip(
        captured(model, {"samples": latent}), captured(plain, {"samples": sample(plain)}), strict=True
    ):
        assert torch.equal(row.attention[0], expected.attention[0])


def test_an_activation_of_other_rows_is_not_taken(models, sample):
    """FLUX's third of four blocks is read; it gives every row twice, and the fourth goes on with the first half."""
    doubling = models["FLUX"].clone()

    def double(args, extra):
        out = extra["original_block"](args)
        return {"img": torch.cat([out["img"], -out["img"]])}

    doubling.set_model_patch_replace(double, "dit", "single_block", 1)
    doubling.set_model_patch_replace(
        lambda args, extra: extra["original_block"]({**args, "img": args["img"].chunk(2)[0]}), "dit", "single_block", 2
    )
    model = attach_probe(doubling, CaptureAll(), "step 1")
    latent = {"samples": sample(model)}
    assert torch.equal(latent["samples"], sample(doubling))
    with pytest.raises(ValueError, match=f"the activation could not be captured at step 1: {ROWS} .8 instead of 4"):
        finished_rows(model, latent)


def row_by_row(apply_model, args):
    """Each row of the batch in a call of its own, though the options speak of both prompts and all rows."""
    rows = range(len(args["input"]))

    def cut(value, row):
        return value[row : row + 1] if torch.is_tensor(value) and len(value) == len(args["input"]) else value

    calls = ({name: cut(value, row) for name, value in args["c"].items()} for row in rows)
    return torch.cat(
        [apply_model(args["input"][row : row + 1], args["timestep"][row : row + 1], **call)
         for row, call in zip(rows, calls)]
    )  # fmt: skip


def in_tiles(apply_model, args):
    """The left and the right half of the latent each in a call of its own."""
    return torch.cat([apply_model(half, args["timestep"], **args["c"]) for half in args["input"].chunk(2, -1)], -1)


def without_names(apply_model, args):
    """As packs do that put their own calls together."""
    options = {name: v for name, v in args["c"]["transformer_options"].items() if name != "uuids"}
    return apply_model(args["input"], args["timestep"], **{**args["c"], "transformer_options": options})


def with_one_name(apply_model, args):
    """Fewer names than there are chunks of rows."""
    options = dict(args["c"]["transformer_options"])
    options["uuids"] = options["uuids"][-1:]
    return apply_model(args["input"], args["timestep"], **{**args["c"], "transformer_options": options})


CALLS = {
    row_by_row: "calls the model for 1 rows of 8 × 12 instead of 4 rows of 8 × 12",
    in_tiles: "calls the model for 4 rows of 8 × 6 instead of 4 rows of 8 × 12",
    without_names: "calls the model without saying which prompts the rows belong to",
    with_one_name: "calls the model for 4 rows of 8 × 12 instead of 2 rows of 8 × 12",
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("family", REGIONAL)
def test_model_calls_of_other_rows_or_parts_are_noticed(models, sample, probe, family, call):
    other = models[family].clone()
    other.set_model_unet_function_wrapper(call)
    model = attach_probe(other, probe, "step 1")
    latent = sample(model)
    assert torch.equal(latent, sample(other))
    with pytest.raises(ValueError, match=f"nothing was captured, because another node {CALLS[call]}"):
        captured(model, {"samples": latent})


def test_a_patch_that_changes_which_prompt_rows_are_of_is_noticed(models, sample, probe):
    """It runs the prompts in the other order, and says so in the options that the attention gets."""
    swapping = models["SDXL"].clone()

    def swap(q, k, v, options):
        options["cond_or_uncond"].reverse()
        return tuple(torch.cat(value.chunk(2)[::-1]) for value in (q, k, v))

    def back(n, options):
        options["cond_or_uncond"].reverse()
        return torch.cat(n.chunk(2)[::-1])

    swapping.set_model_attn2_patch(swap)
    swapping.set_model_attn2_output_patch(back)
    model = attach_probe(swapping, probe, "step 1")
    with pytest.raises(ValueError, match="another node changes which prompts the rows of a model call belong to"):
        captured(model, {"samples": sample(model)})


def test_a_search_beside_regional_prompts_says_why_nobody_is_scored(models, probe):
    regional = regional_flux(models["FLUX"])
    latent = {"samples": torch.zeros(1, 16, 8, 12)}
    prompts = random_conditioning(1), random_conditioning(2)
    found = [ksampler_candidate(seed, 4, 1.0, "euler", "simple", *prompts, latent) for seed in range(2)]
    with (
        pytest.raises(ValueError, match=f"2 could not be scored: seed 0: not scored at step 2: nothing.* {ROWS}"),
        torch.inference_mode(),
    ):
        seed_search(regional, found, probe, lambda steps: policy_named(ONE_CUT, steps, 2, 1, share=0.5), 1)


def test_pruning_beside_regional_prompts_drops_nothing_and_says_why(models, sample, probe):
    regional = regional_unet(models["SDXL"])
    model = attach_probe(regional, probe, "step 1", PruneRule(top_k=1))
    latent = sample(model)
    assert torch.equal(latent, sample(regional))
    notes = {model.get_attachment(RECORDING).store.find(key).note for key in row_keys(latent)}
    assert len(notes) == 1
    assert notes.pop().startswith(f"Prune in Flight dropped nothing: nothing was captured, because {ROWS} (8 instead")


def test_prompts_in_calls_of_their_own_come_in_the_order_of_the_entries(models, sample, probe, monkeypatch):
    """However many calls they take, and in which order."""
    entries = random_conditioning(1) + random_conditioning(3, tokens=5)
    together, alone = (attach_probe(models["FLUX"], probe, "step 1") for _ in range(2))
    expected = captured(together, {"samples": sample(together, positive=entries)})
    monkeypatch.setattr(type(models["FLUX"]), "get_free_memory", lambda *_: 0)

    def reversed_calls(executor, model, conds, x, timestep, model_options):
        return executor(model, [entry and entry[::-1] for entry in conds], x, timestep, model_options)

    alone.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.CALC_COND_BATCH, "other", reversed_calls)
    rows = captured(alone, {"samples": sample(alone, positive=entries)})
    for row, other in zip(rows, expected, strict=True):
        assert row.attention.shape == other.attention.shape and (row.attention - other.attention).abs().max() < 1e-3


@pytest.mark.parametrize("family", REGIONAL)
def test_prompts_on_several_gpus_are_taken_together(models, sample, family):
    """ComfyUI's own scheduler and threads for a model on two devices, both of which are the CPU here."""
    entries = random_conditioning(1) + random_conditioning(3, tokens=5)
    devices = [torch.device("cpu"), torch.device("cpu", 0)]
    pool, threads = comfy.multigpu.MultiGPUThreadPool(devices), set()

    def on_two(executor, model, conds, x, timestep, model_options):
        clones = {"multigpu_clones": dict.fromkeys(devices, models[family]), "multigpu_thread_pool": pool}
        return executor(model, conds, x, timestep, {**model_options, **clones})

    def count(executor, *args, **kwargs):
        threads.add(threading.get_ident())
        return executor(*args, **kwargs)

    split = models[family].clone()
    split.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.CALC_COND_BATCH, "other", on_two)
    split.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "other", count)
    try:
        expected = sample(split, positive=entries)
        model, plain = attach_probe(split, CaptureAll(), "step 1"), attach_probe(models[family], CaptureAll(), "step 1")
        latent = sample(model, positive=entries)
    finally:
        pool.shutdown()
    assert torch.equal(latent, expected) and len(threads) == 2
    rows = captured(model, {"samples": latent}), captured(plain, {"samples": sample(plain, positive=entries)})
    for row, other in zip(*rows, strict=True):
        assert row.blocks == other.blocks and (row.attention - other.attention).abs().max() < 1e-3
        assert torch.allclose(row.activation.float(), other.activation.float(), atol=2e-3, rtol=2e-3)
