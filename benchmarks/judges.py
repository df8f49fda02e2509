"""Gain of choosing images by one reward model, or by the mean of several under each of them.

``python -m benchmarks.judges --data FILE --out FILE.json``

FILE holds recorded trajectories of real models: ``{model}_{reward}_{kind}`` ``[look, prompt, image]`` for the models
flux and sdxl, the rewards imr, hps and pic, and the kinds preview (x0 predictions; the last is the finished image)
and noise_aware (a network tuned on them), with ``…_steps``, the step of each look from 0. It is measured on only, and
is no part of the pack.

The first half of the prompts is for designing: the mean and the within-prompt spread of each reward, by which
Combine Rewards standardises (``engine/rewards/spreads.json`` is written from them), and the comparison of ways to
standardise. The second half is for the report: choices are made by the constants of the first half.

A gain is what the best of ``SUBSET`` images by a choice has more than their mean, on average over all such subsets, in
within-prompt standard deviations of the finished images. ``ci`` is a 95 % interval over prompts.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from diffusion_probe.training.metrics.protocol import (
    SUBSET,
    mean_over_prompts,
    selection_gains,
    spearman_per_prompt,
)

from benchmarks.lib import report
from benchmarks.lib.pages.rewards import judge_tables

MODULE = "benchmarks.judges"
MODELS = ("flux", "sdxl")
REWARDS = {"imr": "ImageReward", "hps": "HPSv2.1", "pic": "PickScore"}
MEAN = "mean"
KINDS = ("preview", "noise_aware")
SHARES = (0.2, 0.3, 0.4, 0.5)
"""Shares of a run at which unfinished images are chosen from."""


def trajectories(data: Mapping[str, np.ndarray], model: str, reward: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores ``[look, prompt, image]`` of one reward and the steps done at each look, from 1.

    Raises:
        ValueError: the file lacks an array, or its shapes don't fit.
    """
    name = f"{model}_{reward}_{kind}"
    if missing := [each for each in (name, f"{name}_steps") if each not in data]:
        raise ValueError(f"the file has no array {missing[0]}. It needs {{model}}_{{reward}}_{{kind}} and …_steps.")
    scores, steps = data[name].astype(np.float64), data[f"{name}_steps"] + 1
    if scores.ndim != 3 or len(scores) != len(steps) or not np.isfinite(scores).all():
        raise ValueError(f"{name} has to be finite numbers [look, prompt, image], a look for each of its steps.")
    return scores, steps


def scale_rows(data: Mapping[str, np.ndarray], model: str, reward: str, prompts: slice) -> list[dict[str, float]]:
    """Return the mean and the within-prompt spread of a reward's previews at each step.

    ``percent`` is the noise level at which the model predicted the image, 0 for pure noise; the last step's
    prediction is the finished image, which counts as 1.
    """
    scores, steps = trajectories(data, model, reward, "preview")
    run = steps[-1]
    return [
        {
            "percent": 1.0 if step == run else (step - 1) / run,
            "mean": look[prompts].mean(),
            "spread": look[prompts].std(-1).mean(),
        }
        for step, look in zip(steps.tolist(), scores)
    ]


def looks(data: Mapping[str, np.ndarray], model: str) -> Iterator[tuple[str, float, dict[str, np.ndarray]]]:
    """Yield each kind of score with the share of the run and the scores ``[prompt, image]`` of all rewards there."""
    previews = {reward: trajectories(data, model, reward, "preview") for reward in REWARDS}
    run = int(next(iter(previews.values()))[1][-1])
    yield "finished", 1.0, {REWARDS[reward]: scores[-1] for reward, (scores, _) in previews.items()}
    for kind in KINDS:
        recorded = {reward: trajectories(data, model, reward, kind) for reward in REWARDS}
        for share in SHARES:
            yield (
                kind,
                share,
                {
                    REWARDS[reward]: scores[steps.tolist().index(round(share * run))]
                    for reward, (scores, steps) in recorded.items()
                },
            )


def with_mean(scores: dict[str, np.ndarray], prompts: slice, design: slice) -> dict[str, np.ndarray]:
    """Return the scores of some prompts, and the mean of all rewards standardised by the prompts for designing."""
    scales = {name: each[design].std(-1).mean() for name, each in scores.items()}
    mean = sum(each[prompts] / scales[name] for name, each in scores.items()) / len(scores)
    return {**{name: each[prompts] for name, each in scores.items()}, MEAN: mean}


