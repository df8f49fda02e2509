"""What is a seed search worth, and what does it cost?

``python -m benchmarks.seed_search --model flux --seed S --out FILE.json``

Fresh held-out prompts, ten seeds each, 25 steps. Every seed is sampled to the end once, with what the
probes say on the way; policies are then steered by these scores as the engine steers them, for a
finished image is the same in a search (tests/comfy). What they cost is measured with the engine itself.
Measured are the probes that need no training, those in ``testbed/probes/MODEL`` and each ``--probe FILE``.

``rows[]``: ``score`` mean true score of the image that is handed out (``ci`` its 95 % interval over
prompts), ``oracle_share`` (score - mean) / (best of ten - mean), ``nfe_rows`` forwards of one latent for
one cond, ``wall_ratio_vs_full`` how many times as fast as ten KSampler runs one after the other,
``…_vs_batched`` as one KSampler run of ten rows, ``…_vs_one`` as one image (``cpu_ratio_…``: the same of
processor time, which other programs disturb less). Finished images aren't decoded,
but what a probe or judge decodes is in its time. ``over_best_of_n``, ``over_random``: differences within
prompts, with the interval of that mean. ``prompt_search``: four wordings of a scene, one finished; see
``benchmarks/lib/prompt_search.py``. ``cached_search``: with TC-Padé Cache on the model; see
``benchmarks/lib/cached_search.py``. ``--real-size``: see ``benchmarks/lib/search_real_size.py``.
"""

import argparse
import sys
from typing import Any

import numpy as np
import torch
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, SEQUENTIAL
from diffusion_probe.testbed import sample
from diffusion_probe.training.metrics import protocol
from diffusion_probe.training.metrics.replay import replay

from benchmarks.lib import cached_search, prompt_search, report, search_real_size, search_timing
from benchmarks.lib.candidates import Testbed, candidate_seeds, kept_lines
from benchmarks.lib.search_probes import PREVIEW, Searcher, early_scores, searchers

MODULE = "benchmarks.seed_search"
N = 10
ROWS = 2
"""Per evaluation: cond and uncond."""


def record_prompt(testbed: Testbed, number: int, prompt: str, seed: int) -> dict[str, Any]:
    """Truth of all candidates of a prompt, and the preview's scores by step."""
    found = testbed.candidates(prompt, candidate_seeds(seed, number, N), PREVIEW.looks(N))
    preview = PREVIEW.make(testbed, prompt)
    with torch.inference_mode():
        scores = {step: preview.score(rows).tolist() for step, rows in found.features.items()}
    return {"prompt": prompt, "truth": found.truth.tolist(), "scores": {PREVIEW.name: scores}}


