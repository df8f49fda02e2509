"""Figures of the house, and its rules: ``python -m dev.house [--root FOLDER] [--check]``, or a part of ``make check``.

Prints folders, files, imports between rooms, sizes of documents and how docstrings start. ``--root`` measures another
checkout, such as one of an earlier commit. ``--check`` exits with 1 where a rule is broken. Standard library only.
"""

import argparse
import ast
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from training.client.paths import PACK_ROOT

from .docstrings import Docstring, docstrings
from .recipes import files_touched, recipes

MOST_FOLDERS = 12
MOST_BYTES = {"README.md": 10_000, "ARCHITECTURE.md": 8_000}
MOST_HELP_BYTES, MOST_SEARCH_HELP_BYTES = 2_500, 4_000
SEARCH_HELP = "DiffusionProbeSeedSearch.md"
MOST_TREE_BYTES = 55_000_000
LONGEST_TEST_NAME = 80
MOST_PARAMETERS = 10

SHIPPED = ("nodes", "probe_models", "engine", "training", "testbed", "web", "locales", "workflows")
"""Folders of the registry package."""

MEASURED = ("tests/", "benchmarks/results/")
"""Folders whose Python files are left out of the figures of code: tests have rules of their own."""


@dataclass(frozen=True)
class House:
    """A checkout of the pack.

    Attributes:
        root: its folder.
        files: what git tracks of it, relative to the root.
    """

    root: Path
    files: tuple[str, ...]

    @classmethod
    def at(cls, root: Path) -> "House":
        """Read what git tracks, and files that are new and not ignored."""
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
        return cls(root, tuple(name for name in listed.splitlines() if (root / name).is_file()))

    @property
    def folders(self) -> list[str]:
        """Visible folders at the top."""
        return sorted({name.split("/")[0] for name in self.files if "/" in name and not name.startswith(".")})

    @property
    def code(self) -> list[str]:
        """Python files, without tests."""
        return [name for name in self.files if name.endswith(".py") and not name.startswith(MEASURED)]

    def size(self, name: str) -> int:
        """Return the bytes of a file; 0 if there is none."""
        path = self.root / name
        return path.stat().st_size if path.is_file() else 0

    def trees(self) -> Iterator[tuple[str, ast.Module]]:
        """Parse the Python files, without tests."""
        for name in self.code:
            yield name, ast.parse((self.root / name).read_text(encoding="utf-8"))

    def docstrings(self) -> list[Docstring]:
        """Find all docstrings of the code."""
        return [one for name in self.code for one in docstrings(self.root / name)]


def mutual_imports(house: House) -> list[tuple[str, str]]:
    """Find pairs of rooms that import each other. Rooms are folders at the top, and those in engine and training."""
    imports: dict[str, set[str]] = defaultdict(set)
    known = {room_of(name) for name in house.code}
    for name, tree in house.trees():
        for target in _relative_imports(house, name, tree):
            imports[room_of(name)].add(room_of(target))
    rooms = sorted(known)
    return [
        (one, other)
        for one in rooms
        for other in rooms
        if one < other and other in imports[one] and one in imports[other]
    ]


def room_of(name: str) -> str:
    """Return the room that a file belongs to, as ``engine/capture``."""
    folders = name.split("/")[:-1]
    deep = 2 if folders[:1] in (["engine"], ["training"]) else 1
    return "/".join(folders[:deep]) or "."


def _relative_imports(house: House, name: str, tree: ast.Module) -> Iterator[str]:
    """Find the files that a file imports relatively."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            module = "/".join([*name.split("/")[: -node.level], *(node.module or "").split(".")]).strip("/")
            files = (module, *(f"{module}/{alias.name}".strip("/") for alias in node.names))
            yield from (f"{file}.py" for file in files if f"{file}.py" in house.files)


def deep_comprehensions(house: House) -> list[str]:
    """Find comprehensions of three loops or more, as ``file:line``."""
    kinds = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    return [
        f"{name}:{node.lineno}"
        for name, tree in house.trees()
        for node in _all(tree, lambda node: isinstance(node, kinds) and len(node.generators) > 2)
    ]


def wide_functions(house: House) -> list[str]:
    """Find functions of more than ten positional arguments, as ``file:line``; nodes take their inputs so."""
    return [
        f"{name}:{node.lineno}"
        for name, tree in house.trees()
        if not name.startswith("nodes/")
        for node in _all(tree, lambda node: isinstance(node, ast.FunctionDef))
        if len(node.args.args) > MOST_PARAMETERS
    ]


def optional_attributes(house: House) -> int:
    """Count the attributes of the pack's own objects that are looked up by ``getattr`` with a default."""
    found = 0
    for _, tree in house.trees():
        for node in _all(tree, lambda node: isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr"):
            names = {getattr(argument, "id", getattr(argument, "attr", "")) for argument in node.args[:1]}
            found += len(node.args) == 3 and bool(names & {"probe", "reward", "judge", "trained", "preview", "card"})
    return found


def long_test_names(house: House) -> list[str]:
    """Find tests whose name is longer than 80 characters."""
    found = []
    for name in house.files:
        if name.startswith("tests/") and name.endswith(".py"):
            tree = ast.parse((house.root / name).read_text(encoding="utf-8"))
            tests = _all(tree, lambda node: isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))
            found += [test.name for test in tests if len(test.name) > LONGEST_TEST_NAME]
    return found


