"""Marks of single values of a parametrized test."""

import pytest


def some_long(values, long):
    """Return the values for ``pytest.mark.parametrize``; those in ``long`` are run by ``make test-all`` only."""
    values, long = list(values), list(long)
    unknown = [value for value in long if value not in values]
    assert not unknown, f"{unknown} are no values of this test"
    return [pytest.param(value, marks=pytest.mark.long) if value in long else value for value in values]
