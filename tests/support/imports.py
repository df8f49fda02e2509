"""Which modules a test file runs, read from the imports in its source and in theirs."""

import ast
import re
from functools import cache
from pathlib import Path

from training.client.paths import PACK_ROOT

PACKAGE = "diffusion_probe"
ROOMS = ("nodes", "probe_models", "engine", "training", "testbed")
"""Folders with modules that users run."""

TESTS = PACK_ROOT / "tests"
NODE_ID = re.compile(r"\bDiffusionProbe[A-Z]\w+")


def dotted(path: Path) -> str:
    """Return the name of a module in the pack, ``engine.core.skill``; a package has the name of its folder."""
    parts = path.relative_to(PACK_ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, Path]:
    """Return every module and package of ``ROOMS`` by its name in the pack."""
    return {dotted(path): path for room in ROOMS for path in sorted((PACK_ROOT / room).rglob("*.py"))}


@cache
def modules() -> list[str]:
    """Return the names of all modules of ``ROOMS``, without packages and what ``python -m`` runs."""
    return [name for name, path in sources().items() if not path.name.startswith("__")]


@cache
def test_files() -> list[Path]:
    """Return every test file."""
    return sorted(TESTS.rglob("test_*.py"))


def room_of(module: str) -> str:
    """Return the room that a module belongs to: ``engine.capture``, ``training``."""
    parts = module.split(".")
    return ".".join(parts[:2] if parts[0] == "engine" else parts[:1])


@cache
def names_imported(path: Path) -> frozenset[str]:
    """Return the full names of what a file imports, anywhere in it."""
    names = set()
    for entry in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(entry, ast.Import):
            names |= {name.name for name in entry.names}
        elif isinstance(entry, ast.ImportFrom):
            source = _source(path, entry)
            names |= {source} | {f"{source}.{name.name}" for name in entry.names}
    return frozenset(name.removeprefix(f"{PACKAGE}.") for name in names)


@cache
def imported(path: Path) -> frozenset[str]:
    """Return the modules and packages of ``ROOMS`` that a file imports."""
    return names_imported(path) & sources().keys()


@cache
def run_by(path: Path) -> frozenset[str]:
    """Return the modules that a test file runs: those it imports, those of the nodes in its graphs, what either import,
    and what each of all these imports from its own room."""
    ids = set(NODE_ID.findall(path.read_text(encoding="utf-8")))
    first = imported(path) | {module for node, module in _modules_of_nodes().items() if node in ids}
    pending = [*first, *(name for module in first for name in imported(sources()[module]))]
    reached = set()
    while pending:
        module = pending.pop()
        if module not in reached:
            reached.add(module)
            pending += [other for other in imported(sources()[module]) if room_of(other) == room_of(module)]
    return frozenset(reached)


@cache
def _modules_of_nodes() -> dict[str, str]:
    """Return the module of each node id."""
    inside = {name: path.read_text(encoding="utf-8") for name, path in sources().items() if room_of(name) == "nodes"}
    return {node: name for name, text in inside.items() for node in re.findall(r'node_id="(\w+)"', text)}


def _source(path: Path, entry: ast.ImportFrom) -> str:
    if not entry.level:
        return entry.module or ""
    folder = path.relative_to(PACK_ROOT).parent.parts
    base = folder[: len(folder) - entry.level + 1]
    return ".".join([*base, *([entry.module] if entry.module else [])])
