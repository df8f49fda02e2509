"""Worth and cost of a seed search.

``python -m benchmarks.seed_search --model flux --seed S --out FILE.json``

Fresh held-out prompts, ten seeds each, 25 steps. Every seed is sampled to the end once, with what the
probes say on the way; policies are then steered by these scores as the engine steers them, for a
finished image is the same in a search (tests/comfy). What they cost is measured with the engine itself.
Measured are the probes that need no training, those in ``testbed/probes/MODEL`` and each ``--probe FILE``.

``rows[]``: ``score`` mean true reward of the image that is returned (``ci`` its 95 % interval over
prompts), ``oracle_share`` (score - mean) / (best of ten - mean), ``nfe_rows`` forwards of one latent for
one cond, ``wall_ratio_vs_full`` how many times as fast as ten KSampler runs one after the other,
``…_vs_batched`` as one KSampler run of ten rows, ``…_vs_one`` as one image (``cpu_ratio_…``: the same of
processor time, which other programs disturb less), ``cpu_seconds`` processor time itself, ``looks`` scores of
candidates on their way. Finished images aren't decoded,
but what a probe or the ground truth decodes is in its time. ``over_best_of_n``, ``over_random``: differences within
prompts, with the interval of that mean. ``prompt_search``: four wordings of a scene, one finished; see
``benchmarks/lib/prompt_search.py``. ``cached_search``: with TC-Padé Cache on the model; see
``benchmarks/lib/cached_search.py``. ``--real-size``: see ``benchmarks/lib/search_real_size.py``.
"""

import argparse
import sys
from typing import Any

import numpy as np
import torch
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, SEQUENTIAL, policy_named
from diffusion_probe.testbed import sample
from diffusion_probe.training.metrics import protocol
from diffusion_probe.training.metrics.replay import replay

from benchmarks.lib import cached_search, prompt_search, report, search_real_size, search_timing
from benchmarks.lib.candidates import Testbed, candidate_seeds, kept_lines
from benchmarks.lib.pages.seed_search import cached_table, wording_tables, worth_table
from benchmarks.lib.search_probes import PREVIEW, Searcher, early_scores, searchers

MODULE = "benchmarks.seed_search"
N = 10
ROWS = 2
"""Model rows of one evaluation: cond and uncond."""


def record_prompt(testbed: Testbed, number: int, prompt: str, seed: int) -> dict[str, Any]:
    """Sample all candidates of a prompt; return their truth, and the preview's scores by step."""
    sampled = testbed.candidates(prompt, candidate_seeds(seed, number, N), PREVIEW.looks(N))
    preview = PREVIEW.make(testbed, prompt)
    with torch.inference_mode():
        scores = {step: preview.score(rows).tolist() for step, rows in sampled.features.items()}
    return {"prompt": prompt, "truth": sampled.truth.tolist(), "scores": {PREVIEW.name: scores}}


