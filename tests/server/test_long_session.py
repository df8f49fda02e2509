"""A server holds no more after many prompts than after its first ones."""

from pathlib import Path

import pytest

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
