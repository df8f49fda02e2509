"""Cost of the search engine beside a plain batch, with models of real dimensions at 1024².

Every candidate goes to the end, so the engine and a plain batched KSampler run do the same work. They
take turns, and a ratio is that of the two in one round. Weights are random: nothing is said of images.
"""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import comfy.sample
import torch
from diffusion_probe.engine.runs.seeds import batch_noise
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.hub.hub import Hub
from diffusion_probe.engine.seed_search.policies.by_name import CUT_SHARE, cut_moment
from torch import Tensor
from torch._subclasses import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor
from tqdm import trange

from benchmarks.lib.real_size import MIB, REAL_SIZES, Peak, RealSize, need_gpu, on_gpu

STEPS = 25
CANDIDATES = {"flux": 4, "sdxl": 8}


class Runs:
    """The same seeds in the engine and in a plain batch."""

    def __init__(self, real: RealSize, candidates: int, seed: int, steps: int = STEPS, model: Any = None):
        self.model = real.build(seed) if model is None else model
        self.steps, self.seeds, self.pause = steps, range(seed, seed + candidates), cut_moment(steps, CUT_SHARE)
        self.settings = (steps, real.cfg, "euler", "simple", *real.conditioning(seed))
        self.latent = torch.zeros(1, *real.latent)

    def plain(self, seeds: Sequence[int]) -> Tensor:
        """Sample all rows in one KSampler run."""
        latent = self.latent.repeat(len(seeds), 1, 1, 1)
        noise = batch_noise(latent, seeds)
        return comfy.sample.sample(self.model, noise, *self.settings, latent, disable_pbar=True, seed=seeds[0])

    def hub(self, seeds: Sequence[int]) -> Hub:
        """Return a hub with candidates that haven't started."""
        hub = Hub(self.model)
        for seed in seeds:
            candidate = ksampler_candidate(seed, *self.settings, {"samples": self.latent})
            hub.add(lambda candidate=candidate: candidate.sample(hub.model, lambda *_: None))
        return hub

    def engine(self, seeds: Sequence[int]) -> Tensor:
        """Sample all candidates to the end, with one pause on the way."""
        hub = self.hub(seeds)
        try:
            hub.advance(dict.fromkeys(hub.runs, self.pause))
            hub.advance(dict.fromkeys(hub.runs, self.steps))
            hub.close(keep=hub.runs)
        finally:
            hub.close()
        return torch.cat([run.result for run in hub.runs])

    def suspended_bytes(self) -> dict[str, float]:
        """Return the bytes that one paused candidate holds, by device: those of all, less those of one alone."""
        held = []
        for seeds in (self.seeds, self.seeds[:1]):
            hub = self.hub(seeds)
            try:
                hub.advance(dict.fromkeys(hub.runs, self.pause))
                held.append(tensor_bytes())
            finally:
                hub.close()
        return {kind: (held[0][kind] - held[1][kind]) / (len(self.seeds) - 1) for kind in held[0]}

    def model_rows(self) -> int:
        """Count the model rows of one run of all seeds, and so of a plain batch."""
        hub = self.hub(self.seeds)
        try:
            hub.advance(dict.fromkeys(hub.runs, self.steps))
            return sum(run.model_rows for run in hub.runs)
        finally:
            hub.close()


def tensor_bytes() -> dict[str, int]:
    """Count the bytes of all tensors that exist, on the CPU and on the GPU, each storage once."""
    gc.collect()
    tensors = [one for one in gc.get_objects() if issubclass(type(one), Tensor)]
    # Tensors that torch.compile traces with have no memory and no data pointer.
    storages = [one.untyped_storage() for one in tensors if not isinstance(one, FakeTensor | FunctionalTensor)]
    sizes = {(one.device.type, one.data_ptr()): one.nbytes() for one in storages}
    return {kind: sum(size for (at, _), size in sizes.items() if at == kind) for kind in ("cpu", "cuda")}


def timed(run: Callable[[], Any]) -> tuple[float, float, Any]:
    """Run a function; return its seconds, peak MiB and result."""
    peak = Peak()
    peak.reset()
    start = time.perf_counter()
    result = run()
    if on_gpu():
        torch.cuda.synchronize()
    return time.perf_counter() - start, peak.megabytes(), result


def difference(a: Tensor, b: Tensor) -> float:
    """Return the largest difference as a share of the largest value."""
    return float((a.float() - b.float()).abs().max() / b.float().abs().max())


@torch.inference_mode()
def compare(runs: Runs, rounds: int) -> dict[str, Any]:
    """Return rows per second, peak memory and results of engine and plain batch."""
    rows, alone = runs.model_rows(), runs.plain(runs.seeds[:1])  # these warm up, too
    both = {"plain batch": runs.plain, "engine": runs.engine}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in both}
    distances = {}
    for _ in trange(rounds, desc="rounds", mininterval=2):
        for name, run in both.items():
            seconds, peak, latents = timed(lambda run=run: run(runs.seeds))
            spent[name].append((seconds, peak))
            distances[name] = difference(latents[:1], alone)
    ratios = [plain[0] / mine[0] for plain, mine in zip(spent["plain batch"], spent["engine"], strict=True)]
    return {
        "candidates": len(runs.seeds),
        "model_rows": rows,
        "rows_per_second": {name: rows / statistics.median(s for s, _ in of) for name, of in spent.items()},
        "of_plain_batch": statistics.median(ratios),
        "of_plain_batch_range": [min(ratios), max(ratios)],
        "peak_mb": {name: max(peak for _, peak in of) for name, of in spent.items()},
        "difference_from_alone": distances,
        "suspended_mb": {kind: size / MIB for kind, size in runs.suspended_bytes().items()},
    }


def measure(name: str, rounds: int, seed: int) -> dict[str, Any]:
    """Measure FLUX.1-dev or SDXL.

    Raises:
        SystemExit: there is no GPU.
    """
    need_gpu()
    real = REAL_SIZES[name]
    figures = compare(Runs(real, CANDIDATES[name], seed), rounds)
    return {"model": name, "dimensions": real.about, "latent": real.latent, "cfg": real.cfg, "steps": STEPS, **figures}
