"""Distance from the full run of runs in which part of the evaluations is predicted.

``python -m benchmarks.step_cache --model {flux,sdxl} --seed S --out FILE.json``

Every method samples the same held-out prompts from the same seeds. Compared with the full run of the
same number of steps, per image and then averaged (``_max``: the worst image):

- ``rel_l2``: ‖latent − full latent‖ / ‖full latent‖ of the final latents, and ``ratio`` to reuse.
- ``trajectory``: the same over all latents on the way.
- ``psnr``: of the decoded images, dB; ``ssim``: their structural similarity.
- ``score``: mean ground truth of the testbed's scorer; ``score_change``: mean relative to the full run's, with its
  paired standard error.
- ``nfe``: evaluations in which the model really ran, counted inside of every cache.

The predictors, Taylor and the published formula share one plan, so they have equal evaluations. ``published_parts``
is the default with modulation, stages and indicator on, ``tc_pade`` all of TC-Padé with the printed coefficients; their
gate may compute more. In the rows
``_even`` as many steps are computed at equal distances, as published.
``fewer_steps`` is the plain sampler with as many steps as the preset has evaluations. EasyCache
decides by itself when to compute; its threshold is varied.

``cost`` is what a predicted evaluation takes as a share of a computed one, wrappers included: medians
within the same runs, so another load on the machine touches both. With ``--real-size`` only that is
measured; on a GPU with ``overhead``, too, the time of a run whose cache keeps anchors and predicts nothing
as a share of a plain one's, and the memory that the anchors take.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from diffusion_probe.engine.step_cache.config import INTERVALS, StepCacheConfig
from diffusion_probe.engine.step_cache.hook import apply_step_cache
from diffusion_probe.testbed import sample, scorer
from torch import Tensor
from tqdm import tqdm

from benchmarks.capture_overhead import Job, measure, real_size_job
from benchmarks.lib import report
from benchmarks.lib.candidates import Testbed, candidate_seeds
from benchmarks.lib.pages.step_cache import error_table
from benchmarks.lib.peers import (
    PUBLISHED,
    TAYLOR1,
    TAYLOR2,
    RememberingCounter,
    as_published,
    easy_cache,
    unbounded,
    with_published_parts,
)
from benchmarks.lib.real_size import on_gpu, seconds_spent
from benchmarks.lib.ssim import ssim

STEP_COUNTS = (20, 28)
THRESHOLDS = (0.02, 0.05, 0.1, 0.2)
COST_ROUNDS = 12
REAL_ROUNDS = 3
FEW_STEPS = 6
"""Steps of a run at real size without a GPU, where a step takes a minute."""

AT_EQUAL_EVALUATIONS: dict[str, Callable[[int], StepCacheConfig]] = {
    "reuse": lambda interval: StepCacheConfig(interval=interval, predictor="reuse"),
    "taylor1": lambda interval: unbounded(TAYLOR1, interval),
    "taylor2": lambda interval: unbounded(TAYLOR2, interval),
    "newton2": lambda interval: StepCacheConfig(interval=interval, predictor="newton2"),
    "pade11": lambda interval: StepCacheConfig(interval=interval, predictor="pade11"),
    "reuse_even": lambda interval: StepCacheConfig(interval=interval, predictor="reuse", even=True),
    "pade11_even": lambda interval: StepCacheConfig(interval=interval, predictor="pade11", even=True),
    "published": lambda interval: unbounded(PUBLISHED, interval),
    "published_parts": with_published_parts,
    "tc_pade": as_published,
}
IN_BLOCKS = {"pade11_blocks": lambda interval: StepCacheConfig(interval=interval, predictor="pade11", space="blocks")}


@dataclass(frozen=True)
class Sampled:
    """Runs of one method: final latents, latents on the way ``[steps, rows, ...]``, evaluations, images, scores."""

    latents: Tensor
    path: Tensor
    nfe: int
    images: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Bench:
    """Prompts and seeds that every method samples."""

    testbed: Testbed
    prompts: Sequence[str]
    seeds: Sequence[int]

    memory: dict[float, list[tuple[Tensor, Tensor, Tensor]]] = field(default_factory=dict)

    def sample(self, model: Any, steps: int, memory: bool = True) -> Sampled:
        """Sample all rows in one batch; with ``memory`` outputs that an earlier run computed of the same latents are
        reused."""
        counter, path = RememberingCounter(self.memory if memory else None), []
        latents = sample.sample_latents(
            counter.on(model), self.testbed.clip, self.prompts, self.seeds, steps=steps,
            callback=lambda step, x0, x, total: path.append(x.clone()),
        )  # fmt: skip
        images = self.testbed.decode(latents)
        return Sampled(latents, torch.stack(path), counter.computed, images, scorer.score(images, list(self.prompts)))


def relative(a: Tensor, b: Tensor, rows: int) -> Tensor:
    """Return ‖a − b‖ / ‖b‖ of each row; ``rows`` is the dimension that counts them."""
    difference, size = ((t.movedim(rows, 0).flatten(1).norm(dim=1)) for t in (a - b, b))
    return difference / size


def row(method: str, preset: str, steps: int, run: Sampled, full: Sampled, reuse: Sampled | None) -> dict[str, Any]:
    """Return the figures of one method."""
    error = relative(run.latents, full.latents, 0)
    mse = (run.images - full.images).square().flatten(1).mean(1)
    change = run.scores - full.scores
    return {
        "method": method,
        "preset": preset,
        "steps": steps,
        "nfe": run.nfe,
        "rel_l2": float(error.mean()),
        "rel_l2_max": float(error.max()),
        "rel_l2_median": float(error.median()),
        "ratio": float(error.mean() / relative(reuse.latents, full.latents, 0).mean()) if reuse else None,
        "trajectory": float(relative(run.path, full.path, 1).mean()) if run.path.shape == full.path.shape else None,
        "ssim": float(ssim(run.images, full.images).mean()),
        "psnr": float((-10 * mse.clamp_min(1e-10).log10()).mean()),
        "score": float(run.scores.mean()),
        "score_change": float(change.mean() / full.scores.mean()),
        "score_change_se": float(change.std() / len(change) ** 0.5 / full.scores.mean()),
    }


def rows_for(bench: Bench, steps: int, methods: dict[str, Callable[[int], StepCacheConfig]]) -> list[dict[str, Any]]:
    """Measure all methods at one number of steps."""
    model = bench.testbed.model
    bench.memory.clear()
    full = bench.sample(model, steps)
    rows = [row("full", "", steps, full, full, None)]
    jobs = len(INTERVALS) * (len(methods) + 1) + len(THRESHOLDS)
    with tqdm(total=jobs, desc=f"{steps} steps", mininterval=2) as bar:
        for preset, interval in INTERVALS.items():
            reuse = None
            for method, config in methods.items():
                run = bench.sample(apply_step_cache(model, config(interval)), steps, memory=method not in IN_BLOCKS)
                reuse = reuse or run
                if method in IN_BLOCKS:  # the model is entered then, but its blocks don't run
                    run = replace(run, nfe=reuse.nfe)
                rows.append(row(method, preset, steps, run, full, reuse))
                bar.update()
            fewer = bench.sample(model, reuse.nfe, memory=False)
            rows.append({**row("fewer_steps", preset, steps, fewer, full, reuse), "trajectory": None})
            bar.update()
        for threshold in THRESHOLDS:
            run = bench.sample(easy_cache(model, threshold), steps)
            rows.append(row("easycache", f"threshold {threshold:g}", steps, run, full, None))
            bar.update()
    return rows


def evaluation_seconds(model: Any, job: Callable[[Any], Any], rounds: int) -> tuple[list[float], list[float]]:
    """Return processor seconds (wall clock on a GPU) of each computed and each predicted evaluation."""
    counter, spent = RememberingCounter(), {True: [], False: []}

    def timed(executor, *args, **kwargs):
        before, start = counter.computed, seconds_spent()
        result = executor(*args, **kwargs)
        spent[counter.computed > before].append(seconds_spent() - start)
        return result

    timed_model = model.clone()
    timed_model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "evaluation_clock", timed)
    timed_model = counter.on(timed_model)
    for _ in range(rounds + 1):  # the first warms up
        job(apply_step_cache(timed_model, StepCacheConfig()))
        if _ == 0:
            spent[True].clear(), spent[False].clear()
    return spent[True], spent[False]


def cost(model: Any, job: Callable[[Any], Any], rounds: int) -> dict[str, float]:
    """Return what a predicted evaluation costs, with the default settings."""
    computed, predicted = (statistics.median(values) for values in evaluation_seconds(model, job, rounds))
    return {"computed_seconds": computed, "predicted_seconds": predicted, "share": predicted / computed}


def overhead(job: Job, rounds: int) -> dict[str, Any]:
    """Return what the cache costs where everything is computed: plain and patched runs in turn."""
    patched = apply_step_cache(job.model, StepCacheConfig(veto=0.0))  # no real path is that straight
    pairs = [(measure(job, job.model), measure(job, patched)) for _ in range(rounds)]
    return {
        "ratio": statistics.median(cached.seconds / plain.seconds for plain, cached in pairs),
        "bit_identical": all(torch.equal(cached.latents, plain.latents) for plain, cached in pairs),
    }


def real_size(name: str, seed: int) -> dict[str, Any]:
    """Measure cost, overhead and memory at real dimensions with random weights; without a GPU the cost alone."""
    if not on_gpu():
        job = real_size_job(name, 1, seed, FEW_STEPS)
        return {**job.about, "cost": cost(job.model, job.run, rounds=1)}
    job = real_size_job(name, 1, seed)
    figures = cost(job.model, job.run, rounds=2)
    plain = measure(job, job.model)
    extra = {
        space: measure(job, apply_step_cache(job.model, StepCacheConfig(space=space))).peak_mb - plain.peak_mb
        for space in (("output", "blocks") if name == "flux" else ("output",))
    }
    return {**job.about, "cost": figures, "overhead": overhead(job, REAL_ROUNDS), "extra_peak_mb": extra}


def testbed_figures(name: str, seed: int, count: int, step_counts: Sequence[int]) -> dict[str, Any]:
    """Measure everything on a testbed model."""
    testbed = Testbed.load(name)
    bench = Bench(testbed, testbed.prompts(count, seed), [candidate_seeds(seed, p, 1)[0] for p in range(count)])
    one = Bench(testbed, bench.prompts[:1], bench.seeds[:1])
    methods = {**AT_EQUAL_EVALUATIONS, **(IN_BLOCKS if name == "flux" else {})}
    rows = [entry for steps in step_counts for entry in rows_for(bench, steps, methods)]

    def job(model: Any) -> None:
        sample.sample_latents(model, testbed.clip, one.prompts, one.seeds, steps=step_counts[0])

    settings = {**testbed.settings, "steps": step_counts, "seeds": count}
    return {"model": name, **settings, "rows": rows, "cost": cost(testbed.model, job, COST_ROUNDS)}


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the result file; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_cache", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=("flux", "sdxl"), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=32, help="images, each of another prompt")
    parser.add_argument("--steps", type=int, nargs="+", default=STEP_COUNTS, help="numbers of steps to measure")
    parser.add_argument(
        "--real-size",
        action="store_true",
        help="at real dimensions, random weights: cost; on a GPU overhead and memory, too",
    )
    args = parser.parse_args(arguments)
    with torch.inference_mode():  # as every prompt in ComfyUI's server
        if args.real_size:
            figures = {"model": args.model, **real_size(args.model, args.seed)}
        else:
            figures = testbed_figures(args.model, args.seed, args.seeds, args.steps)
    report.write(args.out, figures, "benchmarks.step_cache", args.seed)
    if not args.real_size:
        print(error_table(report.plain(figures)))
    print(f"a predicted evaluation costs {100 * figures['cost']['share']:.1f} % of a computed one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
