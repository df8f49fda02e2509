"""Search policies under other rewards and on other prompts than those that they were designed on.

``python -m benchmarks.policy_judges --data FILE --seed S --out FILE.json``

FILE holds what ``benchmarks.judges`` reads. The policies were designed on ImageReward and the first half of the
prompts. Here they are measured on the second half, by HPSv2.1, PickScore and the mean of all three, standardised by
the spreads of the first half as Combine Rewards does. The two cuts are tuned, and the fitted skill is measured, on the
first half by the very reward and scores of the cell; the policies without fitted skill know neither.

Rewards are in within-prompt standard deviations of finished images. ``over_two_cut`` is a paired difference with its
95 % interval over prompts. A look that was not recorded is no moment of any policy.
"""

import argparse
import itertools
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from diffusion_probe.engine.seed_search.policies.sequential import Sequential
from diffusion_probe.training.metrics.protocol import mean_over_prompts
from diffusion_probe.training.metrics.replay import replay

from benchmarks.judges import KINDS, MEAN, MODELS, REWARDS, trajectories
from benchmarks.lib import report
from benchmarks.lib.pages.policy_judges import judge_policy_tables
from benchmarks.lib.search_plans import (
    FINAL_ORDERS,
    LAST_LOOK,
    STEPS,
    Half,
    cut_rewards,
    sequential,
    sequential_stock,
    sequential_unsure,
    tuned,
    two_cuts,
)

MODULE = "benchmarks.policy_judges"
BUDGETS = (40, 60, 80, 120, 200)
UNDER = ("hps", "pic", MEAN)
"""Rewards that no policy was designed by."""

SEARCHES = {"sequential_stock": sequential_stock, "sequential_unsure": sequential_unsure, "sequential": sequential}
"""Policies that are compared with the two cuts, as in ``search_plans``."""


def looks_of(data: Mapping[str, np.ndarray], model: str, reward: str, kind: str, design: slice) -> np.ndarray:
    """Return scores ``[look, prompt, image]`` of the first looks, NaN where none was recorded."""
    if reward == MEAN:
        each = [looks_of(data, model, name, kind, design) for name in REWARDS]
        return np.mean([scores / scores[:, design].std(-1).mean(-1)[:, None, None] for scores in each], axis=0)
    scores, steps = trajectories(data, model, reward, kind)
    filled = np.full((LAST_LOOK, *scores.shape[1:]), np.nan)
    early = steps <= LAST_LOOK
    filled[steps[early] - 1] = scores[early]
    return filled


def finals_of(data: Mapping[str, np.ndarray], model: str, reward: str, design: slice) -> np.ndarray:
    """Return the finished images' rewards ``[prompt, image]`` in within-prompt standard deviations."""
    names = REWARDS if reward == MEAN else (reward,)
    each = [trajectories(data, model, name, "preview")[0][-1] for name in names]
    mean = np.mean([final / final[design].std(-1).mean() for final in each], axis=0)
    return mean / mean[design].std(-1).mean()


def half_of(scores: np.ndarray, final: np.ndarray, prompts: slice, orders: int, seed: Any) -> Half:
    """Return some prompts, with the images of each in random orders."""
    scores, final = scores[:, prompts], final[prompts]
    shape = (len(final), orders, final.shape[1])
    mixed = np.random.default_rng(seed).permuted(np.broadcast_to(np.arange(shape[2]), shape), axis=-1)
    return Half(
        np.take_along_axis(scores[:, :, None], mixed[None], axis=-1),
        np.take_along_axis(final[:, None], mixed, axis=-1),
        np.arange(len(final)),
    )


