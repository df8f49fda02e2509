"""Recording of a testbed model in this process, without a server, with the ground truth as labels."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..engine.capture.attach import attach_probe
from ..engine.capture.prompt.encode import encode_words
from ..engine.capture.read import finished_rows
from ..engine.core.probe import CaptureAll
from ..testbed import sample, scenes, scorer
from ..testbed.load import load_testbed
from .dataset.folder import run_key, run_path
from .dataset.labels import label_run
from .dataset.recorder import FinishedRun, record_run

MOMENTS = ((1, 3, 5, 8, 10, 15), (1, 3, 5, 8, 10, 15), (2, 4, 5, 7, 9, 12))
"""Evaluations of a 25-step run to capture, prompts taking turns: also noise levels between those that are measured."""

SEEDS_PER_PROMPT = 1000
"""Distance between the first seeds of two prompts."""

OTHERS = 12
"""Number of other prompts as ``labels.OTHERS``; more, as the ground truth segments an image once for all prompts."""


class TestbedRecorder:
    """Recorder of training prompts of a testbed model.

    Args:
        name: of the model, a folder of ``testbed/models``.
        folder: of the dataset.
        seeds: number of seeds per prompt.
        seed: of prompts and noise.
        half: compute in bfloat16, in half the time, with images as good.
        size: height and width of the images in pixels.
        moments: evaluations to capture, prompts taking turns.
        others: number of other prompts that images are scored under.

    Attributes:
        pool: prompts that the other prompts are drawn from.
    """

    __test__ = False

    def __init__(
        self,
        name: str,
        folder: Path,
        seeds: int,
        seed: int,
        half: bool = True,
        size: tuple[int, int] = (sample.SIZE_PX, sample.SIZE_PX),
        moments: Sequence[tuple[int, ...]] = MOMENTS,
        others: int = OTHERS,
    ):
        self.name, self.folder, self.seeds, self.seed, self.half = name, folder, seeds, seed, half
        self.size, self.moments, self.others = size, moments, others
        self.model, self.clip, self.vae = load_testbed(name)
        if half:
            self.model.set_model_compute_dtype(torch.bfloat16)
            self.vae.first_stage_model.to(torch.bfloat16)
        self.pool: list[str] = []

    def record(self, prompts: int, part: tuple[int, int] = (0, 1)) -> None:
        """Record training prompts; those that the dataset has already are passed over.

        Args:
            prompts: how many there are in all.
            part: (i, n) to record every n-th prompt from the i-th, for n processes at once.
        """
        chosen = scenes.sample_scenes(prompts, self.seed, "train")
        self.pool = [scene.prompt for scene in chosen]
        numbers = range(part[0], prompts, part[1])
        for number in tqdm(numbers, desc=f"{self.name} prompts", mininterval=5):
            self.record_prompt(number, chosen[number].prompt)

    def record_prompt(self, number: int, prompt: str) -> None:
        """Record one prompt, whose number says its seeds and moments, unless the dataset has it."""
        first = (self.seed * 1_000_000 + number) * SEEDS_PER_PROMPT
        seeds, steps = tuple(range(first, first + self.seeds)), self.moments[number % len(self.moments)]
        usual = self.size == (sample.SIZE_PX, sample.SIZE_PX)
        key = run_key(prompt, self.name, seeds, steps, self.half, *([] if usual else self.size))
        if not run_path(self.folder, key).exists():
            with torch.inference_mode():
                record_run(self.folder, key, self._run(prompt, seeds, steps))

    def _run(self, prompt: str, seeds: Sequence[int], steps: Sequence[int]) -> FinishedRun:
        model = attach_probe(self.model, CaptureAll(), ", ".join(f"step {step}" for step in steps))
        final = sample.sample_conditioned(model, encode_words(self.clip, prompt)[0], self.clip, seeds, size=self.size)
        images = self._decode(final)
        moments = finished_rows(model, {"samples": final})[1]

        def score(prompts: Sequence[str]) -> dict[str, list[float]]:
            return dict(zip(prompts, scorer.score_each(images, prompts)))

        return FinishedRun(
            prompt=prompt,
            seeds=tuple(seeds),
            steps=sample.STEPS,
            moments=moments,
            final=final,
            labels=label_run(
                prompt, len(moments[0][0].words), self.pool, ground_truth(images, prompt), score, self.others
            ),
            model=f"testbed {self.name}",
            settings={"half": self.half, "size": self.size},
        )

    def _decode(self, latents: Tensor) -> Tensor:
        vae = self.vae
        if not self.half:
            return vae.decode(latents)
        return vae.process_output(vae.first_stage_model.decode(latents.bfloat16()).float()).movedim(1, -1)


def ground_truth(images: Tensor, prompt: str) -> dict[str, tuple[float, ...]]:
    """Score images ``[rows, height, width, 3]`` by the ground truth: the score and its two factors, by unit."""
    criteria = scorer.criteria_of(images, [prompt])
    return {
        scorer.GroundTruth.label: tuple(each.total for each in criteria),
        "structure": tuple(each.structure for each in criteria),
        "appearance": tuple(each.appearance for each in criteria),
    }
