"""Policies that ``benchmarks/search_policy.py`` compares, each made from half of the prompts and a budget."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from diffusion_probe.engine.core.skill import fit_skill
from diffusion_probe.engine.seed_search.policies.by_name import SEQUENTIAL, policy_named
from diffusion_probe.engine.seed_search.policies.policy import Policy
from diffusion_probe.engine.seed_search.policies.schedules import Cuts, UntilGoodEnough, halving

from benchmarks.lib.unsure_policy import Unsure

STEPS = 20
LAST_LOOK = 15
"""Evaluations up to which both scores are recorded."""

TUNING_ORDERS = 4
FINAL_ORDERS = 24


@dataclass(frozen=True)
class Half:
    """Half of the prompts: ``scores`` ``[evaluation, prompt, order, image]``, ``final`` ``[prompt, order, image]``."""

    scores: np.ndarray
    final: np.ndarray
    prompts: np.ndarray

    def orders(self, count: int) -> "Half":
        """Return the same half with the first so many orders."""
        return Half(self.scores[:, :, :count], self.final[:, :count], self.prompts)


def cut_rewards(half: Half, plan: Cuts) -> np.ndarray:
    """Return the reward of a fixed schedule, ``[prompt, order]`` at once (as ``replay``, but fast)."""
    rows = np.broadcast_to(np.arange(plan.start), (*half.final.shape[:2], plan.start))
    for at, keep in zip(plan.at, plan.keep):
        seen = np.take_along_axis(half.scores[at - 1], rows, axis=-1)
        rows = np.take_along_axis(rows, np.argsort(-seen, axis=-1, kind="stable")[..., :keep], axis=-1)
    return np.take_along_axis(half.final, rows, axis=-1).max(axis=-1)


def cut_reward(half: Half, plan: Cuts) -> float:
    """Return the mean reward of a fixed schedule."""
    return float(cut_rewards(half, plan).mean())


def two_cuts(budget: int, images: int) -> Iterator[Cuts]:
    """Generate a plain grid: all pairs of cuts, 1 to 5 finished, and as many start as the budget allows."""
    for first, second in itertools.combinations(range(1, LAST_LOOK), 2):
        for last in range(1, min(5, budget // STEPS) + 1):
            for middle in sorted({last + 1, *(round(last * 1.4**power) for power in range(1, 10))}):
                rest = budget - last * (STEPS - second) - middle * (second - first)
                start = min(images, rest // first)
                if middle > last and start > middle:
                    yield Cuts(start, (first, second), (middle, last))


def one_cuts(budget: int, images: int) -> Iterator[Cuts]:
    """Generate a grid of single cuts, 1 to 8 finished."""
    for at, last in itertools.product(range(1, LAST_LOOK), range(1, min(8, budget // STEPS) + 1)):
        start = min(images, (budget - last * (STEPS - at)) // at)
        if start > last:
            yield Cuts(start, (at,), (last,))


def halvings(budget: int, images: int) -> Iterator[Cuts]:
    """Generate successive halvings with cuts at several shares of a run."""
    for shares in ((0.15, 0.3, 0.45), (0.2, 0.35, 0.5), (0.3, 0.45, 0.6), (0.35, 0.5)):
        for last in range(1, min(5, budget // STEPS) + 1):
            yield halving(budget, STEPS, images, last, shares)


def tuned(plans: Callable[[int, int], Iterator[Cuts]]) -> Callable[[Half, int], Policy]:
    """Return a choice of the best schedule on one half: first roughly, then the 20 best with more orders."""

    def choose(half: Half, budget: int) -> Cuts:
        rough = half.orders(TUNING_ORDERS)
        first = sorted(plans(budget, half.final.shape[-1]), key=lambda plan: -cut_reward(rough, plan))[:20]
        return max(first, key=lambda plan: cut_reward(half.orders(FINAL_ORDERS), plan))

    return choose


def sequential(half: Half, budget: int) -> Policy:
    """Build the default policy with the skill that the score has on the half for fitting."""
    skill = fit_skill(half.scores[:LAST_LOOK, :, 0], half.final[:, 0], range(1, LAST_LOOK + 1), STEPS)
    return policy_named(SEQUENTIAL, STEPS, half.final.shape[-1], budget=budget, skill=skill, final_reward=True)


def sequential_stock(half: Half, budget: int) -> Policy:
    """Build the default policy as it is for a probe that nothing is known about."""
    return policy_named(SEQUENTIAL, STEPS, half.final.shape[-1], budget=budget, final_reward=True)


def sequential_unsure(half: Half, budget: int) -> Policy:
    """Build the policy that weighs several skills by the scores."""
    policy = Unsure(budget, final_reward=True)
    return policy.planned(half.final.shape[-1], STEPS)


def until_good_enough(half: Half, budget: int) -> Policy:
    """Build a policy that stops at a score that one image in ten reaches."""
    policy = UntilGoodEnough(0.0, budget)
    seen = half.scores[policy.moments(STEPS)[0] - 1, :, 0]
    return UntilGoodEnough(float(np.quantile(seen, 0.9)), budget)


POLICIES: dict[str, Callable[[Half, int], Policy]] = {
    "two_cut": tuned(two_cuts),
    "one_cut": tuned(one_cuts),
    "halving": tuned(halvings),
    "until_good_enough": until_good_enough,
    "sequential_stock": sequential_stock,
    "sequential": sequential,
}
"""Functions from the half for fitting and a budget to a policy. Names stay: results are read by them."""
