"""Full runs of many seeds of one prompt on a testbed model, with the features that probes read on the way."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.prompt.encode import encode_words
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.core.probe import CaptureAll, Probe
from diffusion_probe.testbed import sample, scenes, scorer
from diffusion_probe.testbed.load import MODELS, load_testbed
from torch import Tensor
from tqdm import tqdm

from training.client.paths import OUTPUT

SEEDS_PER_PROMPT = 1000
"""Distance of the first seeds of two prompts, so that no two prompts and no two benchmark seeds share a seed."""


def candidate_seeds(benchmark_seed: int, prompt: int, count: int) -> range:
    """Return the seeds of prompt number ``prompt``: each is the seed of one candidate's own noise."""
    first = (benchmark_seed * 1_000_000 + prompt) * SEEDS_PER_PROMPT
    return range(first, first + count)


def kept_lines(settings: str, unit: str, count: int, make: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the results of ``make`` for 0 … count - 1; an interrupted run is continued with the same settings.

    Lines are kept in ``output/``; delete them there when code that decides the numbers changes.
    """
    name = hashlib.sha256(f"{settings}-{unit}".encode()).hexdigest()[:16]
    path = OUTPUT / "benchmarks" / f"{unit}-{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    with path.open("a") as file:
        for number in tqdm(range(len(lines), count), desc=unit, mininterval=2):
            file.write(json.dumps(make(number)) + "\n")
            file.flush()
    return [json.loads(line) for line in path.read_text().splitlines()[:count]]


@dataclass(frozen=True)
class Candidates:
    """Finished runs of one prompt.

    Attributes:
        truth: ground-truth score of each finished image, ``[seeds]`` in 0 … 1.
        features: for each of the steps, one :class:`Features` per seed.
    """

    prompt: str
    truth: Tensor
    features: dict[int, list[Features]]


@dataclass(frozen=True)
class Testbed:
    """A testbed model as its workflow samples it."""

    folder: Path
    model: Any
    clip: Any
    vae: Any

    @classmethod
    def load(cls, name: str, folder: Path | None = None) -> "Testbed":
        """Load the shipped weights, or those that a training run left in ``folder``.

        Raises:
            SystemExit: there are none; the message lists those there are.
        """
        try:
            return cls(folder or MODELS / name, *load_testbed(name, folder))
        except FileNotFoundError as error:
            raise SystemExit(str(error)) from None

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that it is sampled with, and the digest of its weights."""
        return {
            "steps": sample.STEPS,
            "cfg": sample.default_cfg(self.model),
            "sampler": sample.SAMPLER,
            "scheduler": sample.SCHEDULER,
            "size": sample.SIZE_PX,
            "weights": self.weights(),
        }

    def weights(self) -> str:
        """Return the first half of the sha256 of the weight files."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.glob("*.safetensors")):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:32]

    def prompts(self, count: int, seed: int, split: str = "held_out") -> list[str]:
        """Return ``count`` different prompts; the model was trained on none of the held-out ones."""
        return [scene.prompt for scene in scenes.sample_scenes(count, seed, split)]

    def latents(self, model: Any, prompt: str, seeds: Sequence[int], **options: Any) -> Tensor:
        """Sample ``model``, plain or a patched clone: final latents, one row per seed; the words are known."""
        return sample.sample_conditioned(model, encode_words(self.clip, prompt)[0], self.clip, seeds, **options)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents to images ``[rows, H, W, 3]`` in 0 … 1."""
        return self.vae.decode(latents)

    def candidates(
        self,
        prompt: str,
        seeds: Sequence[int],
        looks: Sequence[int],
        probe: Probe | None = None,
        **options: Any,
    ) -> Candidates:
        """Sample one prompt from each seed to the end, capturing what ``probe`` needs (or all) at ``looks``.

        ``options``: of ``sample.sample_conditioned``, here and below.
        """
        moments = [f"step {step}" for step in looks]
        with torch.inference_mode():
            model = attach_probe(self.model, probe or CaptureAll(), ", ".join(moments))
            latent = {"samples": self.latents(model, prompt, seeds, **options)}
            truth = scorer.GroundTruth().score(self.decode(latent["samples"]), [prompt] * len(seeds))
            features = {step: captured(model, latent, moment) for step, moment in zip(looks, moments)}
        return Candidates(prompt, truth, features)

    def features(
        self, prompt: str, seeds: Sequence[int], looks: Sequence[int], probe: Probe, **options: Any
    ) -> dict[int, list[Features]]:
        """Return what ``probe`` needs, captured at evaluations ``looks``; the run ends after the last of them."""
        moments = [f"step {step}" for step in looks]
        with torch.inference_mode():
            model = attach_probe(self.model, probe, ", ".join(moments))
            latent = {"samples": self.latents(model, prompt, seeds, last_step=max(looks), **options)}
            return {step: captured(model, latent, moment) for step, moment in zip(looks, moments)}
