"""Cost of scoring seeds, beside sampling them to 20 % of a run.

``python -m benchmarks.scoring_cost --model flux --seed S --out FILE.json``: at the dimensions of FLUX.1-dev or
SDXL and 1024², with random weights, networks of the default sizes, and random weights in these, too: what is
computed doesn't depend on them. ``benchmarks.probe_accuracy`` measures the same on the testbeds with the
trained probes.

``probes.NAME.share_of_partial_run`` is scoring one row by what sampling it takes. Without a GPU FLUX has only
some of its blocks and SDXL no CFG, so the shares are larger than those of real runs (``dimensions``, ``cfg``).
"""

import argparse
import inspect
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.sample
import torch
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.engine.core.features import ACTIVATION, Features
from diffusion_probe.engine.core.probe import CaptureAll, Probe
from diffusion_probe.engine.core.prompt_words import Word
from diffusion_probe.probe_models.focus import AttentionFocus
from diffusion_probe.probe_models.probe_card import ProbeCard
from diffusion_probe.probe_models.probe_file import KINDS, LearnedProbe

from benchmarks.lib import report
from benchmarks.lib.candidates import Testbed
from benchmarks.lib.real_size import REAL_SIZES, seconds_spent

STEP, STEPS, ROUNDS = 5, 25, 7
MODULE = "benchmarks.scoring_cost"
PROJECTED = 48
"""Channels of an activation in recorded data."""

BLOCKS, WORDS = 10, 40
"""Number of blocks whose maps a probe reads, and number of words of a prompt."""


@torch.inference_mode()
def measure(
    testbed: Testbed,
    seed: int,
    rows: int,
    probes: Mapping[str, Callable[[Testbed, str], Probe]],
    projection: torch.Tensor | None,
) -> dict[str, Any]:
    """Measure on a testbed, with all seeds of a prompt at once.

    Args:
        seed: of the prompt.
        rows: seeds that are sampled and scored together.
        probes: by name, how each is made for a prompt.
        projection: of activations, see :class:`probe.Probe`.
    """
    prompt, seeds = testbed.prompts(1, seed)[0], range(rows)
    features = testbed.features(prompt, seeds, [STEP], CaptureAll(projection))[STEP]
    made = {name: make(testbed, prompt) for name, make in probes.items()}

    def partial_run() -> None:
        testbed.latents(testbed.model, prompt, seeds, last_step=STEP)

    return compare(partial_run, features, made, ROUNDS)


def compare(
    partial_run: Callable[[], None], features: Sequence[Features], probes: Mapping[str, Probe], rounds: int
) -> dict[str, Any]:
    """Return medians of processor time (wall clock on a GPU) over rounds, everything once in each."""
    run = "partial run"
    spent: dict[str, list[float]] = {name: [] for name in (run, *probes)}
    for _ in range(rounds):
        for name, seconds in spent.items():
            start = seconds_spent()
            if name == run:
                partial_run()
            else:
                probes[name].score(features)
            seconds.append(seconds_spent() - start)
    medians = {name: statistics.median(seconds) for name, seconds in spent.items()}
    sampling = medians.pop(run)
    return {
        "step": STEP,
        "rows": len(features),
        "partial_run_seconds": sampling,
        "probes": {
            name: {"ms_per_row": 1000 * seconds / len(features), "share_of_partial_run": seconds / sampling}
            for name, seconds in medians.items()
        },
    }


@torch.inference_mode()
def real_size(name: str, seed: int, rounds: int) -> dict[str, Any]:
    """Measure one row of a model of real dimensions."""
    real = REAL_SIZES[name]
    model, latent = real.build(seed), torch.zeros(1, *real.latent)
    positive, negative = real.conditioning(seed)
    noise = comfy.sample.prepare_noise(latent, seed)

    def sample(model: Any) -> torch.Tensor:
        settings = (model, noise, STEPS, real.cfg, "euler", "simple", positive, negative, latent)
        return comfy.sample.sample(*settings, last_step=STEP, disable_pbar=True, seed=seed)

    attached = attach_probe(model, CaptureAll(), f"step {STEP}")
    (row,) = captured(attached, {"samples": sample(attached)}, f"step {STEP}")
    channels = len(row.activation)
    projection = torch.randn(PROJECTED, channels, generator=torch.Generator().manual_seed(seed)) * channels**-0.5
    activation = torch.einsum("kc,chw->khw", projection, row.activation.float()).half()
    words = tuple(Word(f"word {number}", (number,)) for number in range(WORDS))
    maps = row.attention.repeat(-(-BLOCKS // len(row.blocks)), 1, 1, 1)[:BLOCKS]
    blocks = tuple(f"block {number}" for number in range(BLOCKS))
    features = [replace(row, activation=activation, words=words, attention=maps, blocks=blocks)]
    probes = {"focus": AttentionFocus(), **{kind: untrained(kind, features[0], projection) for kind in KINDS}}
    shape = {key: list(value.shape) for key, value in vars(features[0]).items() if isinstance(value, torch.Tensor)}
    about = {"model": name, "dimensions": real.about, "cfg": real.cfg, "blocks": len(features[0].blocks)}
    return {**about, "captured": shape, **compare(lambda: sample(model), features, probes, rounds)}


def untrained(kind: str, row: Features, projection: torch.Tensor) -> LearnedProbe:
    """Build a probe of the default sizes for rows like ``row``."""
    channels = {"text": row.text.shape[-1], "activation": PROJECTED, "latent": row.latent.shape[0]}
    wanted = inspect.signature(KINDS[kind]).parameters
    sizes = {size: number for size, number in channels.items() if size in wanted}
    card = ProbeCard(kind, row.family, row.blocks, (), "none", ("none",), sizes)
    network = KINDS[kind](len(row.blocks), 1, **sizes)
    return LearnedProbe(kind, card, network, projection if ACTIVATION in network.needs else None)


def main(arguments: list[str] | None = None) -> int:
    """Measure at real size and write the result file; return the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(REAL_SIZES), required=True)
    parser.add_argument("--seed", type=int, required=True, help="of all weights and the noise")
    parser.add_argument("--rounds", type=int, default=3, help="everything once in each")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    figures = real_size(args.model, args.seed, args.rounds)
    report.write(args.out, figures, MODULE, args.seed)
    for name, cost in figures["probes"].items():
        print(f"{name}: {cost['ms_per_row']:.1f} ms a row, {cost['share_of_partial_run']:.2%} of a run to 20 %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
