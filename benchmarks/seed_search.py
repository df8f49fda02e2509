"""What is a seed search worth, and what does it cost?

``python -m benchmarks.seed_search --model flux --seed S --out FILE.json``

Fresh held-out prompts, ten seeds each, 25 steps. Every seed is sampled to the end once, with what the
probes say on the way; policies are then steered by these scores as the engine steers them, for a
finished image is the same in a search (tests/comfy). What they cost is measured with the engine itself.

``rows[]``: ``score`` mean true score of the image that is handed out (``ci`` its 95 % interval over
prompts), ``oracle_share`` (score - mean) / (best of ten - mean), ``nfe_rows`` forwards of one latent for
one cond, ``wall_ratio_vs_full`` how many times as fast as ten KSampler runs one after the other,
``…_vs_batched`` as one KSampler run of ten rows, ``…_vs_one`` as one image. Finished images aren't decoded,
but what a probe or judge decodes is in its time. ``over_best_of_n``, ``over_random``: paired differences.
``prompt_search``: four wordings of a scene, one finished; see ``benchmarks/prompt_search.py``.
``cached_search``: with TC-Padé Cache on the model; see ``benchmarks/cached_search.py``.
"""

import argparse
import sys
from typing import Any

import numpy as np
import torch
from diffusion_probe.probe_models.focus import AttentionFocus
from diffusion_probe.probe_models.preview import PreviewReward
from diffusion_probe.search.policies import ONE_CUT, SEQUENTIAL, policy_named
from diffusion_probe.testbed import sample
from diffusion_probe.testbed.scorer import GroundTruth
from diffusion_probe.training import protocol
from diffusion_probe.training.replay import replay

from benchmarks import cached_search, prompt_search, report, search_timing
from benchmarks.candidates import Testbed, candidate_seeds, kept_lines

MODULE = "benchmarks.seed_search"
N = 10
ROWS = 2
"""Per evaluation: cond and uncond."""

PROBES = {
    "focus": lambda testbed, prompt: AttentionFocus(),
    "preview": lambda testbed, prompt: PreviewReward(testbed.decode, GroundTruth(), prompt),
}
BEST = "preview"
"""The best probe so far, which the default policy searches by."""


def make_policy(name: str, judged: bool = False):
    """The policy of a method: one survivor, at the cost of one cut at 20 %."""
    return policy_named(name, sample.STEPS, N, judged=judged)


def looks() -> list[int]:
    """Every step at which some policy looks."""
    policies = (make_policy(ONE_CUT), make_policy(SEQUENTIAL), make_policy(SEQUENTIAL, judged=True))
    return sorted({moment for policy in policies for moment in policy.moments(sample.STEPS)})


def record_prompt(testbed: Testbed, number: int, prompt: str, seed: int) -> dict[str, Any]:
    """Truth of all candidates of a prompt, and per probe their scores by step."""
    found = testbed.candidates(prompt, candidate_seeds(seed, number, N), looks())
    (at,) = make_policy(ONE_CUT).moments(sample.STEPS)
    scores = {}
    with torch.inference_mode():
        for name, make in PROBES.items():
            probe = make(testbed, prompt)
            steps = looks() if name == BEST else [at]
            scores[name] = {step: probe.score(found.features[step]).tolist() for step in steps}
    return {"prompt": prompt, "truth": found.truth.tolist(), "scores": scores}