def record(
    testbed: Testbed, prompts: list[str], seed: int, probes: list[Searcher]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Truth ``[prompt, seed]``, and per probe the scores ``[prompt, evaluation, seed]``, NaN where none looks."""

    def judged(number: int) -> dict[str, Any]:
        return record_prompt(testbed, number, prompts[number], seed)

    settings = f"{testbed.weights()}-{seed}"
    lines = kept_lines(f"{settings}-{PREVIEW.looks(N)}", "prompts", len(prompts), judged)
    found = {PREVIEW.name: [line["scores"][PREVIEW.name] for line in lines]}
    for searcher in (one for one in probes if one is not PREVIEW):
        looks = searcher.looks(N)

        def looked_at(number: int, searcher: Searcher = searcher, looks: list[int] = looks) -> dict[int, list[float]]:
            return early_scores(testbed, searcher, prompts[number], candidate_seeds(seed, number, N), looks)

        key = f"{settings}-{looks}-{searcher.digest or searcher.name}"
        found[searcher.name] = kept_lines(key, "prompts", len(prompts), looked_at)
    return np.array([line["truth"] for line in lines]), {name: by_step(found[name]) for name in found}


def by_step(lines: list[dict[str, list[float]]]) -> np.ndarray:
    """Recorded scores as ``[prompt, evaluation, seed]``."""
    scores = np.full((len(lines), sample.STEPS - 1, N), np.nan)
    for number, line in enumerate(lines):
        for step, values in line.items():
            scores[number, int(step) - 1] = values
    return scores


def searched(policy: Any, scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per prompt the true score of the best that the policy finishes, and the rows it spends."""
    runs = [replay(policy, by_step, sample.STEPS) for by_step in scores]
    best = [truths[list(run.finished)].max() for run, truths in zip(runs, truth, strict=True)]
    return np.array(best), ROWS * np.array([run.spent for run in runs])


def methods(
    truth: np.ndarray, scores: dict[str, np.ndarray], seed: int, probes: list[Searcher]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per method and prompt: expected true score of what it hands out, and model rows."""
    mean, full = truth.mean(axis=1), ROWS * sample.STEPS
    cut = PREVIEW.policy(ONE_CUT, N)
    (at,), cost = cut.moments(sample.STEPS), ROWS * cut.cost(sample.STEPS)

    def at_cost(rows: float) -> np.ndarray:
        return np.full(len(truth), rows)

    found = {
        "one image": (mean, at_cost(full)),
        "best of n at equal rows": (mean + protocol.best_of_n_gains(truth, cost / full, N)[:, 0], at_cost(cost)),
        "best of 10": (truth.max(axis=1), at_cost(N * full)),
        "random drop at 20 %": (mean, at_cost(cost)),
    }
    for probe in probes:
        seen = scores[probe.name]
        gains = protocol.selection_gains(seen[:, at - 1], truth, N, seed)[:, 0]
        found[f"one cut at 20 %, {probe.name}"] = mean + gains, at_cost(cost)
        if probe.sequential:
            name = f"{SEQUENTIAL}, {probe.name}"
            found[name] = searched(probe.policy(SEQUENTIAL, N), seen, truth)
            found[f"{name}, true-score finish"] = searched(probe.policy(SEQUENTIAL, N, judged=True), seen, truth)
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
    head = ("method", "true score", "over best of n", "over random", "oracle share", "model rows")
    head += ("× ten in turn (processor time)", "× one batch of ten", "× one image")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        low, high = row["ci"]
        cells = [row["method"], f"{row['score']:.3f} ({low:.3f}–{high:.3f})"]
        for key in ("over_best_of_n", "over_random"):
            low, high = row[f"{key}_ci"]
            cells.append(f"{row[key]:+.3f} [{low:.3f}, {high:.3f}]" if low < high else "–")
        cells += [f"{row['oracle_share']:.2f}", f"{row['nfe_rows']:.0f}"]
        cells.append(f"{row['wall_ratio_vs_full']:.2f} ({row['cpu_ratio_vs_full']:.2f})")
        cells += [f"{row[f'wall_ratio_vs_{name}']:.2f}" for name in ("batched", "one")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
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
    given = parse(arguments)
    if given.real_size:
        figures = search_real_size.measure(given.model, given.rounds, given.seed)
        report.write(given.out, figures, MODULE, given.seed)
        print(report.plain(figures))
        return 0
    testbed, probes = Testbed.load(given.model), searchers(given.model, given.probe)
    prompts = testbed.prompts(given.prompts, given.seed)
    truth, scores = record(testbed, prompts, given.seed, probes)
    wordings = prompt_search.measure(testbed, given.scenes, given.seed, probes)
    times = search_timing.measure(testbed, prompts[: given.rounds], given.seed, probes, N)
    rows = rows_of(methods(truth, scores, given.seed, probes), truth, given.seed)
    for row in rows:
        row |= times["methods"][row["method"]]
    for row in wordings["rows"]:
        row |= times["prompt_search"][row["probe"]]
    figures = {
        "model": given.model,
        **testbed.settings,
        "prompts": given.prompts,
        "seeds": N,
        "rows": rows,
        "cached_search": cached_search.measure(testbed, prompts, given.seed, truth, scores, probes),
        "throughput": times["throughput"],
        "prompt_search": wordings,
    }
    report.write(given.out, figures, MODULE, given.seed)
    print(table(report.plain(rows)))
    print(cached_search.table(report.plain(figures["cached_search"])))
    print(report.plain(figures["prompt_search"]), report.plain(times["throughput"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
