"""Distance of Seed Search from stock with each of ComfyUI's samplers, beside that of rounding alone.

``python -m benchmarks.sampler_exactness --seed S --out FILE.json [--steps 20] [--model FLUX] [--without SAMPLER …]``

Every sampler of core × a small FLUX and a small SDXL with random weights, in fp32. Per row of ``rows``:

- ``sampler``, ``model``.
- ``search``: ‖survivor − KSampler of its seed‖ / ‖KSampler of its seed‖, the worst of two survivors of three.
- ``one_row``: the same with *max rows* 1.
- ``rounding``: the same for a stock run in which every output of the model is wrong by one rounding of fp32.
"""

import argparse
from pathlib import Path
from typing import Any

import comfy.samplers
import torch
from tqdm import tqdm

from benchmarks.exactness import quiet
from benchmarks.lib import report
from benchmarks.lib.exactness_models import MODELS, NodeInputs
from benchmarks.lib.exactness_nodes import Use
from benchmarks.lib.exactness_trial import BEFORE, Trial, relative
from benchmarks.lib.exactness_ways import SEEDS, one_row_search, seed_search

ROUNDING = torch.finfo(torch.float32).eps / 2


def rounded(model: Any) -> Any:
    """Return the MODEL with outputs that are wrong by one rounding, always in the same way."""
    generator = torch.Generator().manual_seed(0)

    def call(apply_model, inputs):
        output = apply_model(inputs["input"], inputs["timestep"], **inputs["c"])
        return output * (1 + ROUNDING * torch.randn(output.shape, generator=generator))

    model = model.clone()
    model.set_model_unet_function_wrapper(call)
    return model


class Plain(Trial):
    """A trial of the MODEL as it is."""

    def node(self, model: Any) -> Any:
        """Return the MODEL as it is."""
        return model


def row_of(sampler: str, steps: int, inputs: NodeInputs) -> dict[str, Any]:
    """Measure one sampler on one model."""
    trial = Plain(sampler, Use(), inputs)
    trial.job = inputs.job.changed(sampler=sampler, steps=steps)
    trial.with_node = trial.plain
    stock, seed = trial.alone(SEEDS[0]), SEEDS[0]
    return {
        "sampler": sampler,
        "model": inputs.name,
        "search": seed_search(trial, BEFORE).difference,
        "one_row": one_row_search(trial, BEFORE).difference,
        "rounding": relative(trial.job.sample(rounded(trial.plain()), seed), stock),
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure all samplers and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampler_exactness", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of weights, prompts and noise")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--without", nargs="+", default=[], help="samplers; dpm_adaptive takes hundreds of evaluations")
    args = parser.parse_args(arguments)
    with torch.inference_mode(), quiet():
        inputs = [NodeInputs(name, args.seed) for name in args.model]
        names = [name for name in comfy.samplers.SAMPLER_NAMES if name not in args.without]
        cells = [(sampler, of) for of in inputs for sampler in names]
        rows = [row_of(sampler, args.steps, of) for sampler, of in tqdm(cells)]
    for row in sorted(rows, key=lambda row: -row["search"]):
        figures = "  ".join(f"{name} {row[name]:.1e}" for name in ("search", "one_row", "rounding"))
        print(f"{row['sampler']:28} {row['model']:5} {figures}")
    report.write(args.out, {"steps": args.steps, "rows": rows}, "benchmarks.sampler_exactness", args.seed)


if __name__ == "__main__":
    main()
