"""Search over prompts: four wordings of one scene, all looked at after 20 % of the steps, one finished.

The wordings of a scene of three objects: as written, the two relations in the other order, without
sizes, and without relations. The reward of all is that of the scene as written. The better wording is the one with
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
    """Return four wordings of a scene of three objects."""
    first, second, third = scene.objects
    return [
        scene.prompt,
        Scene((first, third, second), scene.relations[::-1]).prompt,
        replace(scene, objects=tuple(replace(one, size=None) for one in scene.objects)).prompt,
        replace(scene, relations=(None, None)).prompt,
    ]


@torch.inference_mode()
def record(testbed: Testbed, scene: Scene, seeds: range) -> dict[str, list[list[float]]]:
    """Return ``truth`` and the preview's score at 20 % as ``early``, both ``[wording, seed]``."""
    ground_truth = GroundTruth()
    preview = PreviewReward(testbed.decode, ground_truth, scene.prompt)
    truth, early = [], []
    for text in wordings(scene):
        model = attach_probe(testbed.model, preview, f"step {CUT}")
        latent = {"samples": testbed.latents(model, text, seeds)}
        truth.append(ground_truth.score(testbed.decode(latent["samples"]), [scene.prompt] * len(seeds)).tolist())
        early.append(preview.score(captured(model, latent)).tolist())
    return {"truth": truth, "early": early}


def measure(testbed: Testbed, scenes: int, seed: int, probes: list[Searcher]) -> dict[str, Any]:
    """Return how often a search finishes the better wording, and what its image is worth, by probe."""
    sampled_scenes = sample_scenes(scenes, 30_000 + seed, object_count=3)
    settings = f"{testbed.weights()}-{seed}-wordings"

    def recorded(number: int) -> dict[str, Any]:
        return record(testbed, sampled_scenes[number], candidate_seeds(seed, FIRST_PROMPT + number, SEEDS))

    lines = kept_lines(settings, "scenes", scenes, recorded)
    early = {PREVIEW.name: [line["early"] for line in lines]}
    for searcher in (one for one in probes if one is not PREVIEW):

        def looked_at(number: int, searcher: Searcher = searcher) -> list[list[float]]:
            seeds, texts = candidate_seeds(seed, FIRST_PROMPT + number, SEEDS), wordings(sampled_scenes[number])
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
    """Return the figures of searches by ``early`` ``[scene, wording, seed]``, one for each seed of a scene; ties are
    drawn."""
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
