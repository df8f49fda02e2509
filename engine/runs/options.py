"""Entries in ``transformer_options`` for a limited time.

Other packs may keep these dicts, or values in them, from one evaluation to the next. So nothing of them is copied,
and an entry that another pack has replaced meanwhile stays as it is.
"""

from contextlib import ExitStack
from typing import Any


def put(stack: ExitStack, where: dict, name: Any, value: Any) -> None:
    """Set an entry until ``stack`` is closed."""
    there, before = name in where, where.get(name)
    where[name] = value

    def take_out() -> None:
        if where.get(name) is not value:
            return
        if there:
            where[name] = before
        else:
            del where[name]

    stack.callback(take_out)


def append(stack: ExitStack, where: dict, name: Any, value: Any) -> None:
    """Append to the list that an entry holds, until ``stack`` is closed."""
    if name not in where:
        put(stack, where, name, [])
    values = where[name]
    values.append(value)

    def take_out() -> None:
        values[:] = [other for other in values if other is not value]

    stack.callback(take_out)


def inner(stack: ExitStack, where: dict, *names: Any) -> dict:
    """Return the dict at the end of a path of entries; missing ones exist until ``stack`` is closed."""
    for name in names:
        if name not in where:
            put(stack, where, name, {})
        where = where[name]
    return where
