"""The pack on your own model: exactness of a search, skill of previews, seconds and memory, in 20 minutes at most.

``python -m benchmarks.on_your_model WORKFLOW.json --out FILE.json [--minutes 20] [--candidates 8] [--seed 0]``

WORKFLOW is a saved workflow, or one in API format, with a Seed Search or KSampler and nodes of ComfyUI and this pack
alone. What it loads is sampled with its own settings: one image, a batch, and a search with one cut at 20 %. FILE has
no prompts and no paths, and can be sent in for the table of what the pack was tested on.

- ``exactness``: ‖latent − KSampler's‖ / ‖KSampler's‖ of the search's survivor (``search``), and of the worst row of
  KSampler's own batch against single runs (``batch``).
- ``previews[]``: Spearman's ρ of the previews' rewards with those of the finished images, by evaluation; of a workflow
  with a Preview Reward.
- ``seconds``: of an image, of a batch of all candidates, and of the search.
- ``peak_gib``: the most memory of the accelerator that each took; without one, of the process as a whole.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import comfy.sample
import psutil
import torch
from diffusion_probe.engine.capture.hooks.families import find_family
from diffusion_probe.engine.core.features import DENOISED, Features
from diffusion_probe.engine.core.files import replace_file
from diffusion_probe.engine.core.probe import Probe
from diffusion_probe.engine.runs.comfy_versions import empty_latent_for
from diffusion_probe.engine.runs.latents import image_size
from diffusion_probe.engine.runs.seeds import batch_noise
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.ready import ready_to_score
from diffusion_probe.engine.seed_search.search import seed_search
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.lib import report
from benchmarks.lib.user_workflow import Subject, load

MODULE = "benchmarks.on_your_model"
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75)
"""Shares of a run at which previews are scored."""

LEAST = 4
"""Fewest candidates that ranks are compared of."""


class InOrder(Probe):
    """Probe that scores every candidate alike, so that the first survives."""

    name, label, needs, skilled = "in order", "order", frozenset({DENOISED}), True

    def score(self, rows: Sequence[Features]) -> Tensor:
        """Return zeros."""
        return torch.zeros(len(rows))


class Bench:
    """The runs of one subject.

    Args:
        subject: what is sampled.
        seed: of the first candidate; the others follow.
    """

    def __init__(self, subject: Subject, seed: int):
        self.subject, self.seed = subject, seed
        self.start = empty_latent_for(subject.model, subject.latent["samples"], subject.latent)
        self.probe = subject.probe and ready_to_score(subject.model, subject.probe, None, *self._texts())[0]

    def _texts(self) -> tuple[list, dict[str, Any]]:
        return self.subject.positive, self.subject.latent

    def sample(self, seeds: Sequence[int], on_step: Callable[..., None] | None = None) -> Tensor:
        """Sample seeds in one batch as KSampler does, each with its own noise."""
        subject = self.subject
        start = self.start.repeat(len(seeds), *[1] * (self.start.ndim - 1))
        settings = (*subject.settings, subject.positive, subject.negative)
        noise = batch_noise(start, seeds)
        return comfy.sample.sample(
            subject.model, noise, *settings, start, denoise=subject.denoise, callback=on_step, disable_pbar=True,
            seed=seeds[0],
        )  # fmt: skip

    def search(self, seeds: Sequence[int]) -> Any:
        """Search among seeds with one cut."""
        subject = self.subject
        settings = (*subject.settings, subject.positive, subject.negative, subject.latent, subject.denoise)
        candidates = [ksampler_candidate(seed, *settings) for seed in seeds]

        def policy(steps: int) -> Any:
            return policy_named(ONE_CUT, steps, len(seeds))

        return seed_search(subject.model, candidates, self.probe or InOrder(), policy)

    def rewards(self, probe: Probe, latents: Tensor, step: int) -> list[float]:
        """Return the rewards of latents after a step."""
        share = step / self.subject.settings[0]
        family = find_family(self.subject.model)
        rows = [
            Features(family=family.name if family else "", moment=f"step {step}", step=step, sigma=0.0, percent=share,
                     denoised=row)
            for row in latents
        ]  # fmt: skip
        return probe.score(rows).tolist()


def timed(run: Callable[[], Any]) -> tuple[Any, float, float | None]:
    """Return what a run returns, its seconds, and the peak of the accelerator's memory in GiB, None without one."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    result = run()
    if cuda:
        torch.cuda.synchronize()
    return result, time.perf_counter() - began, torch.cuda.max_memory_allocated() / 2**30 if cuda else None


