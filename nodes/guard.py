"""Checks around every node: inputs fit its schema, and its texts can be written by every encoding in use.

ComfyUI checks types and ranges of values written into a node, not of values from a link: an output of any type
(a switch, Prompt Gate) can be connected to every input, and NaN passes every range.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from comfy_api.latest import io

from ..engine.core.texts import can_be_logged, log_encoding, writable, writable_values
from .errors import named_errors
from .inputs import KINDS, require_inputs
from .sockets import never_the_same

LONGEST = 4000
"""Characters of an error message at most."""


def guarded(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """Wrap the methods of a node class that ComfyUI calls in checks, in place, and return the class."""
    for name, wrap in (("execute", _execute), ("check_lazy_status", _lazy), ("fingerprint_inputs", _fingerprint)):
        if name in vars(node):
            setattr(node, name, classmethod(wrap(vars(node)[name].__func__)))
    return node


def _execute(execute: Callable) -> Callable:
    @functools.wraps(execute)
    def guard(cls, *args, **kwargs) -> io.NodeOutput:
        with writable_errors():
            given = _checked(cls, execute, args, kwargs)
            absent = {each.id for each in cls.define_schema().inputs if each.optional and each.get_io_type() in KINDS}
            # None from a link to an optional input counts as no link: the default is used.
            given = {name: value for name, value in given.items() if name not in absent or not _is_none(cls, value)}
            return _writable_output(execute(cls, **given))

    return guard


def _lazy(check: Callable) -> Callable:
    @functools.wraps(check)
    def guard(cls, *args, **kwargs) -> list[str]:
        with writable_errors():
            return check(cls, **_checked(cls, check, args, kwargs))

    return guard


def _fingerprint(fingerprint: Callable) -> Callable:
    @functools.wraps(fingerprint)
    def guard(cls, *args, **kwargs) -> Any:
        try:
            given = _by_name(fingerprint, cls, *args, **kwargs)
            known = {name: value for name, value in given.items() if value is not None}  # None: it comes from a link
            require_inputs(cls.define_schema().inputs, known)
            return fingerprint(cls, *args, **kwargs)
        except (ValueError, OSError):
            return never_the_same()

    return guard


def _checked(cls: type[io.ComfyNode], function: Callable, args: tuple, kwargs: dict) -> dict[str, Any]:
    """Return the arguments of a node's method by name, refused unless they fit its schema."""
    schema = cls.define_schema()  # anew, because there may be new files
    given = _by_name(function, cls, *args, **kwargs)
    with named_errors(schema.display_name):
        for values in _each(given) if schema.is_input_list else [given]:
            require_inputs(schema.inputs, values)
    return given


def _each(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each value of a node whose inputs are lists, under the name of its input."""
    for name, values in given.items():
        for value in values if isinstance(values, list) else [values]:
            yield {name: value}


def _is_none(cls: type[io.ComfyNode], value: Any) -> bool:
    """Return whether a value is None, or for a node whose inputs are lists a list of None alone."""
    if cls.define_schema().is_input_list and isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value is None


def _by_name(function: Callable, cls: type[io.ComfyNode], *args, **kwargs) -> dict[str, Any]:
    signature = inspect.signature(function)
    given = dict(signature.bind(cls, *args, **kwargs).arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
    return {name: value for name, value in given.items() if value is not cls}


def _writable_output(output: io.NodeOutput) -> io.NodeOutput:
    output.args = tuple(writable(each) if isinstance(each, str) else each for each in output.args)
    if isinstance(output.ui, dict):
        output.ui = writable_values(output.ui)
    return output


@contextmanager
def writable_errors() -> Iterator[None]:
    """Replace errors that ComfyUI's log can't write, which would end the thread that runs all prompts."""
    try:
        yield
    except Exception as error:
        if can_be_logged(error) and len(str(error)) <= LONGEST:
            raise
        message = writable(str(error)[:LONGEST], log_encoding())
        raise ValueError(message) from None
