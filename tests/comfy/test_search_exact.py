"""Survivors equal the stock KSampler of their seed, whatever a workflow has between model and sampler."""

import comfy.hooks
import comfy.samplers
import node_helpers
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from diffusion_probe.dev.random_models import random_conditioning, random_flux, random_sdxl
from diffusion_probe.engine.seed_search.candidates import guider_candidate
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.policies.policy import Policy
from diffusion_probe.engine.seed_search.search import SearchOptions, seed_search

import nodes as comfy_nodes
from support.compare import relative_error
from support.ksampler import Workflow, lora_hook, small_control_net

SEEDS = [5, 6, 7]


@pytest.fixture(params=["flux", "sdxl"])
def workflow(request):
    if request.param == "sdxl":
        return Workflow(random_sdxl(), {"samples": torch.zeros(1, 4, 8, 12)})
    model = random_flux(hidden_size=128, depth=1, depth_single_blocks=1)
    return Workflow(model, {"samples": torch.zeros(1, 16, 8, 12)})


def one_cut(candidates, survivors):
    return lambda steps: policy_named(ONE_CUT, steps, candidates, survivors, share=0.5)


@torch.inference_mode()
def searched(model, candidates, probe, survivors=2, **options):
    return seed_search(
        model, candidates, probe, one_cut(len(candidates), survivors), survivors, SearchOptions(**options)
    )


def check(workflow, probe, same_calls=True):
    """Two of three seeds survive as they are alone; in calls of three runs where that is possible."""
    result = searched(workflow.model, [workflow.candidate(seed) for seed in SEEDS], probe)
    assert len(result.survivors) == 2
    for latent, row in zip(result.latents, result.survivors, strict=True):
        assert relative_error(latent[None], workflow.alone(SEEDS[row])) < 1e-5
    assert workflow.model.model.current_patcher is None
    return result


def test_image_to_image(workflow, probe):
    workflow.latent["samples"] = torch.randn(workflow.latent["samples"].shape, generator=torch.manual_seed(0))
    workflow.denoise = 0.6
    check(workflow, probe)


def test_a_mask(workflow, probe):
    workflow.latent["samples"] = torch.randn(workflow.latent["samples"].shape, generator=torch.manual_seed(0))
    mask = torch.zeros(1, 64, 96)
    mask[:, 16:48, 20:70] = 1
    workflow.latent["noise_mask"] = mask
    check(workflow, probe)


def test_a_row_of_a_batch_by_its_batch_index(workflow, probe):
    workflow.latent["batch_index"] = [3]
    check(workflow, probe)


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_few_steps_with_and_without_guidance(workflow, probe, cfg):
    workflow.steps, workflow.cfg, workflow.sampler, workflow.scheduler = 4, cfg, "lcm", "sgm_uniform"
    check(workflow, probe)


def test_regions_and_parts_of_the_schedule(workflow, probe):
    left = comfy_nodes.ConditioningSetAreaPercentage().append(workflow.positive, 0.5, 1.0, 0.0, 0.0, 1.0)[0]
    mask = torch.zeros(1, 64, 96)
    mask[:, :, 48:] = 1
    right = comfy_nodes.ConditioningSetMask().append(random_conditioning(3), mask, "default", 0.8)[0]
    early = comfy_nodes.ConditioningSetTimestepRange().set_range(random_conditioning(4), 0.0, 0.4)[0]
    workflow.positive = left + right + early
    check(workflow, probe)


def test_a_lora_on_the_model(workflow, probe):
    key, weight = next((k, w) for k, w in workflow.model.model_state_dict().items() if w.ndim == 2)
    workflow.model = workflow.model.clone()
    workflow.model.add_patches({key: ("diff", (torch.randn_like(weight) * 0.1,))}, 0.7)
    check(workflow, probe)


