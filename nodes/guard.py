"""What stands before and behind every node: inputs are what its schema says, and all it says can be written down.

ComfyUI checks types and ranges of what is written into a node, not of what comes over a link: an output of any type
(a switch, Prompt Gate) can be connected to every input, and NaN lies in every range.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from comfy_api.latest import io

from ..outside.texts import can_be_logged, log_encoding, writable, writable_values
from .errors import named_errors
from .inputs import require_inputs
from .types import NEVER_THE_SAME

LONGEST = 4000
"""Characters of an error that a user sees."""


def guarded(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """Put the guard around what ComfyUI calls of a node, in place."""
    for name, wrap in (("execute", _execute), ("check_lazy_status", _lazy), ("fingerprint_inputs", _fingerprint)):
        if name in vars(node):
            setattr(node, name, classmethod(wrap(vars(node)[name].__func__)))
    return node


def _execute(execute: Callable) -> Callable:
    @functools.wraps(execute)
    def guard(cls, *args, **kwargs) -> io.NodeOutput:
        with writable_errors():
            _check(cls, execute, args, kwargs)
            return _writable_output(execute(cls, *args, **kwargs))

    return guard


def _lazy(check: Callable) -> Callable:
    @functools.wraps(check)
    def guard(cls, *args, **kwargs) -> list[str]:
        with writable_errors():
            _check(cls, check, args, kwargs, evaluated=False)
            return check(cls, *args, **kwargs)

    return guard


def _fingerprint(fingerprint: Callable) -> Callable:
    @functools.wraps(fingerprint)
    def guard(cls, *args, **kwargs) -> Any:
        try:
            return fingerprint(cls, *args, **kwargs)
        except (ValueError, OSError):
            return NEVER_THE_SAME

    return guard


def _check(cls: type[io.ComfyNode], function: Callable, args: tuple, kwargs: dict, evaluated: bool = True) -> None:
    schema = cls.define_schema()  # anew, because files may have come
    with named_errors(schema.display_name):
        require_inputs(schema.inputs, _by_name(function, cls, *args, **kwargs), evaluated)


def _by_name(function: Callable, *args, **kwargs) -> dict[str, Any]:
    signature = inspect.signature(function)
    given = dict(signature.bind(*args, **kwargs).arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
    return given


def _writable_output(output: io.NodeOutput) -> io.NodeOutput:
    output.args = tuple(writable(each) if isinstance(each, str) else each for each in output.args)
    if isinstance(output.ui, dict):
        output.ui = writable_values(output.ui)
    return output


@contextmanager
def writable_errors() -> Iterator[None]:
    """Let no error out that ComfyUI's log can't take: that would end the thread that runs everyone's prompts."""
    try:
        yield
    except Exception as error:
        if can_be_logged(error) and len(str(error)) <= LONGEST:
            raise
        message = writable(str(error)[:LONGEST], log_encoding())
        raise ValueError(message) from None