def _all(tree: ast.Module, wanted: Callable[[ast.AST], bool]) -> list:
    return [node for node in ast.walk(tree) if wanted(node)]


def help_pages(house: House) -> dict[str, int]:
    """Return the bytes of each help page."""
    return {name.split("/")[-1]: house.size(name) for name in house.files if name.startswith("web/docs/D")}


def too_long_pages(house: House) -> list[str]:
    """Find help pages above their size."""
    limits = {SEARCH_HELP: MOST_SEARCH_HELP_BYTES}
    return [name for name, size in help_pages(house).items() if size > limits.get(name, MOST_HELP_BYTES)]


def figures(house: House) -> dict[str, object]:
    """Measure the house: what to print, in order."""
    files = house.code
    per_folder = Counter(str(Path(name).parent) for name in files)
    functions = [node for _, tree in house.trees() for node in _all(tree, lambda n: isinstance(n, ast.FunctionDef))]
    lines = [len((house.root / name).read_text(encoding="utf-8").splitlines()) for name in files]
    found = house.docstrings()
    kinds = Counter(one.owner for one in found)
    good = Counter(one.owner for one in found if one.starts_as_asked)
    pages = help_pages(house)
    return {
        "visible folders": f"{len(house.folders)}: {' '.join(house.folders)}",
        "largest folders": ", ".join(f"{folder} {count}" for folder, count in per_folder.most_common(3)),
        "Python files, lines each": f"{len(files)}, {mean(lines):.0f} (most {max(lines)})",
        "lines of a function": f"{mean(node.end_lineno - node.lineno + 1 for node in functions):.1f}",
        "rooms that import each other": ", ".join(" ↔ ".join(pair) for pair in mutual_imports(house)) or "none",
        "README.md, ARCHITECTURE.md": f"{house.size('README.md')}, {house.size('ARCHITECTURE.md')} bytes",
        "help pages": f"{len(pages)}, {sum(pages.values())} bytes, {len(too_long_pages(house))} too long",
        "docstrings that start as asked": f"{sum(good.values()) / len(found):.1%} of {len(found)}",
        **{f"  of a {kind}": f"{good[kind] / count:.1%} of {count}" for kind, count in kinds.most_common()},
        "comprehensions three deep": len(deep_comprehensions(house)),
        "functions of more than ten positional arguments": len(wide_functions(house)),
        "optional attributes of probes and rewards": optional_attributes(house),
        "test names above 80 characters": len(long_test_names(house)),
        "tracked tree": f"{sum(house.size(name) for name in house.files) / 1e6:.1f} MB",
    }


def broken_rules(house: House) -> list[str]:
    """Say which rules of the house are broken, and where."""
    outside = [one for one in house.docstrings() if not one.starts_as_asked]
    return [
        *[f"too many visible folders: {', '.join(house.folders)}"] * (len(house.folders) > MOST_FOLDERS),
        *(f"{name} has {house.size(name)} bytes" for name, most in MOST_BYTES.items() if house.size(name) > most),
        *(f"web/docs/{name} is too long" for name in too_long_pages(house)),
        *(f"{one} and {other} import each other" for one, other in mutual_imports(house)),
        *(f"{place} is a comprehension of three loops" for place in deep_comprehensions(house)),
        *(f"{place} takes more than ten arguments by position" for place in wide_functions(house)),
        *(f"{name} is a test's name above 80 characters" for name in long_test_names(house)),
        *(
            f"{one.path.relative_to(house.root)}:{one.line}: the docstring of {one.owner} {one.name} starts with "
            f'"{" ".join(one.text.split()[:3])}"'
            for one in outside
        ),
        *_imports_of_what_is_not_shipped(house),
    ]


def _imports_of_what_is_not_shipped(house: House) -> Iterator[str]:
    for name, tree in house.trees():
        if name.split("/")[0] not in SHIPPED:
            continue
        modules = (node.module or "" for node in _all(tree, lambda node: isinstance(node, ast.ImportFrom)))
        roots = {module.removeprefix("diffusion_probe.").split(".")[0] for module in modules}
        yield from (f"{name} is shipped and imports {root}" for root in sorted(roots & {"dev", "benchmarks", "tests"}))


def main() -> None:
    """Print the figures, or check the rules."""
    parser = argparse.ArgumentParser(prog="python -m dev.house", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=PACK_ROOT, help="the checkout to measure; default: this one")
    parser.add_argument("--check", action="store_true", help="say which rules are broken, and exit with 1 if any is")
    given = parser.parse_args()
    house = House.at(given.root.resolve())
    if given.check:
        broken = broken_rules(house)
        print("\n".join(broken))
        raise SystemExit(1 if broken else 0)
    for name, value in figures(house).items():
        print(f"{name:48} {value}")
    if house.root == PACK_ROOT:
        touched = ", ".join(f"{recipe} {files_touched(recipe)}" for recipe in recipes())
        print(f"{'files that each recipe touches':48} {touched}")


if __name__ == "__main__":
    main()
