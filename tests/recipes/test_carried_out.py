"""CONTRIBUTING's recipes, carried out literally in a fresh clone: what they add works, and keeps the house's rules.

``python -m pytest tests/recipes`` from the repository's root; ``-k "model family"`` for one of them.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dev.check import LINT_IMPORTS
from dev.house import House, broken_rules
from dev.link import link_folder
from dev.recipes import Recipe, recipes
from training.client.loader import PACKAGE
from training.client.paths import PACK_ROOT, comfyui_path

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not (PACK_ROOT / ".git").exists(), reason="a clone is made of a repository"),
]

NEEDS = {"node": ("probe",)}
"""Recipes that are carried out before, by the name of the one that needs them."""


def git(*arguments: str, folder: Path = PACK_ROOT) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def clone(tmp_path):
    """A fresh clone of the repository, with what the working tree has changed since its last commit."""
    folder = tmp_path / "diffusion-probe"
    git("clone", "--quiet", "--depth", "1", PACK_ROOT.as_uri(), str(folder))
    for name in git("ls-files", "-z", "--modified", "--others", "--exclude-standard").split("\0")[:-1]:
        if (PACK_ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PACK_ROOT / name, folder / name)
    for name in git("ls-files", "-z", "--deleted").split("\0")[:-1]:
        (folder / name).unlink(missing_ok=True)
    modules = Path("tests", "browser", "node_modules")
    if (PACK_ROOT / modules).exists():
        (folder / modules).symlink_to((PACK_ROOT / modules).resolve(), target_is_directory=True)
    return folder


def run(command: list[str], folder: Path) -> str:
    """Run a command with this Python as ``python`` and this ComfyUI; what it printed if it failed, else nothing."""
    program = [sys.executable if part == "python" else part for part in command[:1]]
    environment = {**os.environ, "COMFYUI_PATH": str(comfyui_path()), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*program, *command[1:]], cwd=folder, env=environment, capture_output=True, text=True)
    return f"$ {shlex.join(command)}\n{done.stdout}{done.stderr}" if done.returncode else ""


def style(clone: Path) -> list[str]:
    """What ruff and import-linter find in a clone."""
    link = clone.parent / "linked" / PACKAGE
    link.parent.mkdir()
    link_folder(link, clone)
    imports = ["python", "-c", LINT_IMPORTS, "--no-logo", "--no-cache", "--config", str(clone / "pyproject.toml")]
    ruff = ["python", "-m", "ruff"]
    found = [
        run([*ruff, "check", "--no-cache", "--quiet", "."], clone),
        run([*ruff, "format", "--no-cache", "--quiet", "--check", "."], clone),
        run(imports, link.parent),
    ]
    return [one for one in found if one]


def rules(clone: Path) -> set[str]:
    """The rules of the house that a clone breaks, without the numbers of lines."""
    return {re.sub(r":\d+", "", rule) for rule in broken_rules(House.at(clone))}


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_works_in_a_fresh_clone_and_keeps_its_rules(clone, name):
    known, before = recipes(clone / "CONTRIBUTING.md"), rules(clone)
    for needed in NEEDS.get(name, ()):
        known[needed].carry_out(clone)
    known[name].carry_out(clone)
    failed = [output for check in known[name].checks if (output := run(shlex.split(check), clone))]
    assert not failed, "\n".join(failed)
    assert style(clone) == [] and rules(clone) <= before


@pytest.mark.parametrize("name", recipes())
def test_the_checks_of_a_recipe_fail_where_only_its_tests_were_added(clone, name):
    recipe = recipes(clone / "CONTRIBUTING.md")[name]
    tests = tuple(change for change in recipe.changes if change.path.startswith("tests/"))
    Recipe(name, tests, recipe.checks).carry_out(clone)
    assert any(run(shlex.split(check), clone) for check in recipe.checks)
