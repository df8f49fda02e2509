"""A long session holds no more at its end than after its first prompts."""

import gc
import weakref

import pytest
import torch
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.engine.runs.keys import RECORDING
from diffusion_probe.engine.selection.pruning import PruneRule

PROMPTS = 200


@pytest.mark.long
def test_one_attached_model_keeps_no_more_than_its_limits_over_many_runs(flux, ksampler, probe):
    model = attach_probe(flux, probe, "step 1", PruneRule(top_k=1))
    store = model.get_attachment(RECORDING).store
    store.limit_rows, rows, peak = 20, 2, 0
    for seed in range(PROMPTS):
        latent = ksampler(model, seed=seed, steps=2, cfg=1.0, rows=rows)
        assert len(store) <= 20 and len(store._by_key) <= 2 * len(store)
        peak = max(peak, store.size())
    newest = captured(model, {"samples": latent})
    assert len(store) == 20 and len(newest) == rows
    per_row = sum(t.numel() * t.element_size() for t in (newest[0].attention, newest[0].denoised))
    assert peak == store.size() == 20 * per_row
    store.limit_bytes = 6 * per_row
    ksampler(model, seed=PROMPTS, steps=2, cfg=1.0, rows=rows)
    assert store.size() <= store.limit_bytes and len(store) == 6


@pytest.mark.parametrize("rule", [None, PruneRule(top_k=1)])
def test_an_attached_model_that_nobody_holds_is_released_with_its_records(flux, ksampler, probe, rule):
    model = attach_probe(flux, probe, "step 1", rule)
    latent = ksampler(model, steps=3)
    attachment = model.get_attachment(RECORDING)
    (tensor,) = {row.denoised for row in captured(model, {"samples": latent})[:1]}
    gone = [weakref.ref(thing) for thing in (model, attachment, attachment.store, tensor)]
    del model, attachment, tensor
    gc.collect()
    assert [ref() for ref in gone] == [None] * 4
    assert torch.equal(ksampler(flux, steps=3)[:1], ksampler(flux, steps=3)[:1])
