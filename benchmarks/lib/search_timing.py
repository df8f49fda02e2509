"""Times of a search and of plain sampling, every method once per round, in turn."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from diffusion_probe.engine.capture.prompt.encode import encode_words
from diffusion_probe.engine.core.features import DENOISED
from diffusion_probe.engine.core.probe import Probe
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.hub.hub import Hub
from diffusion_probe.engine.seed_search.outcome import Outcome
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, SEQUENTIAL, policy_named
from diffusion_probe.engine.seed_search.policies.policy import Policy
from diffusion_probe.engine.seed_search.result import FinalReward
from diffusion_probe.engine.seed_search.search import SearchOptions, seed_search
from diffusion_probe.testbed import sample

from benchmarks.lib.candidates import Testbed, candidate_seeds
from benchmarks.lib.search_probes import PREVIEW, Searcher

VARIANTS = 4


class RandomScore(Probe):
    """A probe that reads nothing."""

    name, label, needs, skilled, calibration = "random", "random", frozenset({DENOISED}), False, ()

    def score(self, rows):
        """Draw a score for each row."""
        return torch.rand(len(rows))


class Runs:
    """The runs of one prompt, by every method."""

    def __init__(self, testbed: Testbed, prompt: str, seeds: range):
        self.testbed, self.prompt, self.seeds = testbed, prompt, seeds
        self.positive, self.negative = (encode_words(testbed.clip, text)[0] for text in (prompt, ""))
        channels = testbed.model.get_model_object("latent_format").latent_channels
        side = sample.SIZE_PX // 8
        self.latent = {"samples": torch.zeros(1, channels, side, side)}

    def candidates(self, seeds: range) -> list:
        """Build a candidate for each seed."""
        settings = (sample.STEPS, sample.default_cfg(self.testbed.model), sample.SAMPLER, sample.SCHEDULER)
        return [ksampler_candidate(seed, *settings, self.positive, self.negative, self.latent) for seed in seeds]

    def single(self, count: int) -> None:
        """Sample plain runs, one after the other."""
        for seed in self.seeds[:count]:
            self.testbed.latents(self.testbed.model, self.prompt, [seed])

    def batched(self) -> None:
        """Sample all seeds in one batch."""
        self.testbed.latents(self.testbed.model, self.prompt, list(self.seeds))

    def search(self, probe: Any, policy: Callable[[int], Policy], count: int, finish: Any = None) -> Outcome:
        """Search among the first so many seeds."""
        candidates = self.candidates(self.seeds[:count])
        options = SearchOptions(final_reward=FinalReward(finish.score) if finish else None)
        return seed_search(self.testbed.model, candidates, probe, policy, options=options).outcome

    def joined(self) -> None:
        """Sample all candidates to the end in the engine, without a probe: the cost of the engine itself."""
        hub = Hub(self.testbed.model)
        runs = [hub.add(lambda c=c: c.sample(hub.model, lambda *_: None)) for c in self.candidates(self.seeds)]
        hub.advance(dict.fromkeys(runs, 0))
        hub.advance(dict.fromkeys(runs, sample.STEPS))
        hub.close(keep=runs)


@torch.inference_mode()
def measure(testbed: Testbed, prompts: list[str], seed: int, probes: list[Searcher], count: int) -> dict[str, Any]:
    """Return ratios of times: wall-clock, and as ``cpu_…`` those of the time that this process really computed.

    A ratio is that of the two methods within one round; the median over rounds counts.
    """
    spent: dict[str, list[tuple[float, float]]] = {}
    for number, prompt in enumerate([prompts[0], *prompts]):  # the first time warms up
        runs = Runs(testbed, prompt, candidate_seeds(seed, number, count))
        for name, run in todo(runs, probes, count).items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if number > 0:
                spent.setdefault(name, []).append((time.perf_counter() - wall, time.process_time() - cpu))

    def faster(method: str, than: str, clock: int) -> float:
        return median(b[clock] / a[clock] for a, b in zip(spent[method], spent[than], strict=True))

    table = {}
    for name in spent:
        table[name] = {
            f"{kind}_ratio_vs_{short}": faster(name, other, clock)
            for clock, kind in enumerate(("wall", "cpu"))
            for short, other in (("full", FULL), ("batched", "best of 10"), ("one", "one image"))
        }
        table[name]["cpu_seconds"] = median(cpu for _, cpu in spent[name])
    share = policy_named(ONE_CUT, sample.STEPS, count).cost(sample.STEPS) / sample.STEPS
    table["best of n at equal rows"] = {
        key: value * share if key == "cpu_seconds" else value / share for key, value in table["one image"].items()
    }
    throughput = {f"{kind}_of_plain_batch": faster("engine", "best of 10", i) for i, kind in enumerate(("wall", "cpu"))}
    variants = {
        probe.name: {
            f"{kind}_times_faster": faster(f"four wordings, {probe.name}", "four in turn", i)
            for i, kind in enumerate(("wall", "cpu"))
        }
        for probe in probes
    }
    return {"methods": table, "throughput": {**throughput, "rows": 2 * count}, "prompt_search": variants}


FULL = "ten in turn"


def todo(runs: Runs, probes: list[Searcher], count: int) -> dict[str, Callable[[], Any]]:
    """Return the methods that a round measures, by name."""
    truth = PREVIEW.make(runs.testbed, runs.prompt)
    runnable: dict[str, Callable[[], Any]] = {
        FULL: lambda: runs.single(count),
        "one image": lambda: runs.single(1),
        "best of 10": runs.batched,
        "engine": runs.joined,
        "random drop at 20 %": lambda: runs.search(RandomScore(), one_cut(count), count),
        "four in turn": lambda: runs.single(VARIANTS),
    }
    for searcher in probes:
        runnable |= searches(runs, searcher, truth, count)
    return runnable


def one_cut(count: int) -> Callable[[int], Policy]:
    """Return the policy of one cut for so many candidates."""
    return lambda steps: policy_named(ONE_CUT, steps, count)


def searches(runs: Runs, searcher: Searcher, truth: Any, count: int) -> dict[str, Callable[[], Any]]:
    """Return all searches by one probe, by name."""
    probe = searcher.make(runs.testbed, runs.prompt)
    runnable: dict[str, Callable[[], Any]] = {
        f"one cut at 20 %, {searcher.name}": lambda: runs.search(probe, one_cut(count), count),
        f"four wordings, {searcher.name}": lambda: runs.search(probe, one_cut(VARIANTS), VARIANTS),
    }
    if searcher.sequential:

        def sequential(finish: Any = None) -> Outcome:
            def policy(steps: int) -> Policy:
                return searcher.policy(SEQUENTIAL, count, final_reward=finish is not None)

            return runs.search(probe, policy, count, finish)

        name = f"{SEQUENTIAL}, {searcher.name}"
        runnable |= {name: sequential, f"{name}, true-score finish": lambda: sequential(truth)}
    return runnable
