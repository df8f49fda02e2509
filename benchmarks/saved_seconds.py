"""Agreement of the seconds that a board says were saved with a stopwatch.

``python -m benchmarks.saved_seconds --out FILE.json``: on each testbed model a search by previews with one cut, whose
clock estimates how long finishing all candidates would have taken, beside the stock sampler, which samples the same
seeds to the end. They take turns in one process, and each estimate is compared with the stopwatch of its own round, so
that a machine that gets slower or faster meanwhile cancels out as far as it can.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusion_probe.engine.seed_search.clock import SearchClock
from diffusion_probe.engine.seed_search.search import SearchOptions, seed_search
from diffusion_probe.engine.seed_search.watcher import Unwatched

from benchmarks.lib import report
from benchmarks.lib.candidates import Testbed, candidate_seeds
from benchmarks.lib.search_probes import PREVIEW
from benchmarks.lib.search_timing import Runs, one_cut

MODULE = "benchmarks.saved_seconds"
MODELS = ("flux", "sdxl")


class Timed(Unwatched):
    """Watcher of a search whose clock can be read afterwards."""

    def __init__(self) -> None:
        self.own = SearchClock()

    @property
    def clock(self) -> SearchClock:
        """Clock of the one search that it watches."""
        return self.own


def seconds_of(run: Callable[[], Any]) -> float:
    """Return the wall-clock seconds of a call."""
    began = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


@torch.inference_mode()
def measured_round(runs: Runs, count: int, search_first: bool) -> dict[str, float]:
    """Return the seconds of one round: estimated by a search, and measured of the search and the stock sampler."""
    seconds: dict[str, float] = {}

    def search() -> None:
        candidates, model = runs.candidates(runs.seeds), runs.testbed.model
        probe, began, watcher = PREVIEW.make(runs.testbed, runs.prompt), time.perf_counter(), Timed()
        result = seed_search(model, candidates, probe, one_cut(count), options=SearchOptions(watcher=watcher))
        seconds["elapsed"] = watcher.own.elapsed
        seconds["search"] = time.perf_counter() - began
        seconds["estimate"] = watcher.own.seconds_for(result.outcome.rows_of_all()) or 0.0

    def stock() -> None:
        seconds["batch"] = seconds_of(runs.batched)
        seconds["single"] = seconds_of(lambda: runs.single(count))

    for part in (search, stock) if search_first else (stock, search):
        part()
    return seconds


def figures(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Return medians over rounds, and ratios of times within each round."""

    def ratios(name: str, to: str) -> dict[str, float]:
        each = [seconds[name] / seconds[to] for seconds in rounds]
        return {"median": statistics.median(each), "min": min(each), "max": max(each)}

    return {
        "seconds": {name: statistics.median(seconds[name] for seconds in rounds) for name in rounds[0]},
        "estimate_of_batch": ratios("estimate", "batch"),
        "estimate_of_single": ratios("estimate", "single"),
        "elapsed_of_search": ratios("elapsed", "search"),
    }


def measure(name: str, seed: int, count: int, rounds: int) -> dict[str, Any]:
    """Measure one testbed model, each round with another prompt; the first warms up and does not count."""
    testbed = Testbed.load(name)
    prompts = testbed.prompts(rounds + 1, seed)
    taken = [
        measured_round(Runs(testbed, prompt, candidate_seeds(seed, number, count)), count, number % 2 == 0)
        for number, prompt in enumerate(prompts)
    ]
    return {"model": name, **testbed.settings, **figures(taken[1:])}


def main(arguments: list[str] | None = None) -> None:
    """Measure all models and write a result file."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(arguments)
    rows = [measure(name, args.seed, args.candidates, args.rounds) for name in MODELS]
    report.write(args.out, {"candidates": args.candidates, "rounds": args.rounds, "rows": rows}, MODULE, args.seed)


if __name__ == "__main__":
    sys.exit(main())
