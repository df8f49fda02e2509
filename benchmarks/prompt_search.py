"""Prompt search: four wordings of one scene, all looked at after 20 % of the steps, one finished.

The wordings of a scene of three objects: as written, the two relations in the other order, without
sizes, and without relations. All are judged by the scene as written. The better wording is the one with
the best mean true score over ``SEEDS`` finished seeds; the search sees one seed of each.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from diffusion_probe.probe_models.preview import PreviewReward
from diffusion_probe.probe_models.probe import CaptureAll
from diffusion_probe.sampling.capture import attach_probe, captured
from diffusion_probe.testbed import sample
from diffusion_probe.testbed.scenes import Scene, sample_scenes
from diffusion_probe.testbed.scorer import GroundTruth
from diffusion_probe.training import protocol

from benchmarks.candidates import Testbed, candidate_seeds, kept_lines

SEEDS = 4
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
    judge, step = GroundTruth(), round(0.2 * sample.STEPS)
    preview = PreviewReward(testbed.decode, judge, scene.prompt)
    truth, early = [], []
    for text in wordings(scene):
        model = attach_probe(testbed.model, CaptureAll(), f"step {step}")
        latent = {"samples": testbed.latents(model, text, seeds)}
        truth.append(judge(testbed.decode(latent["samples"]), [scene.prompt] * len(seeds)).tolist())
        early.append(preview.score(captured(model, latent)).tolist())
    return {"truth": truth, "early": early}


def measure(testbed: Testbed, scenes: int, seed: int) -> dict[str, Any]:
    """How often the wording that a search finishes is the better one, and what its image is worth."""
    hits, chances, gains = [], [], []
    found = sample_scenes(scenes, 30_000 + seed, object_count=3)

    def one(number: int) -> dict[str, Any]:
        return record(testbed, found[number], candidate_seeds(seed, FIRST_PROMPT + number, SEEDS))

    for line in kept_lines(f"{testbed.weights()}-{seed}-wordings", "scenes", scenes, one):
        truth, early = np.array(line["truth"]), np.array(line["early"])
        means = truth.mean(axis=1)
        best = means == means.max()
        ranks = protocol.break_ties(early.T, seed)
        picked = ranks.argmax(axis=1)
        hits.append(best[picked].mean())
        chances.append(best.mean())
        gains.append((truth[picked, np.arange(SEEDS)] - truth.mean(axis=0)).mean())
    hit, over, gain = (
        protocol.mean_over_prompts(values, seed)
        for values in (np.array(hits), np.array(hits) - np.array(chances), np.array(gains))
    )
    return {
        "wordings": 4,
        "scenes": scenes,
        "picks_better": hit.value,
        "picks_better_ci": hit.interval,
        "chance": float(np.mean(chances)),
        "over_chance": over.value,
        "over_chance_ci": over.interval,
        "score_gain_over_random_wording": gain.value,
        "score_gain_ci": gain.interval,
        "rows_fewer": 4 * sample.STEPS / (4 * round(0.2 * sample.STEPS) + sample.STEPS - round(0.2 * sample.STEPS)),
    }