def gain_rows(data: Mapping[str, np.ndarray], model: str, prompts: slice, design: slice) -> list[dict[str, Any]]:
    """Return what choosing by each reward and by the mean earns under each, at each look."""
    finished = {reward: trajectories(data, model, reward, "preview")[0][-1] for reward in REWARDS}
    units = {REWARDS[reward]: (each[prompts], each[design].std(-1).mean()) for reward, each in finished.items()}
    rows: list[dict[str, Any]] = []
    for kind, share, scores in looks(data, model):
        for by, chosen in with_mean(scores, prompts, design).items():
            for under, (truth, unit) in units.items():
                gains = selection_gains(chosen, truth) / unit
                gain = mean_over_prompts(gains[:, 0])
                row = {"model": model, "scores": kind, "share": share, "by": by, "under": under}
                rows.append({**row, "gain": gain.value, "ci": gain.interval, "of_best": _ratio(gains)})
    return rows


def _ratio(gains: np.ndarray) -> float:
    """Return the share of what could be gained at most."""
    chosen, best = gains.mean(0)
    return chosen / best


def agreement_rows(data: Mapping[str, np.ndarray], model: str, prompts: slice) -> list[dict[str, Any]]:
    """Return the within-prompt rank correlation of each pair of rewards on finished images."""
    finished = {name: trajectories(data, model, reward, "preview")[0][-1] for reward, name in REWARDS.items()}
    rows = []
    for first, second in combinations(finished, 2):
        rho = mean_over_prompts(spearman_per_prompt(finished[first][prompts], finished[second][prompts]))
        rows.append({"model": model, "first": first, "second": second, "spearman": rho.value, "ci": rho.interval})
    return rows


def design_rows(data: Mapping[str, np.ndarray], model: str, design: slice) -> list[dict[str, Any]]:
    """Compare ways to standardise on the prompts for designing, by the mean gain under all rewards.

    "moment": by the spread at the same moment, as Combine Rewards does; "finished": by that of the finished images;
    "prompt": by that of the prompt's own images, which a search of few candidates knows roughly; "none": not at all.
    """
    last = {name: trajectories(data, model, reward, "preview")[0][-1][design] for reward, name in REWARDS.items()}
    rows = []
    for kind, share, scores in looks(data, model):
        own = {name: each[design] for name, each in scores.items()}
        spreads: dict[str, dict[str, Any]] = {
            "moment": {name: each.std(-1).mean() for name, each in own.items()},
            "finished": {name: each.std(-1).mean() for name, each in last.items()},
            "prompt": {name: each.std(-1, keepdims=True) + 1e-9 for name, each in own.items()},
            "none": dict.fromkeys(own, 1.0),
        }
        for way, scales in spreads.items():
            mean = sum(each / scales[name] for name, each in own.items())
            gains = [selection_gains(mean, truth)[:, 0].mean() / truth.std(-1).mean() for truth in last.values()]
            rows.append({"model": model, "scores": kind, "share": share, "way": way, "gain": np.mean(gains)})
    return rows


def measured(data: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return all figures, and which prompts they come from."""
    prompts, images = trajectories(data, MODELS[0], next(iter(REWARDS)), "preview")[0].shape[1:]
    design, reported = slice(0, prompts // 2), slice(prompts // 2, prompts)
    return {
        "prompts": prompts,
        "images": images,
        "subset": SUBSET,
        "design_prompts": [design.start, design.stop - 1],
        "reported_prompts": [reported.start, reported.stop - 1],
        "spreads": {
            name: {model: scale_rows(data, model, reward, design) for model in MODELS}
            for reward, name in REWARDS.items()
        },
        "design": [row for model in MODELS for row in design_rows(data, model, design)],
        "agreement": [row for model in MODELS for row in agreement_rows(data, model, reported)],
        "gains": [row for model in MODELS for row in gain_rows(data, model, reported, design)],
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="recorded trajectories, an npz file")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the result file and print its tables; return the exit status."""
    args = parse(arguments)
    with np.load(args.data) as file:
        data = {name: file[name] for name in file.files}
    try:
        record = measured(data)
    except ValueError as error:
        raise SystemExit(f"{args.data.name}: {error}") from None
    report.write(args.out, record, MODULE, 0)
    print(*judge_tables({"judges": report.plain(record)}), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
