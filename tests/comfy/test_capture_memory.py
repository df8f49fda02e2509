"""What other packs keep from one evaluation to the next is kept beside a probe, wherever they keep it."""

import comfy.samplers
import pytest
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.patcher_extension import WrappersMP
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.hooks.model_call import CALL
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.engine.core.probe import CaptureAll
from diffusion_probe.engine.runs.keys import CAPTURES, CAPTURING, RECORDING
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.search import SearchOptions, seed_search

from support.models import SMALL_UNET

STEPS = 5

HOOKS = ("AttentionHook", "BlockHook", "DecoderHook", "NamedBlock")


@pytest.fixture(scope="module")
def models():
    flux = random_flux(hidden_size=128, depth=1, depth_single_blocks=2, scale=1.5)
    return {"FLUX": flux, "SDXL": random_sdxl(scale=1.5, **SMALL_UNET)}


def latent_of(model, rows=2):
    return torch.zeros(rows, model.get_model_object("latent_format").latent_channels, 8, 8)


@pytest.fixture
def sample(ksampler):
    return lambda model, **options: ksampler(
        model, **{"latent": latent_of(model), "steps": STEPS, "sampler": "euler", **options}
    )


def momentum(model, memory_of, clean=lambda memory: None):
    """A guidance that goes on in the direction of the evaluation before, which it keeps in a dict."""
    model = model.clone()

    def guide(args):
        memory = memory_of(args)
        before = memory.get("before", args["denoised"])
        memory["before"] = args["denoised"]
        return args["denoised"] + 0.5 * (args["denoised"] - before)

    model.set_model_sampler_post_cfg_function(guide)
    return model


def in_model_options(model):
    return momentum(model, lambda args: args["model_options"])


def in_a_dict_of_model_options(model):
    return momentum(model, lambda args: args["model_options"].setdefault("my_guidance", {}))


def in_transformer_options(model):
    return momentum(model, lambda args: args["model_options"]["transformer_options"])


def in_a_dict_of_transformer_options(model):
    def memory(args):
        return args["model_options"]["transformer_options"].setdefault("my", {}).setdefault("guidance", {})

    return momentum(model, memory)


def in_the_dict_of_patches(model):
    """In ``patches`` itself, which core merges into each call."""
    return momentum(model, lambda args: args["model_options"]["transformer_options"].setdefault("patches_of_mine", {}))


def in_new_transformer_options(model):
    """Core's own helpers put a changed copy in the place of the whole dict."""

    def memory(args):
        args["model_options"]["transformer_options"] = options = args["model_options"]["transformer_options"].copy()
        return options

    return momentum(model, memory)


def in_a_closure(model):
    memory = {}
    return momentum(model, lambda args: memory.clear() or memory if _first(args) else memory)


def _first(args):
    schedule = args["model_options"]["transformer_options"]["sample_sigmas"]
    return float(args["sigma"].flatten()[0]) == float(schedule[0])


def as_a_patch(model):
    """Each evaluation scales the attention of the next by what it came to: a patch more in the list of patches."""
    model = model.clone()

    def guide(args):
        scale = 1 + 0.1 * float(args["denoised"].std() / (1 + args["denoised"].std()))
        patches = args["model_options"]["transformer_options"].setdefault("patches", {})
        patches.setdefault("attn1_output_patch", []).append(lambda n, options: n * scale)
        return args["denoised"]

    model.set_model_sampler_post_cfg_function(guide)
    return model


def as_a_replacement(model):
    """The second evaluation puts a replacement into the very positions that a probe hooks, for all that follow."""
    model = model.clone()
    count = []

    def replace(executor, base, conds, x, timestep, model_options):
        schedule = model_options["transformer_options"]["sample_sigmas"]
        count[:] = [] if float(timestep[0]) == float(schedule[0]) else [*count, 1]
        if len(count) == 1:
            places = model_options["transformer_options"].setdefault("patches_replace", {})
            for name, place in (("dit", ("double_block", 0)), ("dit", ("single_block", 0))):
                places.setdefault(name, {})[place] = halved(places.get(name, {}).get(place))
            attn2 = places.setdefault("attn2", {})
            attn2[("input", 1, 0)] = louder(attn2.get(("input", 1, 0)))
        return executor(base, conds, x, timestep, model_options)

    model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "mine", replace)
    return model


def halved(before):
    def replacement(args, extra):
        out = before(args, extra) if before else extra["original_block"](args)
        return {name: value * 0.9 for name, value in out.items()}

    return replacement


def louder(before):
    def replacement(q, k, v, options):
        return 1.1 * (before(q, k, v, options) if before else optimized_attention(q, k, v, options["n_heads"]))

    return replacement


def as_an_override(model):
    """From the second evaluation on attention is changed, around whatever was there."""
    model = model.clone()

    def guide(args):
        options = args["model_options"]["transformer_options"]
        before = options.get("optimized_attention_override")

        def override(func, *given, **named):
            return 0.95 * (before(func, *given, **named) if before else func(*given, **named))

        options["optimized_attention_override"] = override
        return args["denoised"]

    model.set_model_sampler_post_cfg_function(guide)
    return model


