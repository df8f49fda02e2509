"""Muon in float32, beside torch's own, which multiplies in bfloat16."""

import copy

import pytest
import torch
from diffusion_probe.training.fitting.muon import SinglePrecisionMuon


def stepped(kind, shape, state=None, steps=3, **settings):
    generator = torch.Generator().manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(shape, generator=generator))
    optimizer = kind([parameter], lr=0.02, weight_decay=0.01, **settings)
    if state is not None:
        optimizer.load_state_dict(copy.deepcopy(state))
    for _ in range(steps):
        parameter.grad = torch.randn(shape, generator=generator)
        optimizer.step()
    return parameter.detach(), optimizer


@pytest.mark.parametrize("settings", [{"adjust_lr_fn": "match_rms_adamw"}, {}, {"nesterov": False}])
@pytest.mark.parametrize("shape", [(16, 48), (48, 16)])
def test_it_takes_the_steps_of_torchs_muon_but_for_rounding(shape, settings):
    start, _ = stepped(torch.optim.Muon, shape, steps=0)
    theirs, _ = stepped(torch.optim.Muon, shape, **settings)
    ours, _ = stepped(SinglePrecisionMuon, shape, **settings)
    assert (ours - theirs).norm() < 0.02 * (theirs - start).norm()


def test_it_goes_on_from_the_state_of_torchs_muon_and_the_other_way_round():
    def momentum(optimizer):
        (state,) = optimizer.state_dict()["state"].values()
        return state["momentum_buffer"]

    (theirs, ours) = (stepped(kind, (8, 8))[1] for kind in (torch.optim.Muon, SinglePrecisionMuon))
    assert torch.equal(momentum(theirs), momentum(ours))
    _, on_ours = stepped(SinglePrecisionMuon, (8, 8), state=theirs.state_dict())
    _, on_theirs = stepped(torch.optim.Muon, (8, 8), state=ours.state_dict())
    assert torch.equal(momentum(on_ours), momentum(on_theirs))
    assert not torch.equal(momentum(on_ours), momentum(ours)), "it began from what was there"
