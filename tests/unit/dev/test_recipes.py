"""The recipes of CONTRIBUTING.md fit the tree: their files exist, and each of their lines is there once."""

import ast
import json

import pytest

from dev.recipes import GUIDE, Recipe, RecipeError, files_touched, recipes
from training.client.paths import PACK_ROOT

RECIPES = recipes()
NAMES = ["model family", "probe", "node", "reward", "search policy", "board field"]


def guide(tmp_path, body):
    path = tmp_path / "guide.md"
    path.write_text(f"# Guide\n\n## Recipes\n\n### A thing\n\n{body}\n")
    return path


def recipe(tmp_path, where, text="two\n", name="file.py"):
    return recipes(guide(tmp_path, f"1. `{name}`, {where}:\n\n```\n{text}```\n\nCheck:\n\n```\ntrue\n```"))["thing"]


def test_there_is_a_recipe_for_each_kind_of_contribution():
    assert list(RECIPES) == NAMES and "\n### A thing" not in GUIDE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_every_change_of_a_recipe_fits_the_tree(name):
    for path, text in RECIPES[name].texts(PACK_ROOT).items():
        if path.endswith(".py"):
            ast.parse(text)
            assert max(map(len, text.splitlines())) <= 120, path
        if path.endswith(".json"):
            json.loads(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_touches_few_files_and_brings_a_test(name):
    assert 2 <= files_touched(name) == len(set(RECIPES[name].files)) <= 10
    assert any(path.startswith("tests/") for path in RECIPES[name].files)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("at the end", "one\n  three = 3\nfour\ntwo\n"),
        ("before `three`", "one\ntwo\n  three = 3\nfour\n"),
        ("after `three =`", "one\n  three = 3\ntwo\nfour\n"),
        ("in place of ``three``", "one\ntwo\nfour\n"),
    ],
)
def test_a_block_goes_where_its_step_says(tmp_path, where, expected):
    (tmp_path / "file.py").write_text("one\n  three = 3\nfour\n")
    recipe(tmp_path, where).carry_out(tmp_path)
    assert (tmp_path / "file.py").read_text() == expected


def test_a_definition_is_set_apart_by_two_empty_lines(tmp_path):
    (tmp_path / "file.py").write_text("one = 1\n\n\ndef four(): ...\n")
    recipe(tmp_path, "before `def four`", "def two(): ...\n").carry_out(tmp_path)
    assert (tmp_path / "file.py").read_text() == "one = 1\n\n\ndef two(): ...\n\n\ndef four(): ...\n"


def test_lines_are_taken_out_and_new_files_made_with_their_folders(tmp_path):
    (tmp_path / "file.py").write_text("one\ntwo\nthree\n")
    recipe(tmp_path, "take out").carry_out(tmp_path)
    recipe(tmp_path, "a new file", name="new/file.md").carry_out(tmp_path)
    assert (tmp_path / "file.py").read_text() == "one\nthree\n" and (tmp_path / "new/file.md").read_text() == "two\n"


@pytest.mark.parametrize("where", ["after `nowhere`", "before `same`", "a new file", "take out"])
def test_a_step_that_does_not_fit_is_an_error_and_nothing_is_written(tmp_path, where):
    (tmp_path / "file.py").write_text("same 1\nsame 2\n")
    with pytest.raises(RecipeError, match="file.py"):
        recipe(tmp_path, where).carry_out(tmp_path)
    assert (tmp_path / "file.py").read_text() == "same 1\nsame 2\n"


def test_a_file_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(RecipeError, match="file.py does not exist"):
        recipe(tmp_path, "at the end").carry_out(tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        "Somewhere in `file.py`:\n\n```\ntwo\n```\n\nCheck:\n\n```\ntrue\n```",
        "1. `file.py`, at the end:\n\n2. `file.py`, at the end:\n\n```\ntwo\n```\n\nCheck:\n\n```\ntrue\n```",
        "1. `file.py`, at the end:\n\n```\ntwo\n```",
    ],
    ids=["a block without a step", "a step without a block", "no check"],
)
def test_a_recipe_that_can_not_be_carried_out_literally_is_refused(tmp_path, body):
    with pytest.raises(RecipeError, match='recipe "thing" has'):
        recipes(guide(tmp_path, body))


def test_several_changes_of_one_file_follow_each_other(tmp_path):
    (tmp_path / "file.py").write_text("one\n")
    changes = recipe(tmp_path, "after `one`").changes + recipe(tmp_path, "after `two`", "three\n").changes
    assert Recipe("thing", changes, ("true",)).texts(tmp_path) == {"file.py": "one\ntwo\nthree\n"}