@pytest.mark.parametrize("keyframes", [(), ((0.0, 0.2), (0.4, 1.0))], ids=["constant", "by step"])
def test_a_lora_hook_on_the_prompt(workflow, probe, keyframes):
    plain = workflow.alone(SEEDS[0])
    hooks = lora_hook(workflow.model, 1.0, *keyframes)
    workflow.positive = comfy.hooks.set_hooks_for_conditioning(workflow.positive, hooks)
    assert relative_error(workflow.alone(SEEDS[0]), plain) > 1e-3
    check(workflow, probe)


def test_prompts_with_other_lora_strengths_and_runs_that_go_on_later(workflow, probe):
    """Each prompt's candidate is patched with its own strength, whoever ran the model before."""
    plain = workflow.positive
    strengths = [0.5, 1.0, None]
    flows = []
    for strength in strengths:
        hooks = lora_hook(workflow.model, strength, (0.0, 0.3), (0.5, 1.0)) if strength else None
        positive = comfy.hooks.set_hooks_for_conditioning(plain, hooks) if hooks else plain
        flows.append(Workflow(workflow.model, workflow.latent, positive=positive))

    class Staggered(Policy):
        def moments(self, steps):
            return (2, 4)

        def next(self, state):
            plan = [{0: 4, 1: 2}, {2: 2, 1: 6}, {0: 6}, {2: 6}]
            order = [(0, 0, 0), (4, 2, 0), (4, 6, 2), (6, 6, 2)]
            return plan[order.index(state.reached)] if state.reached in order else {}

    with torch.inference_mode():
        candidates = [flow.candidate(5, number) for number, flow in enumerate(flows)]
        result = seed_search(workflow.model, candidates, probe, lambda steps: Staggered(), 3)
    for latent, row in zip(result.latents, result.survivors, strict=True):
        assert relative_error(latent[None], flows[row].alone(5)) < 1e-5


def test_a_control_net_while_runs_end_at_different_times(probe):
    control_net = small_control_net()
    workflow = Workflow(random_sdxl(), {"samples": torch.zeros(1, 4, 8, 8)}, sampler="euler")
    plain = workflow.alone(SEEDS[0])
    hint = torch.rand(1, 64, 64, 3, generator=torch.manual_seed(2))
    pair = comfy_nodes.ControlNetApplyAdvanced().apply_controlnet(
        workflow.positive, workflow.negative, control_net, hint, 0.6, 0.0, 0.8
    )
    workflow.positive, workflow.negative = pair
    assert relative_error(workflow.alone(SEEDS[0]), plain) > 1e-3
    check(workflow, probe)

    class OneAfterTheOther(Policy):
        def moments(self, steps):
            return (2,)

        def next(self, state):
            return dict.fromkeys(state.alive[:1], state.steps) if state.spent else dict.fromkeys(state.alive, 2)

    with torch.inference_mode():
        found = [workflow.candidate(seed) for seed in SEEDS]
        result = seed_search(workflow.model, found, probe, lambda steps: OneAfterTheOther(), 3)
    for latent, row in zip(result.latents, result.survivors, strict=True):
        assert relative_error(latent[None], workflow.alone(SEEDS[row])) < 1e-5


def test_wrappers_and_patches_of_other_packs(workflow, probe):
    workflow.model = model = workflow.model.clone()

    def by_cond(executor, x, t, *args, **kwargs):
        """Half of the rows are those that cond_or_uncond and uuids name, as most such code takes for granted."""
        options = next(given for given in (*args, *kwargs.values()) if isinstance(given, dict) and "uuids" in given)
        assert len(options["uuids"]) == len(options["cond_or_uncond"]) and x.shape[0] % len(options["uuids"]) == 0
        rows = torch.tensor(options["cond_or_uncond"]).repeat_interleave(x.shape[0] // len(options["uuids"]))
        return executor(x, t, *args, **kwargs) * (1 + 0.01 * rows[:, None, None, None])

    def scaled(executor, *args, **kwargs):
        return executor(*args, **kwargs) * 1.02

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "other", by_cond)
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "other", scaled)
    model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "other", scaled)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "other", scaled)
    model.set_model_unet_function_wrapper(lambda apply, given: apply(given["input"], given["timestep"], **given["c"]))
    model.set_model_sampler_post_cfg_function(lambda given: given["denoised"] * 0.99)
    model.model_options["transformer_options"]["optimized_attention_override"] = lambda func, *args, **kwargs: (
        func(*args, **kwargs) * 0.9
    )
    check(workflow, probe)