def record(testbed: Testbed, prompts: list[str], seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Truth ``[prompt, seed]``, and per probe the scores ``[prompt, evaluation, seed]``, NaN where none looks."""

    def one(number: int) -> dict[str, Any]:
        return record_prompt(testbed, number, prompts[number], seed)

    lines = kept_lines(f"{testbed.weights()}-{seed}-{looks()}", "prompts", len(prompts), one)
    scores = {name: np.full((len(prompts), sample.STEPS - 1, N), np.nan) for name in PROBES}
    for number, line in enumerate(lines):
        for name, by_step in line["scores"].items():
            for step, values in by_step.items():
                scores[name][number, int(step) - 1] = values
    return np.array([line["truth"] for line in lines]), scores


def searched(policy: Any, scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per prompt the true score of the best that the policy finishes, and the rows it spends."""
    runs = [replay(policy, by_step, sample.STEPS) for by_step in scores]
    best = [truths[list(run.finished)].max() for run, truths in zip(runs, truth, strict=True)]
    return np.array(best), ROWS * np.array([run.spent for run in runs])


def methods(truth: np.ndarray, scores: dict[str, np.ndarray], seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per method and prompt: expected true score of what it hands out, and model rows."""
    mean, full = truth.mean(axis=1), ROWS * sample.STEPS
    cut = make_policy(ONE_CUT)
    (at,), cost = cut.moments(sample.STEPS), ROWS * cut.cost(sample.STEPS)

    def at_cost(rows: float) -> np.ndarray:
        return np.full(len(truth), rows)

    found = {
        "one image": (mean, at_cost(full)),
        "best of n at equal rows": (mean + protocol.best_of_n_gains(truth, cost / full, N)[:, 0], at_cost(cost)),
        "best of 10": (truth.max(axis=1), at_cost(N * full)),
        "random drop at 20 %": (mean, at_cost(cost)),
    }
    for name in PROBES:
        gains = protocol.selection_gains(scores[name][:, at - 1], truth, N, seed)[:, 0]
        found[f"one cut at 20 %, {name}"] = mean + gains, at_cost(cost)
    found[f"{SEQUENTIAL}, {BEST}"] = searched(make_policy(SEQUENTIAL), scores[BEST], truth)
    found[f"{SEQUENTIAL}, {BEST}, true-score finish"] = searched(make_policy(SEQUENTIAL, True), scores[BEST], truth)
    return found


def rows_of(found: dict[str, tuple[np.ndarray, np.ndarray]], truth: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """The scores of the table, without its times."""
    mean, best = truth.mean(axis=1), truth.max(axis=1)
    rows = []
    for name, (score, cost) in found.items():
        estimate = protocol.mean_over_prompts(score, seed)
        row = {
            "method": name,
            "score": estimate.value,
            "ci": estimate.interval,
            "oracle_share": (score.mean() - mean.mean()) / (best.mean() - mean.mean()),
            "nfe_rows": cost.mean(),
            "rows_fewer": ROWS * sample.STEPS * N / cost.mean(),
        }
        for key, other in (("over_best_of_n", "best of n at equal rows"), ("over_random", "random drop at 20 %")):
            difference = protocol.mean_over_prompts(score - found[other][0], seed)
            row |= {key: difference.value, f"{key}_ci": difference.interval}
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """What the README shows."""
    head = "| method | true score | oracle share | model rows | × ten in turn | × one batch of ten | × one image |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for row in rows:
        walls = (row[f"wall_ratio_vs_{name}"] for name in ("full", "batched", "one"))
        times = " | ".join(f"{wall:.2f}" for wall in walls)
        score = f"{row['score']:.3f} ({row['ci'][0]:.3f}–{row['ci'][1]:.3f})"
        lines.append(f"| {row['method']} | {score} | {row['oracle_share']:.2f} | {row['nfe_rows']:.0f} | {times} |")
    return "\n".join(lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, choices=["flux", "sdxl"])
    parser.add_argument("--seed", type=int, required=True, help="of prompts, noise, ties and intervals")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--scenes", type=int, default=40, help="of the prompt search")
    parser.add_argument("--rounds", type=int, default=5, help="of the timing, every method once in each")
    parser.add_argument("--out", type=report.Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    given = parse(arguments)
    testbed = Testbed.load(given.model)
    prompts = testbed.prompts(given.prompts, given.seed)
    prompt_rows = prompt_search.measure(testbed, given.scenes, given.seed)
    truth, scores = record(testbed, prompts, given.seed)
    times = search_timing.measure(testbed, prompts[: given.rounds], given.seed, PROBES, BEST, N)
    rows = rows_of(methods(truth, scores, given.seed), truth, given.seed)
    for row in rows:
        row |= times["methods"][row["method"]]
    figures = {
        "model": given.model,
        **testbed.settings,
        "prompts": given.prompts,
        "seeds": N,
        "rows": rows,
        "cached_search": cached_search.measure(testbed, prompts, given.seed, truth, scores["preview"]),
        "throughput": times["throughput"],
        "prompt_search": {**prompt_rows, **times["prompt_search"]},
    }
    report.write(given.out, figures, MODULE, given.seed)
    print(table(report.plain(rows)))
    print(cached_search.table(report.plain(figures["cached_search"])))
    print(report.plain(figures["prompt_search"]), report.plain(times["throughput"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