def record(
    testbed: Testbed, prompts: list[str], seed: int, probes: list[Searcher]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return truth ``[prompt, seed]``, and scores ``[prompt, evaluation, seed]`` by probe, NaN without a look."""

    def recorded(number: int) -> dict[str, Any]:
        return record_prompt(testbed, number, prompts[number], seed)

    settings = f"{testbed.weights()}-{seed}"
    lines = kept_lines(f"{settings}-{PREVIEW.looks(N)}", "prompts", len(prompts), recorded)
    scores = {PREVIEW.name: [line["scores"][PREVIEW.name] for line in lines]}
    for searcher in (one for one in probes if one is not PREVIEW):
        looks = searcher.looks(N)

        def looked_at(number: int, searcher: Searcher = searcher, looks: list[int] = looks) -> dict[int, list[float]]:
            return early_scores(testbed, searcher, prompts[number], candidate_seeds(seed, number, N), looks)

        key = f"{settings}-{looks}-{searcher.digest or searcher.name}"
        scores[searcher.name] = kept_lines(key, "prompts", len(prompts), looked_at)
    return np.array([line["truth"] for line in lines]), {name: by_step(scores[name]) for name in scores}


def by_step(lines: list[dict[str, list[float]]]) -> np.ndarray:
    """Return recorded scores as ``[prompt, evaluation, seed]``."""
    scores = np.full((len(lines), sample.STEPS - 1, N), np.nan)
    for number, line in enumerate(lines):
        for step, values in line.items():
            scores[number, int(step) - 1] = values
    return scores


def searched(policy: Any, scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return per prompt the true reward of the best that the policy finishes, the rows that it takes, and its looks."""
    runs = [replay(policy, by_step, sample.STEPS) for by_step in scores]
    best = [truths[list(run.finished)].max() for run, truths in zip(runs, truth, strict=True)]
    return np.array(best), ROWS * np.array([run.steps for run in runs]), np.array([run.looks for run in runs])


def methods(
    truth: np.ndarray, scores: dict[str, np.ndarray], seed: int, probes: list[Searcher]
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return per method and prompt the expected true reward of the image returned, model rows, and looks."""
    mean, full = truth.mean(axis=1), ROWS * sample.STEPS
    cut = policy_named(ONE_CUT, sample.STEPS, N)
    (at,), cost = cut.moments(sample.STEPS), ROWS * cut.cost(sample.STEPS)

    def at_cost(rows: float, looks: int = 0) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(truth), rows), np.full(len(truth), looks)

    outcomes = {
        "one image": (mean, *at_cost(full)),
        "best of n at equal rows": (mean + protocol.best_of_n_gains(truth, cost / full, N)[:, 0], *at_cost(cost)),
        "best of 10": (truth.max(axis=1), *at_cost(N * full)),
        "random drop at 20 %": (mean, *at_cost(cost, N)),
    }
    for probe in probes:
        seen = scores[probe.name]
        gains = protocol.selection_gains(seen[:, at - 1], truth, N, seed)[:, 0]
        outcomes[f"one cut at 20 %, {probe.name}"] = mean + gains, *at_cost(cost, N)
        if probe.sequential:
            name = f"{SEQUENTIAL}, {probe.name}"
            outcomes[name] = searched(probe.policy(SEQUENTIAL, N), seen, truth)
            finishing = probe.policy(SEQUENTIAL, N, final_reward=True)
            outcomes[f"{name}, true-score finish"] = searched(finishing, seen, truth)
    return outcomes


def rows_of(
    outcomes: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]], truth: np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """Return the scores of the table, without its times."""
    mean, best = truth.mean(axis=1), truth.max(axis=1)
    rows = []
    for name, (score, cost, looks) in outcomes.items():
        estimate = protocol.mean_over_prompts(score, seed)
        row = {
            "method": name,
            "score": estimate.value,
            "ci": estimate.interval,
            "oracle_share": (score.mean() - mean.mean()) / (best.mean() - mean.mean()),
            "nfe_rows": cost.mean(),
            "looks": looks.mean(),
            "rows_fewer": ROWS * sample.STEPS * N / cost.mean(),
        }
        for key, other in (("over_best_of_n", "best of n at equal rows"), ("over_random", "random drop at 20 %")):
            difference = protocol.mean_over_prompts(score - outcomes[other][0], seed)
            row |= {key: difference.value, f"{key}_ci": difference.interval}
        rows.append(row)
    return rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, choices=["flux", "sdxl"])
    parser.add_argument("--seed", type=int, required=True, help="of prompts, noise, ties and intervals")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--scenes", type=int, default=60, help="of the prompt search")
    parser.add_argument("--rounds", type=int, default=5, help="of the timing, every method once in each")
    parser.add_argument(
        "--probe", type=report.Path, action="append", default=[], metavar="FILE", help="a trained one; may be repeated"
    )
    parser.add_argument("--real-size", action="store_true", help="speed and memory alone: random weights, 1024², GPU")
    parser.add_argument("--out", type=report.Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the result file; return the exit status."""
    args = parse(arguments)
    if args.real_size:
        figures = search_real_size.measure(args.model, args.rounds, args.seed)
        report.write(args.out, figures, MODULE, args.seed)
        print(report.plain(figures))
        return 0
    testbed, probes = Testbed.load(args.model), searchers(args.model, args.probe)
    prompts = testbed.prompts(args.prompts, args.seed)
    truth, scores = record(testbed, prompts, args.seed, probes)
    wordings = prompt_search.measure(testbed, args.scenes, args.seed, probes)
    times = search_timing.measure(testbed, prompts[: args.rounds], args.seed, probes, N)
    rows = rows_of(methods(truth, scores, args.seed, probes), truth, args.seed)
    recorded = cached_search.Recorded(testbed, prompts, args.seed, truth)
    for row in rows:
        row |= times["methods"][row["method"]]
    for row in wordings["rows"]:
        row |= times["prompt_search"][row["probe"]]
    figures = {
        "model": args.model,
        **testbed.settings,
        "prompts": args.prompts,
        "seeds": N,
        "rows": rows,
        "cached_search": cached_search.measure(recorded, scores, probes),
        "throughput": times["throughput"],
        "prompt_search": wordings,
    }
    report.write(args.out, figures, MODULE, args.seed)
    plain = report.plain(figures)
    tables = worth_table(plain), cached_table(plain), *wording_tables({args.model: plain})
    print(*tables, plain["throughput"], sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
