"""Run the tests: ``python -m dev.test [--all] [--no-browser] [--comfyui FOLDER] [pytest's arguments]``.

``make test`` leaves out those marked ``long`` and short runs of benchmarks, and most of the tests in Chromium see the
classic renderer alone; ``make test-all`` (``--all``) runs all of them, in both renderers, with 200 hostile inputs for
everything that reads any instead of ten, and then ``benchmarks.exactness``.

With ``--comfyui`` they run against that ComfyUI, in the Python that ``COMFYUI_PYTHON`` names or that belongs to it,
and if no tests are named only those of ``CORE``: what a version of ComfyUI can break. The pack is linked into its
``custom_nodes``; nothing else is changed there.
"""

import argparse
import os
import subprocess
from pathlib import Path

from training.client.paths import PACK_ROOT

from .setup import ensure_or_exit

SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
"""The whole suite in two processes, a file in one of them: most tests keep one core busy. The longest files come first
(``tests/conftest.py``), so that neither process waits for the other at the end."""

EXACTNESS = (("FLUX", "Z-Image", "Qwen-Image"), ("SDXL", "FLUX.2 Klein", "Wan 2.1"))
"""Models of ``benchmarks.exactness``, in two processes."""

QUICK = ("-m", "not long and not benchmark")

CORE = (
    *(
        f"tests/comfy/test_{name}.py"
        for name in (
            "comfy_versions", "nodes_schemas", "capture_maps", "families_capture", "words", "pruning",
            "pruning_beside_patches", "cut_exactness", "cut_conditioning", "hub", "search_exact",
            "search_beside_patches", "step_cache", "step_noise",
        )
    ),
    "tests/server/test_seed_search.py",
    "tests/server/test_workflow_seed_selection.py",
)  # fmt: skip
"""Tests of what touches ComfyUI: its nodes, the maps of every model family, words, pruned, cut and searched runs
against the stock sampler, also beside its own nodes, the cache, and a search and a selection on its server."""


def main() -> None:
    """Set up, and run pytest."""
    description = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m dev.test", description=description, allow_abbrev=False)
    parser.add_argument("--no-browser", action="store_true", help="leave out the tests in Chromium")
    parser.add_argument("--comfyui", metavar="FOLDER", help="the ComfyUI to test against; of the tests, the core")
    parser.add_argument("--all", action="store_true", help="long tests, many hostile inputs and exactness as well")
    given, arguments = parser.parse_known_args()
    if given.all:
        os.environ.setdefault("HOSTILE_DRAWS", "200")
        os.environ.setdefault("RENDERERS", "all")
    if given.comfyui:
        os.environ["COMFYUI_PATH"] = given.comfyui
        arguments = arguments if named_tests(arguments) else [*CORE, *arguments]
    browser = not given.no_browser and includes_browser(arguments)
    python = str(ensure_or_exit(with_browser=browser, with_tests=True))
    if not arguments:
        arguments += SIDE_BY_SIDE if (os.cpu_count() or 1) > 1 else ()
        arguments += () if given.all else QUICK
    if not browser:
        arguments += ["--ignore", "tests/browser"]
    tests = _run([python, "-m", "pytest", *arguments])
    exactness = _run(*(exactness_command(python, models) for models in EXACTNESS)) if given.all else 0
    raise SystemExit(tests or exactness)


def exactness_command(python: str, models: tuple[str, ...]) -> list[str]:
    """Return the command that compares the pack's images with stock's beside every core node, for some models."""
    out = PACK_ROOT / "output" / f"exactness-{models[0]}.json"
    return [python, "-m", "benchmarks.exactness", "--seed", "0", "--out", str(out), "--model", *models]


def named_tests(arguments: list[str]) -> list[Path]:
    """Return the files and folders that pytest's arguments name; empty if they name none."""
    paths = [PACK_ROOT / argument.split("::")[0] for argument in arguments]
    return [path for path in paths if path.exists()]


def includes_browser(arguments: list[str]) -> bool:
    """Tell whether tests in Chromium are among those that pytest's arguments name; without names all tests are run."""
    named, browser = named_tests(arguments), PACK_ROOT / "tests" / "browser"
    return not named or any(browser in (path, *path.parents) or path in browser.parents for path in named)


def _run(*commands: list[str]) -> int:
    """Run commands side by side; 0 if all succeed, else the exit status of one that doesn't."""
    running = [subprocess.Popen(command, cwd=PACK_ROOT) for command in commands]
    try:
        return next(filter(None, [each.wait() for each in running]), 0)
    except KeyboardInterrupt:  # the commands got it too and have said so
        return 130


if __name__ == "__main__":
    main()
