"""Memory of runs in a hub: few hold the outputs of ControlNets at a time, and texts are kept once."""

import pytest
import torch
from diffusion_probe.dev.random_models import random_flux, random_sdxl
from diffusion_probe.engine.core.probe import CaptureAll
from diffusion_probe.engine.seed_search.hub import hub as hub_module
from diffusion_probe.engine.seed_search.hub.call_plan import control_bytes
from diffusion_probe.engine.seed_search.policies.by_name import HALVING, ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.search import SearchOptions, seed_search

import nodes as comfy_nodes
from support.compare import relative_error
from support.ksampler import Workflow, small_control_net

ROWS_OF_A_RUN = 2  # with CFG


@pytest.fixture
def workflow():
    workflow = Workflow(random_sdxl(), {"samples": torch.zeros(1, 4, 8, 8)}, sampler="euler")
    hint = torch.rand(1, 64, 64, 3, generator=torch.manual_seed(2))
    workflow.positive, workflow.negative = comfy_nodes.ControlNetApplyAdvanced().apply_controlnet(
        workflow.positive, workflow.negative, small_control_net(), hint, 0.6, 0.0, 1.0
    )
    return workflow


@pytest.mark.parametrize("per_call", [1, 2])
def test_no_more_runs_hold_outputs_than_share_a_call(workflow, probe, per_call, monkeypatch):
    held, serve = [], hub_module.Hub._serve

    def counted(hub, waiting):
        held.append(sum(control_bytes(run.waiting) > 0 for run in hub.runs if run.waiting is not None))
        return serve(hub, waiting)

    monkeypatch.setattr(hub_module.Hub, "_serve", counted)
    seeds = range(5, 10)
    with torch.inference_mode():
        found = [workflow.candidate(seed) for seed in seeds]
        options = SearchOptions(max_rows=ROWS_OF_A_RUN * per_call)
        result = seed_search(
            workflow.model, found, probe, lambda steps: policy_named(ONE_CUT, steps, 5, 3, share=0.5), 3, options
        )
    assert held and max(held) == per_call
    assert len(result.survivors) == 3
    for latent, row in zip(result.latents, result.survivors, strict=True):
        assert relative_error(latent[None], workflow.alone(seeds[row])) < 1e-5


def test_the_text_of_a_prompt_is_kept_once_for_all_candidates_and_looks():
    workflow = Workflow(
        random_flux(hidden_size=128, depth=1, depth_single_blocks=1), {"samples": torch.zeros(1, 16, 8, 8)}
    )
    seen = []

    class Reader(CaptureAll):
        def score(self, rows):
            seen.extend(row.text for row in rows)
            return torch.arange(float(len(rows)))

    with torch.inference_mode():
        found = [workflow.candidate(seed) for seed in range(5, 9)]
        seed_search(workflow.model, found, Reader(), lambda steps: policy_named(HALVING, steps, 4, 1, 3 * steps), 1)
    assert len(seen) > 4 and len({text.data_ptr() for text in seen}) == 1
    assert torch.equal(seen[0], workflow.positive[0][0][0].half())
