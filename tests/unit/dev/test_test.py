"""Which tests a call of dev.test runs, as far as it decides what has to be installed."""

import sys

import pytest

from dev.test import _run, includes_browser, named_tests
from training.client.paths import PACK_ROOT


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], True),
        (["-k", "focus", "-n", "2"], True),
        (["tests"], True),
        (["tests/browser/test_frontend.py::test_in_chromium", "-k", "board"], True),
        (["tests/unit", "tests/browser"], True),
        (["tests/unit", "-n", "2"], False),
        (["tests/comfy/test_words.py"], False),
    ],
)
def test_chromium_is_wanted_only_where_tests_in_it_may_run(arguments, expected):
    assert includes_browser(arguments) is expected


def test_options_are_not_taken_for_tests():
    arguments = ["-k", "dataset", "tests/unit/dev/test_test.py::test_x", "-m", "not long"]
    assert named_tests(arguments) == [PACK_ROOT / "tests" / "unit" / "dev" / "test_test.py"]


def test_commands_side_by_side_fail_if_one_of_them_does():
    right, wrong = [sys.executable, "-c", ""], [sys.executable, "-c", "raise SystemExit(3)"]
    assert [_run(right, right), _run(right, wrong), _run(wrong, right)] == [0, 3, 3]
