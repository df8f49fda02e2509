"""Comparison of cross-attention and self-attention as what the attention CNN learns from.

``python -m benchmarks.self_attention --model flux --prompts 180 --seeds 8 --steps 300 --seed S --out FILE.json``

Training prompts of the testbed alone are sampled, once: both kinds of maps are of the same images at the same
evaluations, in two datasets that differ in the maps only. The same network with the same recipe learns from the maps
of each, without the words, and is measured on the validation prompts.
The probes of the pack capture no self-attention; that is read here.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.hooks.families import block_names
from diffusion_probe.engine.capture.read import finished_rows
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.core.probe import CaptureAll
from diffusion_probe.engine.core.prompt_words import Word
from diffusion_probe.engine.runs.keys import CAPTURING
from diffusion_probe.testbed import sample
from diffusion_probe.training.dataset.folder import Dataset, is_validation, run_key, run_path
from diffusion_probe.training.dataset.labels import Labels
from diffusion_probe.training.dataset.recorder import FinishedRun, record_run
from diffusion_probe.training.fitting.fit import Fit, Recipe
from diffusion_probe.training.metrics import protocol
from diffusion_probe.training.testbed_recording import ground_truth
from torch import Tensor
from tqdm import tqdm

from benchmarks.lib import report
from benchmarks.lib.candidates import Testbed, candidate_seeds
from benchmarks.probe_learning import NETWORKS, validation_scores

MODULE = "benchmarks.self_attention"
STEPS = (3, 5, 8, 10)
LABELS = ("truth", "structure", "appearance")
KIND = "attention cnn"
MAPS_ALONE = {**NETWORKS[KIND], "text": 0, "spelling": 0}
CROSS, SELF = "cross", "self"
MAPS = {
    "cross-attention by word": (CROSS, True),
    "cross-attention, all words as one": (CROSS, False),
    "self-attention": (SELF, False),
}
"""Kinds of maps to learn from: which dataset, and whether its words are known."""

RECEIVED = (Word("image", (0,)),)
"""The only word of self-attention, as each block has one map."""

COND = 0


class SelfAttention:
    """An ``optimized_attention_override`` that keeps what image tokens receive, at the evaluations that are captured.

    Args:
        image: how many tokens the image has; FLUX's text comes before them.

    Attributes:
        maps: by sigma and block, of the rows of the positive prompt, as :func:`received`.
    """

    def __init__(self, image: int):
        self.image = image
        self.maps: dict[tuple[float, str], Tensor] = {}

    def __call__(self, func, q, k, v, heads, *args, **kwargs):
        options = kwargs["transformer_options"]
        entries = options["cond_or_uncond"]
        if options.get(CAPTURING) and COND in entries:
            rows = len(q) // len(entries)
            first = entries.index(COND) * rows
            (block,) = block_names([(options["block_type"], options["block_index"])])
            key = float(options["sigmas"].flatten()[0]), block
            self.maps[key] = received(q[first : first + rows], k[first : first + rows], self.image)
        return func(q, k, v, heads, *args, **kwargs)

    def with_maps(self, row: Features, number: int) -> Features:
        """Return the features of row ``number`` of the batch with these maps, on the grid of the captured ones."""
        maps = torch.stack([self.maps[row.sigma, block][number] for block in row.blocks])
        grid = row.attention.shape[-2:]
        return replace(row, attention=maps.unflatten(-1, grid)[:, None].half(), words=RECEIVED)


def received(q: Tensor, k: Tensor, image: int) -> Tensor:
    """Return how much attention each image token receives from all image tokens.

    Args:
        q, k: ``[rows, heads, tokens, head_dim]``, the image's tokens last.
        image: how many these are.

    Returns:
        float32 ``[rows, image]``: softmax weights over all keys, the text's too, averaged over heads and added up over
        queries. So the mean of a map is the share of attention that stays in the image, a number of the size of
        cross-attention's.
    """
    weights = torch.softmax(q[:, :, -image:].float() @ k.float().mT / q.shape[-1] ** 0.5, -1)
    return weights[..., -image:].mean(1).sum(1)


def both_kinds(testbed: Testbed, prompt: str, seeds: Sequence[int]) -> dict[str, FinishedRun]:
    """Sample one run to its end; return it by the kind of maps that were captured on the way."""
    side = testbed.model.model.diffusion_model.patch_size * 8
    seen = SelfAttention((sample.SIZE_PX // side) ** 2)
    model = testbed.model.clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = seen
    with torch.inference_mode():
        model = attach_probe(model, CaptureAll(), ", ".join(f"step {step}" for step in STEPS))
        final = testbed.latents(model, prompt, seeds)
        moments = finished_rows(model, {"samples": final})[1]
        run = FinishedRun(
            prompt=prompt,
            seeds=tuple(seeds),
            steps=sample.STEPS,
            moments=moments,
            final=final,
            labels=Labels(ground_truth(testbed.decode(final), prompt)),
            model="testbed",
        )
        other_moments = [[seen.with_maps(row, number) for number, row in enumerate(rows)] for rows in moments]
    return {CROSS: run, SELF: replace(run, moments=other_moments)}


def record(testbed: Testbed, args: argparse.Namespace, data: Path) -> set[str]:
    """Record so many training and validation prompts, except those recorded before; return their keys."""
    pool = list(enumerate(testbed.prompts(2 * args.prompts + 20 * args.validation, args.seed, "train")))
    validation = [(number, prompt) for number, prompt in pool if is_validation(prompt)]
    others = [(number, prompt) for number, prompt in pool if not is_validation(prompt)]
    chosen = [*validation[: args.validation], *others[: args.prompts]]
    keys = set()
    for number, prompt in tqdm(chosen, desc="prompts", mininterval=5):
        seeds = tuple(candidate_seeds(args.seed, number, args.seeds))
        key = run_key(prompt, seeds, STEPS)
        keys.add(key)
        if not all(run_path(data / kind, key).exists() for kind in (CROSS, SELF)):
            for kind, run in both_kinds(testbed, prompt, seeds).items():
                record_run(data / kind, key, run)
    return keys


def learn(data: Path, keys: set[str], args: argparse.Namespace) -> dict[str, dict[str, np.ndarray]]:
    """Train on each kind of maps of these runs; return ρ of every validation prompt, by noise level and over all of
    them."""
    rhos = {}
    for name, (kind, words) in MAPS.items():
        dataset = Dataset(data / kind)
        dataset.runs = [run for run in dataset.runs if run.key in keys]
        recipe = Recipe(KIND, LABELS, steps=args.steps, seed=args.seed, use_words=words, network=MAPS_ALONE, others=0)
        fit = Fit(dataset, dataset.split()[0], recipe, data / f"{name}.safetensors")
        fit.run()
        scored = validation_scores(fit, dataset)
        rho = {f"{percent:.0%}": protocol.spearman_per_prompt(*pair, args.seed) for percent, pair in scored.items()}
        rhos[name] = {**rho, "all": np.mean(list(rho.values()), 0)}
        print(f"{name}:", ", ".join(f"{moment} {np.nanmean(values):.3f}" for moment, values in rhos[name].items()))
    return rhos


def figures(rho: dict[str, dict[str, np.ndarray]], seed: int) -> dict[str, Any]:
    """Return means over prompts and paired differences with their intervals; prompts of equal images are left out."""

    def estimated(values: dict[str, np.ndarray]) -> dict[str, list[float]]:
        means = {name: protocol.mean_over_prompts(each[~np.isnan(each)], seed) for name, each in values.items()}
        return {name: [mean.value, *mean.interval] for name, mean in means.items()}

    def difference(first: str, second: str) -> dict[str, np.ndarray]:
        return {moment: rho[first][moment] - rho[second][moment] for moment in rho[first]}

    return {
        "within_spearman": {name: estimated(values) for name, values in rho.items()},
        "differences": {
            f"{first} - {second}": estimated(difference(first, second)) for first, second in combinations(rho, 2)
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """Record, train and write the result file; return the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["flux"], required=True)
    parser.add_argument("--prompts", type=int, default=300, help="to learn from")
    parser.add_argument("--validation", type=int, default=60, help="prompts to measure on")
    parser.add_argument("--seeds", type=int, default=8, help="of each prompt")
    parser.add_argument("--steps", type=int, default=400, help="of each training")
    parser.add_argument("--data", type=Path, help="folder of the datasets, to go on with; a temporary one by default")
    parser.add_argument("--seed", type=int, required=True, help="of prompts, noise, weights, ties and intervals")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    testbed = Testbed.load(args.model)
    testbed.model.set_model_compute_dtype(torch.bfloat16)  # as the testbed's recordings
    with tempfile.TemporaryDirectory() as temporary:
        data = args.data or Path(temporary)
        rho = learn(data, record(testbed, args, data), args)
    settings = {
        "model": args.model,
        "prompts": args.prompts,
        "validation_prompts": args.validation,
        "seeds_per_prompt": args.seeds,
        "evaluations": STEPS,
        "training_steps": args.steps,
        "network": NETWORKS[KIND],
        "labels": LABELS,
        "half": True,
        **testbed.settings,
    }
    report.write(args.out, {**figures(rho, args.seed), "settings": settings}, MODULE, args.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
