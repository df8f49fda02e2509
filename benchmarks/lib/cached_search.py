"""Worth of a seed search when TC-Padé Cache shortens its survivor's run.

Part of ``benchmarks.seed_search``; the searches use its prompts, candidates and recorded scores. A candidate is
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
from diffusion_probe.dev.evaluation_counter import EvaluationCounter
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, SEQUENTIAL
from diffusion_probe.engine.seed_search.policies.policy import Policy, State
from diffusion_probe.engine.step_cache.config import INTERVALS, StepCacheConfig
from diffusion_probe.engine.step_cache.hook import apply_step_cache
from diffusion_probe.testbed import sample, scorer
from diffusion_probe.training.metrics import protocol
from diffusion_probe.training.metrics.replay import replay

from benchmarks.lib.candidates import Testbed, candidate_seeds
from benchmarks.lib.search_probes import Searcher

ROWS = 2
"""Model rows of one evaluation: cond and uncond."""

FIFTH = 56
"""Budget in evaluations of which, with the predicted ones left out, a fifth of best of ten is computed."""

SEARCHES = ((ONE_CUT, None), (SEQUENTIAL, None), (SEQUENTIAL, FIFTH))
"""Policies and their budgets; None is the cost of one cut at 20 %."""


@dataclass
class Watched(Policy):
    """A policy that notes ``left_at``: the step of each candidate's last look before it went to the end."""

    policy: Policy
    left_at: dict[int, int] = field(default_factory=dict)

    def moments(self, steps: int) -> tuple[int, ...]:
        """Return the moments of the policy."""
        return self.policy.moments(steps)

    def price_at(self, moment: int, steps: int) -> float:
        """Return the policy's price of a look."""
        return self.policy.price_at(moment, steps)

    def is_free(self, moment: int, steps: int) -> bool:
        """Tell what the policy says."""
        return self.policy.is_free(moment, steps)

    def next(self, state: State) -> dict[int, int]:
        """Return the policy's decision, and note which candidates go to the end."""
        answer = self.policy.next(state)
        self.left_at |= {row: state.reached[row] for row, goal in answer.items() if goal == state.steps}
        return answer


@dataclass(frozen=True)
class Search:
    """One search: its survivor, the step of that one's last look, and the evaluations without a cache."""

    survivor: int
    left_at: int
    spent: int


def search(probe: Searcher, name: str, budget: int | None, scores: np.ndarray) -> Search:
    """Search by a probe over its recorded scores ``[evaluation, seed]`` of one prompt."""
    policy = Watched(probe.policy(name, scores.shape[1], budget=budget))
    done = replay(policy, scores, sample.STEPS)
    (survivor,) = done.finished
    return Search(survivor, policy.left_at[survivor], done.steps)


def finish(
    testbed: Testbed, prompts: Sequence[str], seeds: Sequence[int], preset: str, left_at: int
) -> tuple[list[float], int]:
    """Sample runs whose cache starts at one step; return their true rewards and the number of predicted evaluations."""
    config = StepCacheConfig(interval=INTERVALS[preset])
    config = StepCacheConfig(interval=config.interval, start=max(config.start, left_at / sample.STEPS))
    counter = EvaluationCounter()
    model = counter.on(apply_step_cache(testbed.model, config))
    images = testbed.decode(sample.sample_latents(model, testbed.clip, list(prompts), list(seeds)))
    return scorer.score(images, list(prompts)).tolist(), sample.STEPS - counter.computed


@dataclass(frozen=True)
class Recorded:
    """Candidates that were sampled to the end.

    Attributes:
        testbed: the model that sampled them.
        prompts: the prompt of each row of ``truth``.
        seed: the benchmark's seed, from which those of the candidates follow.
        truth: true rewards of the finished candidates ``[prompt, seed]``.
    """

    testbed: Testbed
    prompts: Sequence[str]
    seed: int
    truth: np.ndarray


def row(
    recorded: Recorded, scores: np.ndarray, probe: Searcher, name: str, budget: int | None, preset: str
) -> dict[str, Any]:
    """Return the figures of one kind of search.

    Args:
        scores: of the probe, ``[prompt, evaluation, seed]``, NaN where it did not look.
        name: of the policy.
        budget: in evaluations; None: the policy's own.
        preset: of the cache.
    """
    prompts, truth = recorded.prompts, recorded.truth
    count = truth.shape[1]
    searches = [search(probe, name, budget, by_step) for by_step in scores]
    by_look = defaultdict(list)
    for number, outcome in enumerate(searches):
        by_look[outcome.left_at].append(number)
    score, spent = np.zeros(len(prompts)), np.array([float(outcome.spent) for outcome in searches])
    for left_at, numbers in by_look.items():
        seeds = [candidate_seeds(recorded.seed, number, count)[searches[number].survivor] for number in numbers]
        survivors_prompts = [prompts[number] for number in numbers]
        score[numbers], predicted = finish(recorded.testbed, survivors_prompts, seeds, preset, left_at)
        spent[numbers] -= predicted
    uncached = np.array([truths[outcome.survivor] for truths, outcome in zip(truth, searches, strict=True)])
    images = spent.mean() / sample.STEPS
    over = score - truth.mean(axis=1) - protocol.best_of_n_gains(truth, images, count)[:, 0]
    estimate, difference = (protocol.mean_over_prompts(values, recorded.seed) for values in (score, over))
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
        "uncached_rows": ROWS * np.mean([outcome.spent for outcome in searches]),
        "share": score.mean() / uncached.mean(),
    }


def measure(recorded: Recorded, scores: dict[str, np.ndarray], probes: Sequence[Searcher]) -> list[dict[str, Any]]:
    """Return all rows, with the balanced preset.

    Args:
        scores: by the names of probes, ``[prompt, evaluation, seed]``, NaN where it did not look.
        probes: the searches go by each that the default policy is measured with.
    """
    return [
        row(recorded, scores[probe.name], probe, *search, "balanced")
        for probe in probes
        if probe.sequential
        for search in SEARCHES
    ]
