"""Promises of the pack on a graphics card, measured at real dimensions in minutes, each line with its bar.

``python -m benchmarks.gpu_lines --model {flux,sdxl} --seed S --out FILE.json``

Random weights at 1024². ``lines[]``: ``what``, ``value``, ``bar`` (null: none), ``least`` (whether the value has to be
at least the bar, else at most), ``kept``.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.model_management
import torch
from comfy.ldm.modules.diffusionmodules.model import Decoder
from comfy.taesd.taesd import TAESD
from diffusion_probe.engine.core import look_prices

from benchmarks.capture_overhead import compare as compare_captured
from benchmarks.capture_overhead import measure as run_job
from benchmarks.capture_overhead import patched_run, real_size_job
from benchmarks.lib import report, search_real_size
from benchmarks.lib.real_size import REAL_SIZES, on_gpu
from benchmarks.step_cache import cost

MODULE = "benchmarks.gpu_lines"
VAE_CONFIG = {
    "ch": 128, "out_ch": 3, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "in_channels": 3,
    "resolution": 256,
}  # fmt: skip
FAMILIES = {"flux": "FLUX", "sdxl": "SDXL"}


def line(what: str, value: float, bar: float | None = None, least: bool = False) -> dict[str, Any]:
    """Return one line."""
    kept = bar is None or (value >= bar if least else value <= bar)
    return {"what": what, "value": value, "bar": bar, "least": least, "kept": bool(kept)}


def seconds_of(run: Callable[[], Any], rounds: int) -> float:
    """Return the median seconds of a run, after one that warms up."""
    spent = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        run()
        if on_gpu():
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[1:])


def engine_lines(runs: search_real_size.Runs, rounds: int) -> list[dict[str, Any]]:
    """Return the speed of joined candidates beside a plain batch, and the rows of their calls."""
    figures = search_real_size.compare(runs, rounds)
    distances = figures["difference_from_alone"]
    return [
        line("engine's rows per second, of a plain batch", figures["of_plain_batch"], 0.95, least=True),
        line("first candidate's difference from its own run, of the plain batch's",
             distances["engine"] / max(distances["plain batch"], 1e-6), None),
        line("MiB of a paused candidate on the card", figures["suspended_mb"]["cuda"]),
    ]  # fmt: skip


def capture_lines(job: Any, rounds: int) -> list[dict[str, Any]]:
    """Return what one captured moment adds to a run."""
    with_capture, plain = [], [run_job(job, job.model)]
    patched_run(job, record=False)
    for _ in range(rounds):
        with_capture.append(patched_run(job, record=False)[0])
        plain.append(run_job(job, job.model))
    figures = compare_captured(plain, with_capture)
    return [
        line("time of a run with one captured moment, of a plain run", figures["ratio_median"], 1.03),
        line("MiB that capturing adds to the peak", figures["extra_peak_mb"], 64.0 if on_gpu() else None),
        line("latents of a captured run equal those of a plain one", float(figures["bit_identical"]), 1.0, least=True),
    ]


@torch.inference_mode()
def look_lines(model: str, evaluation: float, rounds: int) -> list[dict[str, Any]]:
    """Return what a decode takes in evaluations, and by how much that differs from its fixed price."""
    real, device = REAL_SIZES[model], comfy.model_management.get_torch_device()
    channels, *sides = real.latent
    dtype = torch.bfloat16 if on_gpu() else torch.float32
    pixels = 64 * sides[0] * sides[1]
    networks = {
        look_prices.VAE: Decoder(**VAE_CONFIG, z_channels=channels),
        look_prices.FAST: TAESD(latent_channels=channels).taesd_decoder,
    }
    lines = []
    for name, network in networks.items():
        network, latent = network.to(device, dtype).eval(), torch.zeros(1, *real.latent, device=device, dtype=dtype)
        took = seconds_of(lambda network=network, latent=latent: network(latent), rounds) / evaluation
        price = look_prices.look_price(FAMILIES[model], pixels, look_prices.look_tflop(name, pixels, 0.0))
        lines.append(line(f"evaluations that a decode by the {name} takes", took))
        lines.append(line(f"that, of its price in a budget ({price:.3f})", took / price))
    return lines


def measure(model: str, rounds: int, seed: int, steps: int) -> list[dict[str, Any]]:
    """Return all lines of one model.

    Args:
        rounds: of each comparison.
        steps: of a run.
    """
    real = REAL_SIZES[model]
    with torch.inference_mode():
        job = real_size_job(model, 1, seed, steps)
        cached = cost(job.model, job.run, 1)
        evaluation = cached["computed_seconds"]
        tflop = look_prices.EVALUATIONS[FAMILIES[model]].at(64 * real.latent[1] * real.latent[2])
        lines = [
            line("seconds of an evaluation of one image", evaluation),
            line("TFLOP a second", tflop / evaluation if on_gpu() else 0.0),
            line("a predicted evaluation of the step cache, of a computed one", cached["share"], 0.005),
            *capture_lines(job, rounds),
            *look_lines(model, evaluation, rounds),
        ]
        runs = search_real_size.Runs(real, search_real_size.CANDIDATES[model], seed, steps, job.model)
        return lines + engine_lines(runs, rounds)


def text_of(lines: list[dict[str, Any]]) -> str:
    """Return the lines as text, with their bars."""
    return "\n".join(
        f"{each['value']:10.4g}  "
        + ("" if each["bar"] is None else f"{'≥' if each['least'] else '≤'} {each['bar']:g} "
           f"{'kept' if each['kept'] else 'NOT KEPT'}  ")
        + each["what"]
        for each in lines
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the result file; return the exit status, 1 where a bar is not kept."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(FAMILIES), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    lines = measure(args.model, args.rounds, args.seed, args.steps)
    about = {"model": args.model, "dimensions": REAL_SIZES[args.model].about, "steps": args.steps}
    report.write(args.out, {**about, "rounds": args.rounds, "lines": lines}, MODULE, args.seed)
    print(text_of(lines))
    return int(not all(each["kept"] for each in lines))


if __name__ == "__main__":
    sys.exit(main())
