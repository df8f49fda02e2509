"""Every module has a test file that bears its name or is listed in ``support.where``, and tests have short names."""

import re

import pytest

from support import imports
from support.where import TESTED_IN

LONGEST_NAME = 79


def bearing_the_name_of(module):
    """Test files called after a module, ``test_gate.py`` or ``test_selection_gate.py``, that run it."""
    *rooms, name = module.split(".")
    names = {f"test_{name}.py", *(f"test_{room}_{name}.py" for room in rooms)}
    return [path for path in imports.test_files() if path.name in names and module in imports.run_by(path)]


def entry_of(module):
    """The entry of a module: its own, or else that of its folder."""
    return module if module in TESTED_IN else module.rpartition(".")[0]


def listed(entry):
    return [imports.TESTS / name for name in TESTED_IN.get(entry, ())]


UNNAMED = [module for module in imports.modules() if not bearing_the_name_of(module)]


@pytest.mark.parametrize("module", UNNAMED)
def test_a_module_without_a_test_file_of_its_name_is_run_by_those_listed(module):
    paths = listed(entry_of(module))
    assert paths, f"Name a test file after {module}, or list where it is tested in tests/support/where.py."
    assert any(module in imports.run_by(path) for path in paths), f"None of the files listed for it runs {module}."


@pytest.mark.parametrize("entry", TESTED_IN)
def test_an_entry_of_the_list_is_of_use(entry):
    """Its files are there, and each runs a module that has no test file of its name."""
    covered = {module for module in UNNAMED if entry_of(module) == entry}
    assert covered, f"Take {entry} off tests/support/where.py: nothing needs it."
    for path in listed(entry):
        assert path.is_file(), path
        assert covered & imports.run_by(path), f"{path.name} runs no module that it is listed for."


def test_a_module_that_no_test_runs_would_be_found():
    paths = [imports.TESTS / "unit" / "selection" / "test_gate.py"]
    assert "engine.selection.gate" in imports.run_by(*paths)
    assert "engine.seed_search.hub.forwards" not in imports.run_by(*paths)
    assert "nodes.search" in imports.run_by(imports.TESTS / "server" / "test_seed_search.py"), "by the node's id"


def test_names_of_tests_have_fewer_than_80_characters():
    texts = {path: path.read_text(encoding="utf-8") for path in imports.test_files()}
    names = [(path.name, name) for path, text in texts.items() for name in re.findall(r"^def (test_\w+)", text, re.M)]
    assert len(names) > 1000 and not [name for name in names if len(name[1]) > LONGEST_NAME]


def test_only_tests_of_benchmarks_import_any():
    for path in imports.TESTS.rglob("*.py"):
        if path.parent != imports.TESTS / "benchmarks":
            assert not [name for name in imports.names_imported(path) if name.split(".")[0] == "benchmarks"], path
