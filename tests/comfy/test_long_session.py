"""A long session holds no more at its end than after its first prompts."""

import gc
import weakref
from pathlib import Path

import pytest
import torch
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.engine.runs.keys import RECORDING
from diffusion_probe.engine.selection.pruning import PruneRule

PROMPTS = 200
WARM_UP = 50
MOST_GROWTH_MB = 20
"""From prompt 50 to prompt 200. The records of one prompt take .33 MB, so keeping them all would be 49 MB."""

PROMPT = "a small red circle to the left of a large blue square and above a green triangle"

GRAPH = {
    "model": {"class_type": "DiffusionProbeLoadTestbedModel", "inputs": {"name": "flux"}},
    "words": {"class_type": "CLIPTextEncode", "inputs": {"text": PROMPT, "clip": ["model", 1]}},
    "focus": {"class_type": "DiffusionProbeAttentionFocus", "inputs": {}},
    "empty": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 256, "height": 256, "batch_size": 2}},
    "sample": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["probe", 0], "positive": ["words", 0], "negative": ["words", 0], "latent_image": ["empty", 0],
            "seed": 0, "steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0,
        },
    },
    "score": {"class_type": "DiffusionProbeScore", "inputs": {"latent": ["sample", 0], "model": ["probe", 0]}},
    "shown": {"class_type": "PreviewAny", "inputs": {"source": ["score", 1]}},
}  # fmt: skip

SEEDS = {"class_type": "DiffusionProbeSeedBatch", "inputs": {"count": 2, "seeds": "", "model": ["model", 0]}}
PROBED = {"model": ["seeds", 1], "probe": ["focus", 0]}
LIMITS = {"top_k": 1, "threshold_on": "off", "threshold": 0.0, "unskilled_scores": "use anyway"}
ATTACH = {"class_type": "DiffusionProbeAttachProbe", "inputs": {**PROBED, "moments": "step 1"}}
PRUNE = {"class_type": "DiffusionProbePruneInFlight", "inputs": {**PROBED, "moment": "step 1", **LIMITS}}


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def grown_mb(sizes: list[float]) -> float:
    """Between warm-up and end, by the medians of ten readings: one reading jumps with the allocator."""
    first, last = sizes[WARM_UP : WARM_UP + 10], sizes[-10:]
    return sorted(last)[5] - sorted(first)[5]


@pytest.mark.long
@pytest.mark.benchmark
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_the_servers_memory_stays_flat_over_many_prompts(server, client):
    """Every prompt has seeds of its own, so each has a patched MODEL and a run of its own; every second one prunes."""
    sizes = []
    for prompt in range(PROMPTS):
        graph = {**GRAPH, "probe": PRUNE if prompt % 2 else ATTACH}
        graph["seeds"] = {**SEEDS, "inputs": {**SEEDS["inputs"], "first_seed": 10_000 + 2 * prompt}}
        outputs = client.run(graph)
        (shown,) = outputs["score"]["diffusion_probe"]
        assert [row.get("dropped_at", "") for row in shown["rows"]].count("step 1") == prompt % 2
        sizes.append(resident_mb(server.process.pid))
    assert grown_mb(sizes) < MOST_GROWTH_MB, sizes[::10]


@pytest.mark.long
def test_one_attached_model_keeps_no_more_than_its_limits_over_many_runs(flux, ksampler, probe):
    model = attach_probe(flux, probe, "step 1", PruneRule(top_k=1))
    store = model.get_attachment(RECORDING).store
    store.limit_rows, rows, peak = 20, 2, 0
    for seed in range(PROMPTS):
        latent = ksampler(model, seed=seed, steps=2, cfg=1.0, rows=rows)
        assert len(store) <= 20 and len(store._by_key) <= 2 * len(store)
        peak = max(peak, store.bytes())
    newest = captured(model, {"samples": latent})
    assert len(store) == 20 and len(newest) == rows
    per_row = sum(t.numel() * t.element_size() for t in (newest[0].attention, newest[0].denoised))
    assert peak == store.bytes() == 20 * per_row
    store.limit_bytes = 6 * per_row
    ksampler(model, seed=PROMPTS, steps=2, cfg=1.0, rows=rows)
    assert store.bytes() <= store.limit_bytes and len(store) == 6


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