def searched(policy: Sequential, half: Half, budget: int, recorded: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the reward per prompt and the mean number of looks, with no look where none was recorded."""
    policy = replace(policy, shares=tuple(share for share in policy.shares if recorded[round(share * STEPS) - 1]))
    rewards, looks = np.zeros(half.final.shape[:2]), 0
    for prompt, order in itertools.product(*map(range, rewards.shape)):
        run = replay(policy, half.scores[:, prompt, order], STEPS, budget)
        rewards[prompt, order] = half.final[prompt, order, list(run.finished)].max()
        looks += run.looks
    return rewards.mean(1), looks / rewards.size


def cell(
    data: Mapping[str, np.ndarray], orders: int, seed: int, key: tuple[str, str, str, int]
) -> list[dict[str, Any]]:
    """Return a row for each policy, by one reward's scores of one kind on one model with one budget."""
    model, reward, kind, budget = key
    prompts = trajectories(data, model, "imr", "preview")[0].shape[1]
    design, reported = slice(0, prompts // 2), slice(prompts // 2, prompts)
    scores, final = looks_of(data, model, reward, kind, design), finals_of(data, model, reward, design)
    recorded = np.isfinite(scores).all((1, 2))
    known = np.where(recorded[:, None, None], scores, 0.0)  # where all are equal, nothing is learnt
    fitting = half_of(known, final, design, max(orders, FINAL_ORDERS), [seed, 0])
    testing = half_of(known, final, reported, orders, [seed, 1])
    plan = tuned(two_cuts)(fitting, budget)
    two = cut_rewards(testing, plan).mean(1)
    rows = []
    for name, make in SEARCHES.items():
        rewards, looks = searched(make(fitting, budget), testing, budget, recorded)
        gain, value = mean_over_prompts(rewards - two, seed), mean_over_prompts(rewards, seed)
        row = {"model": model, "by": reward, "scores": kind, "budget": budget, "policy": name, "reward": value.value}
        rows.append({**row, "over_two_cut": gain.value, "ci": gain.interval, "looks": looks, "gains": rewards - two})
    return rows


def averages(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Average the differences from the two cuts over cells: all together, by reward, and by kind of score."""
    found = []
    groups = [{}, *({"by": name} for name in UNDER), *({"scores": kind} for kind in KINDS)]
    for policy, group in itertools.product(SEARCHES, groups):
        chosen = [row for row in rows if row["policy"] == policy and all(row[key] == group[key] for key in group)]
        mean = mean_over_prompts(np.mean([row["gains"] for row in chosen], axis=0), seed)
        counts = {
            "cells": len(chosen),
            "at_or_above": sum(row["over_two_cut"] >= 0 for row in chosen),
            "significantly_below": sum(row["ci"][1] < 0 for row in chosen),
            "significantly_above": sum(row["ci"][0] > 0 for row in chosen),
        }
        found.append({"policy": policy, **group, "over_two_cut": mean.value, "ci": mean.interval, **counts})
    return found


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="recorded trajectories, an npz file")
    parser.add_argument("--seed", type=int, required=True, help="of orders and intervals")
    parser.add_argument("--orders", type=int, default=2, help="random orders of the images of each prompt")
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS, help="in evaluations")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the result file and print its tables; return the exit status."""
    args = parse(arguments)
    with np.load(args.data) as file:
        data = {name: file[name] for name in file.files}
    keys = sorted(itertools.product(MODELS, UNDER, KINDS, args.budgets), key=lambda key: key[-1])
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(args.processes) as pool:
        for number, found in enumerate(pool.map(partial(cell, data, args.orders, args.seed), keys), start=1):
            rows += found
            print(f"{number} of {len(keys)} cells", flush=True)
    record = {
        "prompts": len(rows[0]["gains"]),
        "images": int(data["flux_imr_preview"].shape[2]),
        "steps": STEPS,
        "orders": args.orders,
        "averages": averages(rows, args.seed),
        "rows": [{name: value for name, value in row.items() if name != "gains"} for row in rows],
    }
    report.write(args.out, record, MODULE, args.seed)
    print(*judge_policy_tables({"policy": report.plain(record)}), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
