"""Comparison of search policies: the best image for a number of model evaluations.

``python -m benchmarks.search_policy --data FILE --seed S --out FILE.json``

FILE holds recorded trajectories of real models: ``{model}_{score}`` ``[evaluation, prompt, image]`` for
the models flux and sdxl and the scores preview and noise_aware, and ``{model}_preview`` goes on to the
finished image. Every policy is steered as by the engine (``training/metrics/replay.py``), meets the images of
a prompt in the same random orders, and counts as the best of the images it finished.

Whatever is tuned or fitted is so on one half of the prompts and measured on the other, both ways, and
that for several ways to split them, because which schedule is chosen depends on the half by luck.
``reward`` is the mean over prompts, ``ci`` its 95 % interval, ``over_*`` a paired difference with its own.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from diffusion_probe.engine.seed_search.policies.policy import Policy
from diffusion_probe.engine.seed_search.policies.schedules import Cuts
from diffusion_probe.training.metrics.protocol import mean_over_prompts, subset_weights
from diffusion_probe.training.metrics.replay import replay

from benchmarks.lib import report
from benchmarks.lib.pages.seed_search import policy_tables
from benchmarks.lib.search_plans import FINAL_ORDERS, LAST_LOOK, POLICIES, STEPS, Half

MODULE = "benchmarks.search_policy"
MODELS, SCORES = ("flux", "sdxl"), ("preview", "noise_aware")
BUDGETS = (40, 60, 80, 120, 200)
BASELINES = ("best_of_n", "two_cut")


def searches(policy: Policy, half: Half, budget: int, orders: int) -> np.ndarray:
    """Return per prompt the mean reward, evaluations, looks and decisions ``[prompt, 4]``."""
    figures = np.zeros((len(half.prompts), orders, 4))
    for prompt, order in itertools.product(range(len(half.prompts)), range(orders)):
        run = replay(policy, half.scores[:, prompt, order], STEPS, budget)
        reward = half.final[prompt, order, list(run.finished)].max()
        figures[prompt, order] = reward, run.steps, run.looks, run.calls
    return figures.mean(axis=1)


def measure(halves: list[Half], budget: int, orders: int) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Return per policy ``[prompt, 4]`` as of :func:`searches`, and what was chosen on each half."""
    prompts = sum(len(half.prompts) for half in halves)
    figures = {name: np.zeros((prompts, 4)) for name in POLICIES}
    chosen: dict[str, list[str]] = {}
    for fitting, testing in (halves, halves[::-1]):
        for name, make in POLICIES.items():
            policy = make(fitting, budget)
            figures[name][testing.prompts] = searches(policy, testing, budget, orders)
            if isinstance(policy, Cuts):
                chosen.setdefault(name, []).append(f"{policy.start} start, {policy.keep} go on after {policy.at}")
    return figures, chosen


def measure_splits(
    scores: np.ndarray, final: np.ndarray, budget: int, splits: int, orders: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Average :func:`measure` over splits of the prompts in halves; return all that was chosen, too."""
    tuning_orders = max(orders, FINAL_ORDERS)
    measured = [
        measure(split(scores, final, tuning_orders, [seed, number]), budget, orders) for number in range(splits)
    ]
    figures = {name: np.mean([values[name] for values, _ in measured], axis=0) for name in POLICIES}
    chosen = {name: [plan for _, plans in measured for plan in plans[name]] for name in measured[0][1]}
    return figures, chosen


def plain_baselines(final: np.ndarray, budget: int) -> dict[str, np.ndarray]:
    """Return one image, and the best of as many as the budget pays for: exact means, ``[prompt, 4]``."""
    count = budget // STEPS
    best = -np.sort(-final, axis=1) @ subset_weights(final.shape[1], count)
    rewards = {"random": (final.mean(axis=1), 1), "best_of_n": (best, count)}
    ones = np.ones(len(final))
    return {name: np.stack([mean, n * STEPS * ones, 0 * ones, ones], axis=1) for name, (mean, n) in rewards.items()}


def split(scores: np.ndarray, final: np.ndarray, orders: int, seed: list[int]) -> list[Half]:
    """Split the prompts in two halves, the images of each prompt in random orders."""
    rng = np.random.default_rng(seed)
    prompts, images = final.shape
    mixed = rng.permuted(np.broadcast_to(np.arange(images), (prompts, orders, images)), axis=-1)
    groups = np.array_split(rng.permutation(prompts), 2)
    return [
        Half(
            np.take_along_axis(scores[:, group][:, :, None], mixed[None, group], axis=-1),
            np.take_along_axis(final[group][:, None], mixed[group], axis=-1),
            group,
        )
        for group in groups
    ]


def row_of(figures: dict[str, np.ndarray], name: str, seed: int) -> dict[str, Any]:
    """Return the figures of one policy."""
    reward, nfe, looks, calls = figures[name].T
    estimate = mean_over_prompts(reward, seed)
    row = {
        "reward": estimate.value,
        "ci": estimate.interval,
        "nfe": nfe.mean(),
        "looks": looks.mean(),
        "calls": calls.mean(),
    }
    for baseline in BASELINES:
        difference = mean_over_prompts(reward - figures[baseline][:, 0], seed)
        row[f"over_{baseline}"], row[f"over_{baseline}_ci"] = difference.value, difference.interval
    return row


def averages(gains: dict[tuple[str, str], list[np.ndarray]], seed: int) -> list[dict[str, Any]]:
    """Compare the default policy with the two-cut schedule, per model and score on average over the budgets."""
    rows = []
    for (model, score), per_budget in gains.items():
        mean = mean_over_prompts(np.mean(per_budget, axis=0), seed)
        rows.append({"model": model, "score": score, "sequential_over_two_cut": mean.value, "ci": mean.interval})
    return rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="recorded trajectories, an npz file")
    parser.add_argument("--seed", type=int, required=True, help="of halves, orders and intervals")
    parser.add_argument("--splits", type=int, default=5, help="ways to split the prompts in halves")
    parser.add_argument("--orders", type=int, default=2, help="random orders of the images of each prompt, per split")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Compare the policies and write the result file; return the exit status."""
    args = parse(arguments)
    started = time.process_time()
    rows, gains = [], {}
    with np.load(args.data) as data:
        for model, score in itertools.product(MODELS, SCORES):
            scores = data[f"{model}_{score}"][:LAST_LOOK].astype(np.float64)
            final = data[f"{model}_preview"][-1].astype(np.float64)
            for budget in BUDGETS:
                figures, chosen = measure_splits(scores, final, budget, args.splits, args.orders, args.seed)
                figures = {**plain_baselines(final, budget), **figures}
                gains.setdefault((model, score), []).append(figures["sequential"][:, 0] - figures["two_cut"][:, 0])
                for name in figures:
                    row = {"model": model, "score": score, "policy": name, "budget": budget}
                    rows.append({**row, **row_of(figures, name, args.seed), "chosen": chosen.get(name, [])})
                print(f"{model} {score} {budget}: {time.process_time() - started:.0f} s", flush=True)
    record = {
        "prompts": final.shape[0],
        "images": final.shape[1],
        "steps": STEPS,
        "splits": args.splits,
        "orders": args.orders,
        "processor_seconds": time.process_time() - started,
        "averages_over_budgets": averages(gains, args.seed),
        "rows": rows,
    }
    report.write(args.out, record, MODULE, args.seed)
    print(*policy_tables({"policy": report.plain(record)}), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