MEMORIES = [
    in_model_options,
    in_a_dict_of_model_options,
    in_transformer_options,
    in_a_dict_of_transformer_options,
    in_the_dict_of_patches,
    in_new_transformer_options,
    in_a_closure,
    as_a_patch,
    as_a_replacement,
    as_an_override,
]


@pytest.mark.parametrize("family", ["FLUX", "SDXL"])
@pytest.mark.parametrize("remembers", MEMORIES)
def test_guidance_with_memory_is_bit_identical_beside_a_probe(models, sample, family, remembers):
    expected = sample(remembers(models[family]))
    assert not torch.equal(expected, sample(models[family])), "the guidance has an effect"
    recorder = attach_probe(remembers(models[family]), CaptureAll(), "step 1, step 2, step 4")
    latent = sample(recorder)
    assert torch.equal(latent, expected)
    assert len(captured(recorder, {"samples": latent}, "step 4")) == 2


@pytest.mark.parametrize("family", ["FLUX", "SDXL"])
@pytest.mark.parametrize("remembers", [m for m in MEMORIES if m not in (in_a_closure, as_a_replacement)])
def test_guidance_with_memory_is_itself_in_a_search_that_looks(models, sample, probe, family, remembers):
    """What a closure keeps is shared by all candidates; that is the hub's to sort out, not the recording's."""
    model = remembers(models[family])
    prompts = random_conditioning(1), random_conditioning(2)
    latent = {"samples": latent_of(model, 1)}
    found = [ksampler_candidate(seed, STEPS, 2.0, "euler", "simple", *prompts, latent) for seed in range(2)]

    def policy(steps):
        return policy_named(ONE_CUT, steps, 2, 1, share=0.6)

    with torch.inference_mode():
        result = seed_search(model, found, probe, policy, 1, SearchOptions(max_rows=2))
    expected = sample(model, latent=latent["samples"], seed=result.survivors[0])
    assert (result.latents - expected).norm() / expected.norm() < 1e-5


def test_what_attention_writes_down_during_a_call_is_read_after_it(models, sample):
    """A pack counts in the options of a call what an outer wrapper of its own then reads and goes by."""
    counting = models["FLUX"].clone()

    def override(func, q, k, v, heads, *args, **kwargs):
        options = kwargs["transformer_options"]
        options["in_the_model"] = options.get("in_the_model", 0) + 1
        options["notes"]["calls"] = options["notes"].get("calls", 0) + options["in_the_model"]
        return func(q, k, v, heads, *args, **kwargs)

    def wrapper(apply_model, args):
        notes = args["c"]["transformer_options"]["notes"] = {}
        output = apply_model(args["input"], args["timestep"], **args["c"])
        return output * (1 + 0.01 * notes["calls"])

    counting.model_options["transformer_options"]["optimized_attention_override"] = override
    counting.set_model_unet_function_wrapper(wrapper)
    recorder = attach_probe(counting, CaptureAll(), "step 1, step 2")
    assert torch.equal(sample(recorder), sample(counting))


def test_a_copy_of_the_options_kept_from_a_look_taps_nothing_later(models, sample, probe):
    """A guidance that goes on with the options of the first evaluation, in which the hooks' marks were."""
    keeping, kept = models["FLUX"].clone(), []

    def again(executor, model, conds, x, timestep, model_options):
        options = comfy.model_patcher.create_model_options_clone(model_options)
        if float(timestep[0]) == float(options["transformer_options"]["sample_sigmas"][0]):
            kept[:] = [options]
        return executor(model, conds, x, timestep, kept[0])

    keeping.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "mine", again)
    model = attach_probe(keeping, probe, "step 1")
    latent = sample(model)
    assert torch.equal(latent, sample(keeping))
    plain = attach_probe(models["FLUX"], probe, "step 1")
    rows = captured(model, {"samples": latent}), captured(plain, {"samples": sample(plain)})
    assert all(torch.equal(a.attention, b.attention) for a, b in zip(*rows, strict=True))


def test_nothing_of_a_look_is_left_in_the_options_of_a_run(models, sample):
    """Neither after an evaluation that was looked at nor after one that failed in the middle."""
    seen = []

    def look_after(executor, x, timestep, model_options, seed=None):
        try:
            return executor(x, timestep, model_options, seed)
        finally:
            seen.append(str(model_options))

    outer = models["SDXL"].clone()
    outer.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "mine", look_after)
    recorder = attach_probe(outer, CaptureAll(), "step 2")
    sample(recorder)
    assert len(seen) == STEPS and len(set(seen)) == 1, "each evaluation leaves the options as the first one"
    assert RECORDING in seen[0] and not any(name in seen[0] for name in (CAPTURING, CAPTURES, CALL, *HOOKS))
    seen.clear()

    def fail(q, k, v, options):
        raise RuntimeError("out of order")

    failing = attach_probe(outer, CaptureAll(), "step 1")
    failing.set_model_attn2_patch(fail)
    with pytest.raises(RuntimeError, match="out of order"):
        sample(failing)
    assert not any(name in seen[0] for name in (CAPTURING, CAPTURES, CALL, *HOOKS))
