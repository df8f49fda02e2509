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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


class Clocks(SearchClock):
    """Clock of a search in wall-clock time, with one beside it in the time that this process really computed."""

    def __init__(self) -> None:
        super().__init__(time.perf_counter)
        self.cpu = SearchClock(time.process_time)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """See :meth:`SearchClock.starting`."""
        with super().starting(), self.cpu.starting():
            yield

    def sample(self) -> None:
        """See :meth:`SearchClock.sample`."""
        super().sample()
        self.cpu.sample()

    def sampled(self, rows: int, expected_rows: int = 0) -> None:
        """See :meth:`SearchClock.sampled`."""
        super().sampled(rows, expected_rows)
        self.cpu.sampled(rows, expected_rows)


class Timed(Unwatched):
    """Watcher of a search whose clocks can be read afterwards."""

    def __init__(self) -> None:
        self.own = Clocks()

    @property
    def clock(self) -> Clocks:
        """Clocks of the one search that it watches."""
        return self.own


Seconds = dict[str, tuple[float, float]]
"""Wall-clock and processor seconds by what took them."""


@torch.inference_mode()
def measured_round(runs: Runs, count: int, search_first: bool) -> Seconds:
    """Return the seconds of one round: estimated by a search, and measured of the search and the stock sampler."""
    seconds: Seconds = {}

    def measured(name: str, run: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds[name] = time.perf_counter() - wall, time.process_time() - cpu
        return result

    def search() -> None:
        candidates, probe = runs.candidates(runs.seeds), PREVIEW.make(runs.testbed, runs.prompt)
        watcher = Timed()
        options = SearchOptions(watcher=watcher)
        result = measured(
            "search", lambda: seed_search(runs.testbed.model, candidates, probe, one_cut(count), 1, options)
        )
        rows = result.outcome.rows_of_all()
        seconds["estimate"] = tuple(clock.seconds_for(rows) or 0.0 for clock in (watcher.own, watcher.own.cpu))

    parts = search, lambda: measured("batch", runs.batched)
    for part in parts if search_first else reversed(parts):
        part()
    return seconds


def figures(rounds: list[Seconds]) -> dict[str, Any]:
    """Return medians over rounds, and the estimate by the stopwatch of the batch within each round."""
    table: dict[str, Any] = {}
    for number, kind in enumerate(("wall", "cpu")):
        ratios = [seconds["estimate"][number] / seconds["batch"][number] for seconds in rounds]
        table[kind] = {
            **{name: statistics.median(seconds[name][number] for seconds in rounds) for name in rounds[0]},
            "ratio_median": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }
    return table


def measure(name: str, seed: int, count: int, rounds: int) -> dict[str, Any]:
    """Measure one testbed model, each round with another prompt, after a run of one image that warms up."""
    testbed = Testbed.load(name)
    taken = []
    for number, prompt in enumerate(testbed.prompts(rounds, seed)):
        runs = Runs(testbed, prompt, candidate_seeds(seed, number, count))
        if number == 0:
            runs.single(1)
        taken.append(measured_round(runs, count, search_first=number % 2 == 0))
    return {"model": name, **testbed.settings, **figures(taken)}


def main(arguments: list[str] | None = None) -> None:
    """Measure all models and write a result file."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4)
    args = parser.parse_args(arguments)
    rows = [measure(name, args.seed, args.candidates, args.rounds) for name in MODELS]
    report.write(args.out, {"candidates": args.candidates, "rounds": args.rounds, "rows": rows}, MODULE, args.seed)


if __name__ == "__main__":
    sys.exit(main())
