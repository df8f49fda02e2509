"""Prompt search: four wordings of one scene, all looked at after 20 % of the steps, one finished.

The wordings of a scene of three objects: as written, the two relations in the other order, without
sizes, and without relations. All are judged by the scene as written. The better wording is the one with
the best mean true score over ``SEEDS`` finished seeds; the search sees one seed of each.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.probe_models.preview import PreviewReward
from diffusion_probe.testbed import sample
from diffusion_probe.testbed.scenes import Scene, sample_scenes
from diffusion_probe.testbed.scorer import GroundTruth
from diffusion_probe.training.metrics import protocol

from benchmarks.lib.candidates import Testbed, candidate_seeds, kept_lines
from benchmarks.lib.search_probes import PREVIEW, Searcher, early_scores

SEEDS = 4
CUT = round(0.2 * sample.STEPS)
FIRST_PROMPT = 500_000
"""Number of the first scene, so that its seeds are no other benchmark's."""


def wordings(scene: Scene) -> list[str]:
    """Four ways to ask for a scene of three objects."""
    first, second, third = scene.objects
    return [
        scene.prompt,
        Scene((first, third, second), scene.relations[::-1]).prompt,
        replace(scene, objects=tuple(replace(one, size=None) for one in scene.objects)).prompt,
        replace(scene, relations=(None, None)).prompt,
    ]


@torch.inference_mode()
def record(testbed: Testbed, scene: Scene, seeds: range) -> dict[str, list[list[float]]]:
    """``truth`` and the preview's score at 20 % as ``early``, both ``[wording, seed]``."""
    judge = GroundTruth()
    preview = PreviewReward(testbed.decode, judge, scene.prompt)
    truth, early = [], []
    for text in wordings(scene):
        model = attach_probe(testbed.model, preview, f"step {CUT}")
        latent = {"samples": testbed.latents(model, text, seeds)}
        truth.append(judge.score(testbed.decode(latent["samples"]), [scene.prompt] * len(seeds)).tolist())
        early.append(preview.score(captured(model, latent)).tolist())
    return {"truth": truth, "early": early}


def measure(testbed: Testbed, scenes: int, seed: int, probes: list[Searcher]) -> dict[str, Any]:
    """How often the wording that a search finishes is the better one, and what its image is worth, by probe."""
    found = sample_scenes(scenes, 30_000 + seed, object_count=3)
    settings = f"{testbed.weights()}-{seed}-wordings"

    def judged(number: int) -> dict[str, Any]:
        return record(testbed, found[number], candidate_seeds(seed, FIRST_PROMPT + number, SEEDS))

    lines = kept_lines(settings, "scenes", scenes, judged)
    early = {PREVIEW.name: [line["early"] for line in lines]}
    for searcher in (one for one in probes if one is not PREVIEW):

        def looked_at(number: int, searcher: Searcher = searcher) -> list[list[float]]:
            seeds, texts = candidate_seeds(seed, FIRST_PROMPT + number, SEEDS), wordings(found[number])
            return [early_scores(testbed, searcher, text, seeds, [CUT])[CUT] for text in texts]

        key = f"{settings}-{searcher.digest or searcher.name}"
        early[searcher.name] = kept_lines(key, "scenes", scenes, looked_at)
    truth = np.array([line["truth"] for line in lines])
    means = truth.mean(axis=2)
    best = means == means.max(axis=1, keepdims=True)
    return {
        "wordings": truth.shape[1],
        "scenes": scenes,
        "chance": best.mean(),
        "rows_fewer": 4 * sample.STEPS / (4 * CUT + sample.STEPS - CUT),
        "rows": [picked(name, np.array(early[name]), truth, best, seed) for name in early],
    }


def picked(probe: str, early: np.ndarray, truth: np.ndarray, best: np.ndarray, seed: int) -> dict[str, Any]:
    """Of searches by ``early`` ``[scene, wording, seed]``, each seed of the scenes one search; ties are drawn."""
    ranks = np.stack([protocol.break_ties(scores.T, seed) for scores in early])  # [scene, seed, wording]
    choice = ranks.argmax(axis=2)
    hits = np.take_along_axis(best, choice, axis=1).mean(axis=1)
    images = np.take_along_axis(truth, choice[:, None], axis=1)[:, 0]
    row: dict[str, Any] = {"probe": probe}
    for name, values in {
        "picks_better": hits,
        "over_chance": hits - best.mean(axis=1),
        "score_gain_over_random_wording": (images - truth.mean(axis=1)).mean(axis=1),
    }.items():
        estimate = protocol.mean_over_prompts(values, seed)
        row |= {name: estimate.value, f"{name}_ci": estimate.interval}
    return row
