"""What is a seed search worth when TC-Padé Cache shortens its survivor?

Part of ``benchmarks.seed_search``, on whose prompts, candidates and recorded scores the searches go. A candidate is
computed step by step as long as it may still be dropped; once it goes to the end, it is the run of its seed whose
cache starts at its last look (tests/comfy). So that run is sampled, and decoded and scored as any other.

``rows[]``, of every probe: ``score`` and ``nfe_rows`` as in ``seed_search``; ``rows_fewer`` than best of ten;
``over_best_of_n`` the difference within prompts to best of n at as many model rows; ``uncached_score`` and
``uncached_rows`` of the same search without the cache, and ``share`` of that score.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, SEQUENTIAL
from diffusion_probe.engine.seed_search.policies.policy import Policy, State
from diffusion_probe.engine.step_cache.config import INTERVALS, StepCacheConfig
from diffusion_probe.engine.step_cache.hook import apply_step_cache
from diffusion_probe.testbed import sample, scorer
from diffusion_probe.training.metrics import protocol
from diffusion_probe.training.metrics.replay import replay

from benchmarks.lib.candidates import Testbed, candidate_seeds
from benchmarks.lib.peers import EvaluationCounter
from benchmarks.lib.search_probes import Searcher

ROWS = 2
"""Per evaluation: cond and uncond."""

FIFTH = 56
"""Evaluations that the search may ask for so that, part of them predicted, it computes a fifth of best of ten."""

SEARCHES = ((ONE_CUT, None), (SEQUENTIAL, None), (SEQUENTIAL, FIFTH))
"""Policies and their budgets; None is what one cut at 20 % costs."""


@dataclass
class Watched:
    """A policy, and ``left_at``: the step at which each candidate was looked at last before it went to the end."""

    policy: Policy
    left_at: dict[int, int] = field(default_factory=dict)

    def moments(self, steps: int) -> tuple[int, ...]:
        return self.policy.moments(steps)

    def next(self, state: State) -> dict[int, int]:
        answer = self.policy.next(state)
        self.left_at |= {row: state.reached[row] for row, goal in answer.items() if goal == state.steps}
        return answer


@dataclass(frozen=True)
class Search:
    """What one search did: its survivor, that one's last look, and the evaluations without a cache."""

    survivor: int
    left_at: int
    spent: int


def search(probe: Searcher, name: str, budget: int | None, scores: np.ndarray) -> Search:
    """A search by a probe, over its recorded scores ``[evaluation, seed]`` of one prompt."""
    policy = Watched(probe.policy(name, scores.shape[1], budget=budget))
    done = replay(policy, scores, sample.STEPS)
    (survivor,) = done.finished
    return Search(survivor, policy.left_at[survivor], done.spent)


def finish(
    testbed: Testbed, prompts: Sequence[str], seeds: Sequence[int], preset: str, left_at: int
) -> tuple[list[float], int]:
    """True scores of runs whose cache starts at one step, and how many of their evaluations are predicted."""
    config = StepCacheConfig(interval=INTERVALS[preset])
    config = StepCacheConfig(interval=config.interval, start=max(config.start, left_at / sample.STEPS))
    counter = EvaluationCounter()
    model = counter.on(apply_step_cache(testbed.model, config))
    images = testbed.decode(sample.sample_latents(model, testbed.clip, list(prompts), list(seeds)))
    return scorer.score(images, list(prompts)).tolist(), sample.STEPS - counter.computed


def row(
    testbed: Testbed, prompts: Sequence[str], seed: int, truth: np.ndarray, scores: np.ndarray,
    probe: Searcher, name: str, budget: int | None, preset: str,
) -> dict[str, Any]:  # fmt: skip
    """The figures of one kind of search."""
    count = truth.shape[1]
    searches = [search(probe, name, budget, by_step) for by_step in scores]
    together = defaultdict(list)
    for number, found in enumerate(searches):
        together[found.left_at].append(number)
    score, spent = np.zeros(len(prompts)), np.array([float(found.spent) for found in searches])
    for left_at, numbers in together.items():
        seeds = [candidate_seeds(seed, number, count)[searches[number].survivor] for number in numbers]
        score[numbers], predicted = finish(testbed, [prompts[number] for number in numbers], seeds, preset, left_at)
        spent[numbers] -= predicted
    uncached = np.array([truths[found.survivor] for truths, found in zip(truth, searches, strict=True)])
    images = spent.mean() / sample.STEPS
    over = score - truth.mean(axis=1) - protocol.best_of_n_gains(truth, images, count)[:, 0]
    estimate, difference = (protocol.mean_over_prompts(values, seed) for values in (score, over))
    return {
        "method": ", ".join([name, *([f"budget {budget}"] if budget else []), probe.name]),
        "preset": preset,
        "score": estimate.value,
        "ci": estimate.interval,
        "nfe_rows": ROWS * spent.mean(),
        "rows_fewer": count / images,
        "over_best_of_n": difference.value,
        "over_best_of_n_ci": difference.interval,
        "uncached_score": uncached.mean(),
        "uncached_rows": ROWS * np.mean([found.spent for found in searches]),
        "share": score.mean() / uncached.mean(),
    }


def measure(
    testbed: Testbed,
    prompts: Sequence[str],
    seed: int,
    truth: np.ndarray,
    scores: dict[str, np.ndarray],
    probes: Sequence[Searcher],
) -> list[dict[str, Any]]:
    """All rows, with the balanced preset.

    Args:
        truth: true scores of finished candidates ``[prompt, seed]``.
        scores: by the names of probes, ``[prompt, evaluation, seed]``, NaN where it did not look.
        probes: the searches go by each that the default policy is measured with.
    """
    return [
        row(testbed, prompts, seed, truth, scores[probe.name], probe, *search, "balanced")
        for probe in probes
        if probe.sequential
        for search in SEARCHES
    ]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """What the README shows."""
    lines = ["| search, its survivor cached | true score | of that without cache | model rows | over best of n |"]
    lines.append("|---|---|---|---|---|")
    for r in rows:
        low, high = r["over_best_of_n_ci"]
        lines.append(
            f"| {r['method']} | {r['score']:.3f} ({r['ci'][0]:.3f}–{r['ci'][1]:.3f}) | {100 * r['share']:.1f} % | "
            f"{r['nfe_rows']:.0f} instead of {r['uncached_rows']:.0f} | "
            f"{r['over_best_of_n']:+.3f} [{low:.3f}, {high:.3f}] |"
        )
    return "\n".join(lines)