class HalfWay(comfy.samplers.CFGGuider):
    """A guider of its own: three prompts, mixed by the step."""

    def predict_noise(self, x, timestep, model_options={}, seed=None):  # noqa: B006
        conds = [self.conds[name] for name in ("positive", "negative", "middle")]
        options = (x, timestep, model_options)
        positive, negative, middle = comfy.samplers.calc_cond_batch(self.inner_model, conds, *options)
        return negative + (positive - negative) * self.cfg + (middle - negative) * 0.5


def test_a_guider_of_its_own(workflow, probe):
    guider = HalfWay(workflow.model)
    guider.inner_set_conds(
        {"positive": workflow.positive, "negative": workflow.negative, "middle": random_conditioning(9, tokens=7)}
    )
    guider.set_cfg(2.0)
    sampling = workflow.model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", 6)
    sampler = comfy.samplers.sampler_object("euler_ancestral")
    candidates = [guider_candidate(seed, guider, sampler, sigmas, workflow.latent) for seed in SEEDS]
    result = searched(workflow.model, candidates, probe)
    for latent, row in zip(result.latents, result.survivors, strict=True):
        with torch.inference_mode():
            noise = comfy.sample.prepare_noise(workflow.latent["samples"], SEEDS[row])
            alone = guider.sample(noise, workflow.latent["samples"], sampler, sigmas, seed=SEEDS[row])
        assert relative_error(latent[None], alone) < 1e-5


def test_guidance_embedding_of_flux(probe):
    model = random_flux(hidden_size=128, depth=1, depth_single_blocks=1, guidance_embed=True)
    workflow = Workflow(model, {"samples": torch.zeros(1, 16, 8, 8)}, cfg=1.0)
    workflow.positive = node_helpers.conditioning_set_values(workflow.positive, {"guidance": 2.5})
    check(workflow, probe)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_close_as_another_batch_size_is(probe, dtype):
    """Against KSampler alone; the yardstick is the same rows in a plain batch of three."""
    model = random_flux(hidden_size=128, depth=1, depth_single_blocks=1, dtype=dtype)
    workflow = Workflow(model, {"samples": torch.zeros(1, 16, 8, 8)}, sampler="euler")
    single = workflow.alone(SEEDS[0])
    model.model.manual_cast_dtype = dtype  # on the CPU ComfyUI would compute in fp32
    assert relative_error(workflow.alone(SEEDS[0]), single) > 1e-4
    result = searched(model, [workflow.candidate(seed) for seed in SEEDS], probe, survivors=3)
    alone = torch.cat([workflow.alone(seed) for seed in SEEDS])
    batch = batched(workflow)
    found = result.latents[[result.survivors.index(row) for row in range(3)]]
    assert relative_error(found, alone) <= 2 * relative_error(batch, alone) + 1e-5


@torch.inference_mode()
def batched(workflow):
    from diffusion_probe.engine.runs.seeds import use_seeds

    latent = {"samples": workflow.latent["samples"].repeat(3, 1, 1, 1)}
    settings = (workflow.steps, workflow.cfg, workflow.sampler, workflow.scheduler)
    given = (*settings, workflow.positive, workflow.negative, latent, 1.0)
    return comfy_nodes.KSampler().sample(use_seeds(workflow.model, SEEDS), SEEDS[0], *given)[0]["samples"]
