"""Exactness of the pack's images beside every core node that patches the MODEL.

``python -m benchmarks.exactness --seed S --out FILE.json [--only NODE …] [--model FLUX SDXL]``

Every node of core that takes a MODEL and gives one (found in ComfyUI's registry) × the pack's ways of running a
MODEL × a small FLUX and a small SDXL with random weights. Per row of ``rows``:

- ``node``, ``model``, ``way``; ``order``: the core node stands before the pack's node, or after it.
- ``difference``: ‖latent − stock latent‖ / ‖stock latent‖ of the worst row of the batch; ``limit`` what is allowed.
- ``effect``: by how much the node changes the stock image. A cell counts as evidence above 1e-3.
- ``refused``: the sentence in which the pack refused, null if it didn't; ``error``: what ended the run otherwise.
- ``left``: what a run left behind on the model, which must be nothing.
- ``verdict``: exact, differs, refused, fails, no effect, not for this model (stock fails as well, ``note`` says how),
  no arguments known (a node that is not listed yet).
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import comfy.utils
import torch
from tqdm import tqdm

from benchmarks.lib import report
from benchmarks.lib.exactness_models import MODELS, NodeInputs, files_of
from benchmarks.lib.exactness_nodes import LEFT_OUT, USES, use_of
from benchmarks.lib.exactness_registry import patching_nodes
from benchmarks.lib.exactness_trial import StockFails, Trial
from benchmarks.lib.exactness_ways import WAYS, Way, is_refusal

EFFECT = 1e-3
"""Least change of the stock image by a node that is evidence about the pack."""

EXACT, DIFFERS, REFUSED, FAILS, NO_EFFECT = "exact", "differs", "refused", "fails", "no effect"
ELSEWHERE, UNKNOWN = "not for this model", "no arguments known"
BAD = (DIFFERS, FAILS, UNKNOWN)

Row = dict[str, Any]


def rows_of(names: Sequence[str], inputs: NodeInputs) -> Iterator[list[Row]]:
    """Return all cells of each node on one model."""
    with files_of(inputs):
        for name in names:
            yield [{"node": name, "model": inputs.name, **row} for row in node_rows(name, inputs)]


def node_rows(name: str, inputs: NodeInputs) -> list[Row]:
    """Return all cells of one node on one model, or one cell with the reason why there are none."""
    if name in LEFT_OUT:
        return [{"verdict": ELSEWHERE, "note": LEFT_OUT[name]}]
    use = use_of(name)
    if use is None:
        return [{"verdict": UNKNOWN, "note": "add the node to benchmarks/lib/exactness_nodes.py"}]
    trial = Trial(name, use, inputs)
    try:
        effect = trial.effect()
    except StockFails as error:
        inputs.forget_models()
        return [{"verdict": ELSEWHERE, "note": f"the stock KSampler fails with it: {error}"}]
    return [
        {"way": title, "order": order, "effect": effect, **cell(trial, way, order, effect)}
        for title, way in WAYS.items()
        for order in way.orders
    ]


def cell(trial: Trial, way: Way, order: str, effect: float) -> Row:
    """Run the model in one way and compare the result with stock."""
    marks = trial.marks()
    row: Row = {"limit": way.limit, "difference": None, "refused": None, "error": None, "note": ""}
    try:
        result = way.run(trial, order)
    except Exception as error:
        row |= {"refused": str(error)} if is_refusal(error) else {"error": f"{type(error).__name__}: {error}"}
    else:
        row |= {"difference": result.difference, "note": result.note}
    row["left"] = sorted(trial.marks() - marks)
    if row["left"]:
        trial.inputs.forget_models()
    return {**row, "verdict": verdict(row, effect)}


def verdict(row: Row, effect: float) -> str:
    """Return the verdict on a cell."""
    if row["error"] or row["left"]:
        return FAILS
    if row["refused"]:
        return REFUSED
    if not row["difference"] <= row["limit"]:
        return DIFFERS
    return EXACT if effect > EFFECT else NO_EFFECT


def shown(rows: Sequence[Row]) -> str:
    """Return the cells of one way as one word: the worst of its orders."""
    for bad in (FAILS, REFUSED):
        if any(row["verdict"] == bad for row in rows):
            return bad.upper() if bad == FAILS else bad
    worst = max(row["difference"] for row in rows)
    text = f"{worst:.0e}" if worst else "0"
    return text + (" !" if any(row["verdict"] == DIFFERS for row in rows) else "")


def table(rows: Sequence[Row]) -> str:
    """Return one line per node and model as text."""
    lines = [f"{'node':32} {'model':5} {'effect':>7}  " + " ".join(f"{title:>24}" for title in WAYS)]
    for node, model in dict.fromkeys((row["node"], row["model"]) for row in rows):
        mine = [row for row in rows if (row["node"], row["model"]) == (node, model)]
        if "way" not in mine[0]:
            lines.append(f"{node:32} {model:5} {'':>7}  {mine[0]['verdict']}: {mine[0]['note']}"[:160])
            continue
        effect = f"{mine[0]['effect']:.0e}" if mine[0]["effect"] > EFFECT else "none"
        cells = [shown([row for row in mine if row["way"] == title]) for title in WAYS]
        lines.append(f"{node:32} {model:5} {effect:>7}  " + " ".join(f"{text:>24}" for text in cells))
    return "\n".join(lines)


def sentences(rows: Sequence[Row]) -> list[str]:
    """Return every refusal and failure once, with the cells where it occurred."""
    said: dict[str, list[str]] = {}
    for row in rows:
        text = row.get("refused") or row.get("error") or (row.get("left") and f"left behind: {', '.join(row['left'])}")
        if text:
            said.setdefault(f"{row['verdict']}: {text}", []).append(f"{row['node']} ({row['model']}, {row['way']})")
    return [f"{text}\n    {', '.join(dict.fromkeys(where))}" for text, where in said.items()]


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Count the verdicts, and list the nodes without effect on any model."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["verdict"]] = counts.get(row["verdict"], 0) + 1
    effects: dict[str, float] = {}
    for row in rows:
        if "effect" in row:
            effects[row["node"]] = max(row["effect"], effects.get(row["node"], 0.0))
    silent = [node for node, effect in effects.items() if effect <= EFFECT]
    return {"counts": counts, "no_effect": silent}


def homes() -> dict[str, list[str]]:
    """Return other kinds of models, and the nodes that are for them."""
    nodes: dict[str, list[str]] = {}
    for name, use in USES.items():
        if use.home:
            nodes.setdefault(use.home, []).append(name)
    return nodes


@contextmanager
def quiet() -> Iterator[None]:
    """Keep ComfyUI and the pack silent during single runs."""
    before, comfy.utils.PROGRESS_BAR_ENABLED = comfy.utils.PROGRESS_BAR_ENABLED, False
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        comfy.utils.PROGRESS_BAR_ENABLED = before


def main(arguments: list[str] | None = None) -> int:
    """Try the nodes and write the result file; return the exit status, 1 where a cell is bad."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exactness", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of weights, prompts and noise")
    parser.add_argument("--only", nargs="+", default=[], help="core nodes by name")
    parser.add_argument("--model", nargs="+", choices=(*MODELS, *homes()), default=(*MODELS, *homes()))
    args = parser.parse_args(arguments)
    names = args.only or list(patching_nodes())
    if unknown := [name for name in names if name not in patching_nodes()]:
        raise SystemExit(f"no core node that patches a MODEL is called {', '.join(unknown)}.")
    rows: list[Row] = []
    with torch.inference_mode(), quiet():
        for model in args.model:
            wanted = names if model in MODELS else [name for name in names if name in homes().get(model, ())]
            for cells in tqdm(rows_of(wanted, NodeInputs(model, args.seed)), model, len(wanted), mininterval=2):
                rows += cells
    print(table(rows), *sentences(rows), sep="\n")
    figures = summary(rows)
    print(figures)
    report.write(args.out, {**figures, "rows": rows}, "benchmarks.exactness", args.seed)
    return int(any(row["verdict"] in BAD for row in rows))


if __name__ == "__main__":
    sys.exit(main())
