"""Every tensor of the published reward files has its place: keys and shapes, in full size and without weights.

``python -m benchmarks.reward_layouts --out FILE.json``

The authors' own classes are built in full size on the meta device, in a process with their own versions of packages.
The names and shapes of their tensors are those of the published file, which the reward models of this pack are then
built from. A name that is missing or left over, or another shape, is an error.

- ``rows[].tensors``, ``rows[].parameters``: of one file.
- ``rows[].rewards``: the reward models that were built from it.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from diffusion_probe.dev.steps import SetupError, step

from benchmarks.lib import report
from benchmarks.lib.parity_packages import ORIGINALS, run_original
from benchmarks.lib.vocabulary import write_vocabulary
from training.client.paths import CACHE

Layout = dict[str, list[int]]
"""Shape by the name of a tensor."""


def main() -> None:
    """Check all layouts and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reward_layouts", description=__doc__.splitlines()[0])
    parser.add_argument("--rewards", nargs="+", choices=list(ORIGINALS), default=list(ORIGINALS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/reward_layouts.json"))
    arguments = parser.parse_args()
    try:
        rows = [row for name in arguments.rewards for row in layout_rows(name)]
    except SetupError as error:
        raise SystemExit(str(error)) from None
    report.write(arguments.out, {"rows": rows}, "benchmarks.reward_layouts", 0)


def layout_rows(name: str) -> list[dict]:
    """Build a reward model from the tensors that its published files have, and return a row for each file.

    Raises:
        ValueError: a tensor is missing, left over, or of another shape.
        SetupError: the original packages can't be installed.
    """
    from diffusion_probe.engine.rewards.catalog import REWARDS

    layouts, names = original_layouts(name), {file.names[0] for file in REWARDS[name].files}
    build(name, layouts)
    return [
        {
            "reward": name,
            "file": file,
            "tensors": len(layout),
            "parameters": sum(torch.Size(shape).numel() for shape in layout.values()),
        }
        for file, layout in layouts.items()
        if file in names
    ]


def original_layouts(name: str) -> dict[str, Layout]:
    """Return the layout of each published file of a reward model, by the file's name."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="layout-", dir=CACHE) as folder:
        write_vocabulary(Path(folder) / "vocab.txt")
        with step(f"Tensors of {name} by the original"):
            run_original(name, layout_script(), folder)
        return json.loads((Path(folder) / "layouts.json").read_text())


def layout_script() -> str:
    """Return the path of the script that writes the layouts, which only the original's process can import."""
    return str(Path(__file__).with_name("lib") / "layout_reference.py")


def build(name: str, layouts: dict[str, Layout]) -> None:
    """Build a reward model of this pack on the meta device from tensors of these layouts.

    Raises:
        ValueError: a tensor is missing, left over, or of another shape.
    """
    from diffusion_probe.engine.rewards import catalog

    entry = catalog.REWARDS[name]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / file.names[0] for file in entry.files]
        write_vocabulary(Path(folder) / "vocab.txt")
        read = catalog.read_tensors
        catalog.read_tensors = lambda path: {
            key: torch.empty(shape, device="meta") for key, shape in layouts[path.name].items()
        }
        try:
            entry.build(name, paths)
        finally:
            catalog.read_tensors = read


if __name__ == "__main__":
    main()
