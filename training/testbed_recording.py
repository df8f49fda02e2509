"""The fast path of recording: a testbed model, sampled in this process, judged by the ground truth."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..probe_models.probe import CaptureAll
from ..sampling.capture import attach_probe, captured
from ..sampling.words import encode_words
from ..testbed import sample, scenes, scorer
from ..testbed.load import load_testbed
from .dataset import Header, RunRecord, run_key
from .projection import dataset_projection
from .writing import DatasetWriter, recorded_moments, run_tensors, word_names

MOMENTS = ((1, 3, 5, 8, 10, 15), (1, 3, 5, 8, 10, 15), (2, 4, 5, 7, 9, 12))
"""Evaluations of a 25-step run to look at, in turn: noise levels between those that are measured, too."""

SEEDS_PER_PROMPT = 1000

Labels = dict[str, tuple[float, ...]]

OTHERS = 3
"""Other prompts of either kind that images are judged by, out of so many ``CANDIDATES``."""

CANDIDATES = 200


class TestbedRecorder:
    """Records training prompts of a testbed model.

    Args:
        name: a folder of ``testbed/models``.
        folder: of the dataset.
        seeds: per prompt.
        seed: of prompts and noise.
        half: compute in bfloat16: half the time, and images as good.
    """

    __test__ = False

    def __init__(self, name: str, folder: Path, seeds: int, seed: int, half: bool = True):
        self.name, self.folder, self.seeds, self.seed, self.half = name, folder, seeds, seed, half
        self.model, self.clip, self.vae = load_testbed(name)
        if half:
            self.model.set_model_compute_dtype(torch.bfloat16)
            self.vae.first_stage_model.to(torch.bfloat16)
        self.capture = CaptureAll(dataset_projection(folder))
        self.writer: DatasetWriter | None = None
        self.pool: list[str] = []

    def record(self, prompts: int, part: tuple[int, int] = (0, 1)) -> None:
        """Record so many training prompts; those that are there already are passed over.

        Args:
            part: (i, n): every n-th prompt from the i-th, for n processes at once.
        """
        chosen = scenes.sample_scenes(prompts, self.seed, "train")
        self.pool = [scene.prompt for scene in chosen]
        numbers = range(part[0], prompts, part[1])
        for number in tqdm(numbers, desc=f"{self.name} prompts", mininterval=5):
            self._record_prompt(number, chosen[number].prompt)

    def _record_prompt(self, number: int, prompt: str) -> None:
        first = (self.seed * 1_000_000 + number) * SEEDS_PER_PROMPT
        seeds, steps = tuple(range(first, first + self.seeds)), MOMENTS[number % len(MOMENTS)]
        key = run_key(prompt, self.name, seeds, steps, self.half)
        if self.writer is not None and self.writer.has(key):
            return
        with torch.inference_mode():
            rows, final, labels, others = self._run(prompt, seeds, steps)
        if self.capture.projection is None:
            activations = torch.cat([row.activation[None] for moment in rows for row in moment])
            self.capture.projection = dataset_projection(self.folder, activations)
            return self._record_prompt(number, prompt)
        if self.writer is None:
            first_row = rows[0][0]
            header = Header(first_row.family, first_row.blocks, len(first_row.activation), f"testbed {self.name}")
            self.writer = DatasetWriter(self.folder, header)
            if self.writer.has(key):
                return
        record = RunRecord(
            key,
            prompt,
            seeds,
            sample.STEPS,
            word_names(rows[0][0]),
            recorded_moments(rows),
            labels,
            {"half": self.half},
        )
        self.writer.add(record, run_tensors(rows, final))

    def _run(self, prompt: str, seeds: Sequence[int], steps: Sequence[int]) -> tuple[list, Tensor, Labels, Labels]:
        moments = [f"step {step}" for step in steps]
        model = attach_probe(self.model, self.capture, ", ".join(moments))
        final = sample.sample_conditioned(model, encode_words(self.clip, prompt)[0], self.clip, seeds)
        images, latent = self._decode(final), {"samples": final}
        others = {other: tuple(scorer.score(images, [other]).tolist()) for other in other_prompts(prompt, self.pool)}
        return [captured(model, latent, moment) for moment in moments], final, labels_of(images, prompt), others

    def _decode(self, latents: Tensor) -> Tensor:
        vae = self.vae
        if not self.half:
            return vae.decode(latents)
        return vae.process_output(vae.first_stage_model.decode(latents.bfloat16()).float()).movedim(1, -1)


def labels_of(images: Tensor, prompt: str) -> Labels:
    """The ground truth of images and its two factors, by unit."""
    parts = scorer.score_parts(images, [prompt])
    return {
        scorer.GroundTruth.label: tuple(part.total for part in parts),
        "structure": tuple(part.structure for part in parts),
        "appearance": tuple(part.appearance for part in parts),
    }


def other_prompts(prompt: str, pool: Sequence[str]) -> list[str]:
    """Prompts to judge the same images by: some at random, and some that share the most words with ``prompt``.

    The same ones for the same prompt and pool; only from the pool, so from the training split.
    """
    rng = random.Random(prompt)
    drawn = [other for other in rng.sample(pool, min(len(pool), CANDIDATES)) if other != prompt]
    words = Counter(prompt.split())
    alike = sorted(drawn[OTHERS:], key=lambda other: -(words & Counter(other.split())).total())
    return drawn[:OTHERS] + alike[:OTHERS]