def peak_of_process() -> float:
    """Return the peak of this process's memory in GiB."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**30
    import resource  # only Unix has it, with bytes on macOS and KiB elsewhere

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20


def difference(latent: Tensor, expected: Tensor) -> float:
    """Return the relative distance of two latents."""
    return float((latent.float() - expected.float()).norm() / expected.float().norm())


@torch.inference_mode()
def measure(subject: Subject, candidates: int, minutes: float, seed: int) -> dict[str, Any]:
    """Return the figures of a subject.

    Args:
        candidates: how many seeds, fewer where the time would not be enough.
        minutes: that it may take.
        seed: of the first candidate.
    """
    bench = Bench(subject, seed)
    steps = subject.settings[0]
    bench.sample([seed])  # loads the model
    single, one, peak_one = timed(lambda: bench.sample([seed]))
    affordable = int((0.6 * 60 * minutes / max(one, 1e-3) - 4) / 1.3)
    seeds = list(range(seed, seed + max(2, min(candidates, affordable))))
    moments = sorted({min(max(1, round(share * steps)), steps - 1) for share in SHARES}) if steps > 1 else []
    seen: dict[int, Tensor] = {}

    def on_step(step: int, x0: Tensor, x: Tensor, total: int) -> None:
        if step + 1 in moments:
            seen[step + 1] = subject.model.model.process_latent_out(x0.detach().cpu().float())

    batch, of_batch, peak_batch = timed(lambda: bench.sample(seeds, on_step))
    result, of_search, peak_search = timed(lambda: bench.search(seeds))
    survivor = result.survivors[0]
    alone = single if survivor == 0 else bench.sample([seeds[survivor]])
    differences = {"search": difference(result.latents[:1], alone), "batch": difference(batch[:1], single)}
    previews = []
    if bench.probe is not None and len(seeds) >= LEAST:
        final = bench.rewards(bench.probe, batch, steps)
        early = bench.probe.for_model(subject.model)
        previews = [
            {"evaluation": step, "rho": float(spearmanr(bench.rewards(early, seen[step], step), final).statistic)}
            for step in moments
            if step in seen
        ]
    family = find_family(subject.model)
    weights = sum(weight.numel() for weight in subject.model.model.diffusion_model.parameters())
    height, width = image_size(subject.model, bench.start)
    peaks = {"image": peak_one, "batch": peak_batch, "search": peak_search}
    if peak_one is None:
        peaks = {"process": peak_of_process()}
    return {
        "family": family.name if family else type(subject.model.model).__name__,
        "weights": weights,
        "weight_type": str(subject.model.model_dtype()).removeprefix("torch."),
        "size": [width, height],
        **dict(zip(("steps", "cfg", "sampler", "scheduler"), subject.settings, strict=True)),
        "candidates": len(seeds),
        "reward": bench.probe.label if bench.probe else None,
        "exactness": differences,
        "model_rows": result.outcome.model_rows,
        "previews": previews,
        "seconds": {"image": one, "batch": of_batch, "search": of_search},
        "peak_gib": peaks,
    }


def write(path: Path, figures: dict[str, Any], seed: int) -> None:
    """Write figures with machine and versions, and without the arguments of the command, which name a file."""
    command = f"python -m {MODULE} WORKFLOW.json --seed {seed} --out FILE.json"
    record = {**figures, "seed": seed, "command": command, "machine": report.machine(), "versions": report.versions()}
    text = json.dumps(report.plain(record), indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the result file; return the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("workflow", type=Path, metavar="WORKFLOW.json")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    with torch.inference_mode():
        subject = load(args.workflow)
    figures = measure(subject, args.candidates, args.minutes, args.seed)
    write(args.out, figures, args.seed)
    print(json.dumps(report.plain(figures), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
