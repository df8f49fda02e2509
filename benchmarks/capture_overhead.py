"""Cost in time and memory of capturing one moment of a 25-step run.

``python -m benchmarks.capture_overhead --model {flux,sdxl} --seed S --out FILE.json``; with ``--record`` what
recording all there is costs.

Plain and patched runs alternate in one process, a plain one at both ends, and every patched run is
compared with the mean of its two neighbours, so that a machine that gets slower or faster meanwhile
cancels out. The final latents of each pair have to be bit-identical.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.sample
import torch
from diffusion_probe.dev.testbed_training.train import FAMILIES
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.engine.core.probe import CaptureAll
from diffusion_probe.probe_models.focus import AttentionFocus
from tqdm import trange

from benchmarks.lib import report
from benchmarks.lib.candidates import Testbed, candidate_seeds
from benchmarks.lib.real_size import MIB, REAL_SIZES, Peak, need_gpu, on_gpu

STEPS = 25
MOMENT = "20%"
RECORDED = "8%, 20%, 40%, 60%"
"""Moments that Attach Recorder offers by default."""


@dataclass(frozen=True)
class Job:
    """A MODEL and everything that one run of it needs; ``run`` returns the final latents of a MODEL."""

    model: Any
    run: Callable[[Any], torch.Tensor]
    about: dict[str, Any]


def testbed_job(name: str, rows: int, seed: int) -> Job:
    """Build a batch of the trained testbed model, sampled as by its workflow."""
    testbed = Testbed.load(name)
    prompt = testbed.prompts(1, seed)[0]
    seeds = candidate_seeds(seed, 0, rows)
    return Job(
        model=testbed.model,
        run=lambda model: testbed.latents(model, prompt, seeds),
        about={"dimensions": "testbed", "rows": rows, **testbed.settings},
    )


def real_size_job(name: str, rows: int, seed: int, steps: int = STEPS) -> Job:
    """Build a run of a model of real dimensions with random weights, 1024²; without a GPU see ``FEW_BLOCKS``."""
    real = REAL_SIZES[name]
    positive, negative = real.conditioning(seed)
    latent = torch.zeros((rows, *real.latent))

    def run(model: Any) -> torch.Tensor:
        noise = comfy.sample.prepare_noise(latent, seed)
        job = (model, noise, steps, real.cfg, "euler", "simple", positive, negative, latent)
        return comfy.sample.sample(*job, disable_pbar=True, seed=seed)

    about = {"dimensions": real.about, "rows": rows, "latent": real.latent, "text": real.text, "cfg": real.cfg}
    return Job(real.build(seed), run, {**about, "steps": steps})


@dataclass(frozen=True)
class Run:
    """Wall-clock and processor seconds, peak memory in MiB, and the final latents of one run."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    latents: torch.Tensor


def measure(job: Job, model: Any) -> Run:
    """Run ``job`` once on ``model``, which is the plain MODEL or a patched clone."""
    peak = Peak()
    peak.reset()
    start, cpu_start = time.perf_counter(), time.process_time()
    latents = job.run(model)
    if on_gpu():
        torch.cuda.synchronize()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return Run(seconds, cpu_seconds, peak.megabytes(), latents)


def patched_run(job: Job, record: bool) -> tuple[Run, int]:
    """Run a fresh clone, so that no earlier record is held; return the run and the bytes of its record."""
    probe, moments = (CaptureAll(), RECORDED) if record else (AttentionFocus(), MOMENT)
    model = attach_probe(job.model, probe, moments)
    run = measure(job, model)
    rows = [row for moment in moments.split(", ") for row in captured(model, {"samples": run.latents}, moment)]
    return run, sum(tensor.nbytes for row in rows for tensor in row.tensors())


def compare(plain: list[Run], patched: list[Run]) -> dict[str, Any]:
    """Return the figures of ``len(patched)`` runs, each of which was measured between two of the plain ones."""
    around = list(zip(plain, plain[1:]))
    ratios = [p.seconds / statistics.mean(n.seconds for n in pair) for p, pair in zip(patched, around)]
    cpu = [p.cpu_seconds / statistics.mean(n.cpu_seconds for n in pair) for p, pair in zip(patched, around)]
    extra = [p.peak_mb - statistics.mean(n.peak_mb for n in pair) for p, pair in zip(patched, around)]
    return {
        "ratio_median": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "ratio_of_fastest": min(p.seconds for p in patched) / min(p.seconds for p in plain),
        "cpu_ratio_median": statistics.median(cpu),
        "extra_peak_mb": statistics.median(extra),
        "extra_peak_mb_max": max(extra),
        "plain_seconds_median": statistics.median(p.seconds for p in plain),
        "bit_identical": all(torch.equal(p.latents, plain[0].latents) for p in [*plain, *patched]),
        "ratios": ratios,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the result file; return the exit status, 1 where latents differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capture_overhead", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=FAMILIES, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=15, help="patched runs, each between two plain ones")
    parser.add_argument("--rows", type=int, help="rows in the batch; 16, with --real-size 1")
    parser.add_argument("--real-size", action="store_true", help="random weights, real dimensions, 1024², GPU")
    parser.add_argument("--record", action="store_true", help="all that Record Probe Data needs, at four moments")
    args = parser.parse_args(arguments)
    if args.rounds < 1:
        raise SystemExit(f"--rounds {args.rounds}: at least 1 is needed.")
    if args.real_size:
        need_gpu()
    make = real_size_job if args.real_size else testbed_job
    job = make(args.model, args.rows or (1 if args.real_size else 16), args.seed)
    with torch.inference_mode():  # as every prompt in ComfyUI's server
        measure(job, job.model), patched_run(job, args.record)  # warm up: the model is loaded, kernels are chosen
        plain, patched, stored = [measure(job, job.model)], [], 0
        for _ in trange(args.rounds, desc="rounds", mininterval=2):
            run, stored = patched_run(job, args.record)
            patched.append(run)
            plain.append(measure(job, job.model))
    figures = compare(plain, patched)
    record = {
        "model": args.model,
        "moment": RECORDED if args.record else MOMENT,
        **job.about,
        "rounds": args.rounds,
        **figures,
    }
    report.write(args.out, {**record, "stored_mb": stored / MIB}, "benchmarks.capture_overhead", args.seed)
    same = "equal" if figures["bit_identical"] else "DIFFERENT"
    print(
        f"time x{figures['ratio_median']:.4f} (processor x{figures['cpu_ratio_median']:.4f}), "
        f"memory {figures['extra_peak_mb']:+.1f} MB, latents {same}"
    )
    return 0 if figures["bit_identical"] else 1


if __name__ == "__main__":
    sys.exit(main())
