"""Samplers of which the noise level of each evaluation is known from the schedule, found by running all of them."""

import comfy.samplers
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from diffusion_probe.engine.core.samplers import AT_STEPS, sampler_name
from diffusion_probe.engine.seed_search.hub.hub import evaluates_at_steps

STEPS = 5


@pytest.mark.parametrize("name", comfy.samplers.KSampler.SAMPLERS)
def test_the_table_says_which_samplers_evaluate_once_in_each_step(small_model, name):
    small, seen, schedules, samplers = small_model("SD1.5"), [], [], []
    model = small.model.clone()

    def sampler_sample(executor, guider, sigmas, *args, **kwargs):
        samplers.append(executor.class_obj)
        schedules.append(sigmas.tolist())
        return executor(guider, sigmas, *args, **kwargs)

    def predict_noise(executor, x, timestep, *args, **kwargs):
        seen.append(float(timestep[0]))
        return executor(x, timestep, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, "test", sampler_sample)
    model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "test", predict_noise)
    small.sample(model, rows=1, steps=STEPS, sampler=name, scheduler="karras")
    assert (seen == schedules[0][:-1]) == (sampler_name(samplers[0]) in AT_STEPS)
    assert evaluates_at_steps(samplers[0]) == (seen == schedules[0][:-1])


def test_churn_and_samplers_of_others_are_not_trusted():
    assert evaluates_at_steps(comfy.samplers.ksampler("euler"))
    assert not evaluates_at_steps(comfy.samplers.ksampler("euler", {"s_churn": 0.5}))

    def sample_euler(model, x, sigmas, **options):
        return torch.zeros_like(x)

    assert not evaluates_at_steps(comfy.samplers.KSAMPLER(sample_euler)), "its name is that of ComfyUI's"
