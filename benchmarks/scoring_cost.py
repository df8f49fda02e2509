"""What scoring the seeds of a prompt takes, beside sampling them to 20 % of a run."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusion_probe.probe_models.probe import CaptureAll, Probe

from benchmarks.candidates import Testbed

STEP, ROUNDS = 5, 7


@torch.inference_mode()
def measure(
    testbed: Testbed,
    seed: int,
    rows: int,
    probes: Mapping[str, Callable[[Testbed, str], Probe]],
    projection: torch.Tensor | None,
) -> dict[str, Any]:
    """Medians of processor time over rounds, everything once in each.

    Args:
        seed: of the prompt.
        rows: seeds that are sampled and scored together.
        probes: by name, how each is made for a prompt.
        projection: of activations, see :class:`probe.Probe`.
    """
    prompt, seeds = testbed.prompts(1, seed)[0], range(rows)
    features = testbed.features(prompt, seeds, [STEP], CaptureAll(projection))[STEP]
    made = {name: make(testbed, prompt) for name, make in probes.items()}
    run = "partial run"
    spent: dict[str, list[float]] = {name: [] for name in (run, *made)}
    for _ in range(ROUNDS):
        for name, seconds in spent.items():
            start = time.process_time()
            if name == run:
                testbed.latents(testbed.model, prompt, seeds, last_step=STEP)
            else:
                made[name].score(features)
            seconds.append(time.process_time() - start)
    medians = {name: statistics.median(seconds) for name, seconds in spent.items()}
    sampling = medians.pop(run)
    return {
        "step": STEP,
        "rows": rows,
        "partial_run_seconds": sampling,
        "probes": {
            name: {"ms_per_row": 1000 * seconds / rows, "share_of_partial_run": seconds / sampling}
            for name, seconds in medians.items()
        },
    }
