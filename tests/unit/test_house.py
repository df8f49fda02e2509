"""The rules of the house find what breaks them, in a small checkout that breaks each."""

import subprocess

import pytest

from dev.docstrings import docstrings
from dev.house import House, broken_rules, figures, mutual_imports

LONG_NAME = "test_" + "a_very_long_name_" * 5


@pytest.fixture
def checkout(tmp_path):
    """Makes a checkout of some files: ``checkout({"nodes/a.py": "…"})``."""

    def make(files):
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return House.at(tmp_path)

    return make


def starts(tmp_path, source):
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    return {one.name: one.starts_as_asked for one in docstrings(path)}


def test_functions_start_with_a_verb_and_everything_else_with_a_noun(tmp_path):
    source = '''"""Rows of a batch."""
LIMIT = 3
"""What is allowed at most."""
SIZE = 4
"""Most rows of a batch."""
class Row:
    """How a row looks."""
    @property
    def wide(self):
        """Whether it is wide."""
    @property
    def kind(self):
        """What it is."""
    def cut(self):
        """The row, cut."""
    def scale(self):
        """Scale the row."""
'''
    expected = {"module": True, "LIMIT": False, "SIZE": True, "Row": False, "wide": True, "kind": False}
    assert starts(tmp_path, source) == {**expected, "cut": False, "scale": True}


def test_a_checkout_that_keeps_the_rules_breaks_none(checkout):
    node = '"""Nodes."""\nfrom ..engine.core.b import c\n'
    value = '"""Values."""\ndef c():\n    """Return one."""\n    return 1\n'
    house = checkout({"README.md": "short", "nodes/a.py": node, "engine/core/b.py": value})
    assert broken_rules(house) == [] and figures(house)["docstrings that start as asked"] == "100.0% of 3"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({f"folder{number}/a.txt": "" for number in range(13)}, "too many visible folders"),
        ({"README.md": "x" * 10_001}, "README.md has 10001 bytes"),
        ({"web/docs/DiffusionProbeScore.md": "x" * 2_501}, "web/docs/DiffusionProbeScore.md is too long"),
        ({"nodes/a.py": '"""What it is."""'}, 'module a starts with "What it is."'),
        ({"nodes/a.py": "[x for a in b for c in a for x in c]"}, "nodes/a.py:1 is a comprehension of three loops"),
        ({"engine/core/a.py": f"def f({', '.join('abcdefghijk')}): pass"}, "takes more than ten arguments"),
        ({"tests/test_a.py": f"def {LONG_NAME}(): pass"}, f"{LONG_NAME} is a test's name"),
        ({"nodes/a.py": "from dev.server import ComfyServer"}, "nodes/a.py is shipped and imports dev"),
    ],
)
def test_a_checkout_that_breaks_a_rule_is_told_which(checkout, files, said):
    assert any(said in rule for rule in broken_rules(checkout(files)))


def test_rooms_that_import_each_other_are_found_also_within_engine(checkout):
    files = {"engine/capture/a.py": "from ..runs.b import c", "engine/runs/b.py": "from ..capture import a"}
    assert mutual_imports(checkout(files)) == [("engine/capture", "engine/runs")]
