"""Cost of a search beside plain images, counted on graphics cards that are not there.

``python -m benchmarks.virtual_gpu --seed 0 --out FILE.json``: ComfyUI and the pack run unchanged at the dimensions of
FLUX.1-dev and SDXL at 1024², on tensors that have shapes and no values (``dev/virtual_gpu``). A search of 16 candidates
with the budget of four images stands beside four plain images in one batch. FLOPs, bytes between host and card, waits
of the host for the card, and rows of a call are counted; times are not modelled.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffusion_probe.dev.virtual_gpu.process import run_trials

from benchmarks.lib import report

MODULE = "benchmarks.virtual_gpu"
CARDS = (8.0, 12.0, 16.0, 24.0)
MODELS = ("FLUX.1-dev bf16", "FLUX.1-dev fp8", "SDXL fp16", "SDXL fp8")
CANDIDATES, BUDGET, STEPS = 16, 4, 20

SEARCHES = (
    ("trained probe", "one cut"),
    ("trained probe", "sequential"),
    ("fast decoder", "sequential"),
    ("full VAE", "sequential"),
)
"""Probe and policy of each search."""


MOST_FLOPS = {"trained probe": 1.05, "fast decoder": 1.08}
"""Bar of FLOPs as a ratio to the plain images, by probe; see :func:`bars`."""

MOST_BYTES = {
    ("trained probe", "one cut"): 1.25,
    ("trained probe", "sequential"): 1.5,
    ("fast decoder", "sequential"): 2.0,
}
"""Bar of bytes moved as a ratio to the plain images, by probe and policy."""


def bars(row: dict[str, Any]) -> dict[str, bool]:
    """Return which bars a row keeps, by what they are of; previews by the full VAE have none but that of waits."""
    flops, moved = MOST_FLOPS.get(row["probe"]), MOST_BYTES.get((row["probe"], row["policy"]))
    if row["probe"] == "fast decoder" and row["model"].startswith("SDXL"):
        flops = 1.12
    kept = {"waits": row["waits_per_joined_step"] <= 1}
    if flops is not None:
        kept["flops"] = row["flops_ratio"] <= flops
    if moved is not None:
        kept["bytes"] = row["bytes_ratio"] <= moved
    kept["rows"] = row["rows_per_call"] >= min(row["rows_waiting"], row["plain_rows_per_call"])
    kept["memory"] = row["out_of_memory"] <= row["plain_out_of_memory"] and not row["error"]
    return kept


def trials(model: str, card: float, seed: int) -> list[dict[str, Any]]:
    """Return the trials for one model and card: plain images first, then the searches."""
    shared = {"model": model, "card_gib": card, "steps": STEPS, "seed": seed}
    plain = {**shared, "run": "KSampler", "rows": BUDGET}
    search = {**shared, "run": "Seed Search", "rows": CANDIDATES, "budget": BUDGET}
    return [plain, *({**search, "probe": probe, "policy": policy} for probe, policy in SEARCHES)]


def rows(results: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a row for each search, as ratios to the plain images before it."""
    plain: dict[str, Any] = {}
    for result in results:
        if result["run"] == "KSampler":
            plain = result
            continue
        calls, flops = result["calls"], sum(result["flops"].values())
        row = {
            "model": result["model"],
            "card_gib": result["card_gib"],
            "probe": result["probe"],
            "policy": result["policy"],
            "tflop": flops / 1e12,
            "tflop_by_phase": {phase: value / 1e12 for phase, value in result["flops"].items()},
            "flops_ratio": flops / sum(plain["flops"].values()),
            "gib_moved": moved(result) / 2**30,
            "plain_gib_moved": moved(plain) / 2**30,
            "bytes_ratio": moved(result) / moved(plain),
            "joined_steps": len(calls),
            "waits_per_joined_step": result["waits_in_steps"] / max(1, len(calls)),
            "rows_per_call": max(calls, default=0),
            "mean_rows_per_call": sum(calls) / max(1, len(calls)),
            "plain_rows_per_call": max(plain["calls"], default=0),
            "peak_gib": result["peak"] / 2**30,
            "out_of_memory": result["out_of_memory"],
            "plain_out_of_memory": plain["out_of_memory"],
            "rows_waiting": result["waiting"],
            "error": result["error"] or plain["error"],
        }
        yield {**row, "bars": bars(row)}


def moved(result: dict[str, Any]) -> int:
    """Return the bytes that were moved between host and card in both directions."""
    return result["to_card"] + result["to_host"]


def table(figures: list[dict[str, Any]]) -> str:
    """Return the rows as lines of text."""
    lines = [
        f"{'model':16} {'GiB':>4} {'probe, policy':28} {'FLOPs':>6} {'bytes':>6} {'waits':>6} {'rows':>5} {'plain':>5}"
    ]
    for row in figures:
        name = f"{row['probe']}, {row['policy']}"
        lines.append(
            f"{row['model']:16} {row['card_gib']:4.0f} {name:28} {row['flops_ratio']:6.3f} {row['bytes_ratio']:6.2f} "
            f"{row['waits_per_joined_step']:6.2f} {row['rows_per_call']:5} {row['plain_rows_per_call']:5}"
            + "".join(f"  {name} over" for name, kept in row["bars"].items() if not kept)
            + (f"  {row['error']}" if row["error"] else "")
        )
    missed = sum(not kept for row in figures for kept in row["bars"].values())
    lines.append(f"{missed} of {sum(len(row['bars']) for row in figures)} bars are not kept.")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Count, print the table and write the result file; return the exit status, 1 if a bar isn't kept."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--cards", nargs="+", type=float, default=CARDS, metavar="GIB")
    parser.add_argument("--cells", nargs="+", metavar="MODEL@GIB", help="instead of all models on all cards")
    parser.add_argument("--seed", type=int, default=0, help="of values that are made up, such as scores")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    cells = [(model, card) for model in args.models for card in args.cards]
    if args.cells:
        cells = [(model, float(card)) for model, card in (cell.split("@") for cell in args.cells)]
    results = []
    for model, card in cells:
        print(f"{model} on {card:g} GiB …", flush=True)
        results += run_trials(trials(model, card, args.seed))
    figures = list(rows(results))
    print(table(figures))
    shared = {"candidates": CANDIDATES, "budget": BUDGET, "steps": STEPS}
    report.write(args.out, {**shared, "rows": figures}, MODULE, args.seed)
    return int(not all(kept for row in figures for kept in row["bars"].values()))


if __name__ == "__main__":
    sys.exit(main())
