"""Holders of state that code of a MODEL's patches can reach: closures, attributes, containers, globals, generators."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import comfy.model_patcher
import numpy as np
import torch
from torch import Tensor, nn

from ...runs.origins import is_core, is_ours, origin_of

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()
"""Value of a name that is not there."""

MOST_HOLDERS, DEEPEST = 2000, 8
"""Bounds for the search through the state of patches, in holders and in steps from the roots: all of them are compared
each time that a run takes its turn."""

WATCHED_BYTES = 64 * 2**20
"""Size of the largest tensors that are watched for writes in place: each is copied while it is watched."""

_PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device, torch.Size)
_OF_MODULES = {"training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}


def is_same(a: Any, b: Any) -> bool:
    """Tell whether a value is unchanged: the same object, or an equal number, text, or list of the same objects."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, list | deque | tuple):
        return len(a) == len(b) and all(map(is_same, a, b))
    return isinstance(a, (*_PLAIN, set)) and a == b


@dataclass(eq=False)
class Holder:
    """Object that holds named values, with the functions to read and write them.

    Attributes:
        origin: origin of the code that uses it, for the user.
        read: returns its values by name.
        write: sets the value of a name; ``MISSING`` deletes the name.
        same: tells whether two of its values are equal.
    """

    origin: str
    read: Callable[[], dict[Any, Any]]
    write: Callable[[Any, Any], Any]
    same: Callable[[Any, Any], bool] = is_same


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return MISSING


def _cells(cells: Sequence[CellType], origin: str) -> Holder:
    def write(number: int, value: Any) -> None:
        if value is not MISSING:
            cells[number].cell_contents = value
        elif _content(cells[number]) is not MISSING:
            del cells[number].cell_contents

    return Holder(origin, lambda: {number: _content(cell) for number, cell in enumerate(cells)}, write)


def _items(values: dict, origin: str, names: Iterable[str] | None = None, without: Iterable[str] = ()) -> Holder:
    """Return a holder of a dict's entries: an instance's attributes, globals of a module, or a dict of patches."""
    without = frozenset(without)

    def read() -> dict[Any, Any]:
        if names is not None:
            return {name: values.get(name, MISSING) for name in names}
        return {name: value for name, value in values.items() if name not in without} if without else values.copy()

    def write(name: Any, value: Any) -> None:
        if value is MISSING:
            values.pop(name, None)
        else:
            values[name] = value

    return Holder(origin, read, write)


def _contents(values: list | deque | set, origin: str) -> Holder:
    def write(_name: None, kept: Any) -> None:
        values.clear()
        (values.update if isinstance(values, set) else values.extend)(kept)

    return Holder(origin, lambda: {None: values.copy()}, write)


def _slots(instance: Any, names: Sequence[str], origin: str) -> Holder:
    def write(name: str, value: Any) -> None:
        if value is not MISSING:
            setattr(instance, name, value)
        elif hasattr(instance, name):
            delattr(instance, name)

    return Holder(origin, lambda: {name: getattr(instance, name, MISSING) for name in names}, write)


def _generator(generator: Any, origin: str) -> Holder | None:
    if isinstance(generator, torch.Generator):
        return Holder(
            origin, lambda: {None: generator.get_state()}, lambda _, state: generator.set_state(state), torch.equal
        )
    if isinstance(generator, random.Random):
        return Holder(origin, lambda: {None: generator.getstate()}, lambda _, state: generator.setstate(state))
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        return Holder(
            origin, lambda: {None: bits.state}, lambda _, state: setattr(bits, "state", state), lambda a, b: a == b
        )
    return None


def written(values: Tensor, origin: str) -> Holder:
    """Return a holder of the numbers of a tensor, which a patch writes in place."""
    return Holder(
        origin, lambda: {None: values.clone()}, lambda _, kept: values.copy_(kept), lambda a, b: torch.equal(a, b)
    )


class Reachable:
    """Holders and tensors that can be reached from some objects.

    Modules, model patchers, other libraries, and what ComfyUI, torch and this pack define are not searched.

    Args:
        roots: objects to start from.
        modules: modules whose own attributes, without those of modules inside, count as well.
    """

    def __init__(self, roots: Sequence[Any], modules: Sequence[nn.Module] = ()):
        self.holders: list[Holder] = []
        self.tensors: list[tuple[Tensor, str]] = []
        self._known: dict[int, Any] = {}  # by id; keeps them alive, so that ids stay theirs
        self._depth = 0
        self._stack: list[tuple[Any, str, int]] = [(_opened(root), "", 0) for root in reversed(roots)]
        for module in modules:
            self.holders.append(_items(vars(module), "", without=_OF_MODULES))
            self.holders.append(_items(module._modules, ""))
            self._more((value for name, value in vars(module).items() if name not in _OF_MODULES), "")
        while self._stack and len(self.holders) < MOST_HOLDERS:
            value, origin, self._depth = self._stack.pop()
            if self._depth < DEEPEST:
                self._visit(value, origin)

    def _visit(self, value: Any, origin: str) -> None:
        if isinstance(value, (*_PLAIN, nn.Module, comfy.model_patcher.ModelPatcher)) or id(value) in self._known:
            return
        self._known[id(value)] = value
        for kinds, visit in _VISITS:
            if isinstance(value, kinds):
                visit(self, value, origin)
                return
        generator = _generator(value, origin)
        if generator is not None:
            self.holders.append(generator)
        elif not isinstance(value, type) and not is_core(type(value)):
            self._instance(value, origin)

    def _more(self, values: Iterable[Any], origin: str) -> None:
        self._stack += [(value, origin, self._depth + 1) for value in values]

    def _function(self, function: FunctionType, origin: str) -> None:
        if is_ours(function):
            return
        origin = origin_of(function) or origin
        if function.__closure__:
            self.holders.append(_cells(function.__closure__, origin))
            self._more(map(_content, function.__closure__), origin)
        if vars(function):
            self.holders.append(_items(vars(function), origin))
            self._more(vars(function).values(), origin)
        self._more([function.__defaults__ or (), function.__kwdefaults__ or {}], origin)
        if not is_core(function):
            self._globals(function, origin)

    def _globals(self, function: FunctionType, origin: str) -> None:
        """Add the data that a function's code names of its module, and follow helpers of the same module."""
        there = function.__globals__
        names = [name for name in _names(function.__code__) if name in there]
        data = [name for name in names if not isinstance(there[name], type) and not _is_code(there[name])]
        if data:
            self.holders.append(_items(there, origin, names=data))
            self._more((there[name] for name in data), origin)
        self._more((there[n] for n in names if getattr(there[n], "__globals__", None) is there), origin)

    def _method(self, method: MethodType, origin: str) -> None:
        self._more([method.__func__, method.__self__], origin)

    def _partial(self, function: partial, origin: str) -> None:
        self._more([function.func, function.args, function.keywords], origin)

    def _dict(self, values: dict, origin: str) -> None:
        self.holders.append(_items(values, origin))
        self._more(values.values(), origin)

    def _container(self, values: list | deque | set, origin: str) -> None:
        self.holders.append(_contents(values, origin))
        self._more(values, origin)

    def _tensor(self, values: Tensor, origin: str) -> None:
        if values.numel() * values.element_size() <= WATCHED_BYTES:
            self.tensors.append((values, origin))

    def _instance(self, instance: Any, origin: str) -> None:
        origin = origin_of(type(instance)) or origin
        attributes = getattr(instance, "__dict__", None)
        if isinstance(attributes, dict):
            self.holders.append(_items(attributes, origin))
            self._more(attributes.values(), origin)
        slots = [name for kind in type(instance).__mro__ for name in _slot_names(kind)]
        if slots:
            self.holders.append(_slots(instance, slots, origin))
            self._more((getattr(instance, name, None) for name in slots), origin)
        self._class(type(instance), origin)

    def _class(self, kind: type, origin: str) -> None:
        """Add the attributes of a class: state that all its instances share."""
        if id(kind) in self._known or is_core(kind):
            return
        self._known[id(kind)] = kind
        members = {name: value for name, value in vars(kind).items() if not name.startswith("__")}
        data = [name for name, value in members.items() if not _is_code(value) and not hasattr(value, "__get__")]
        if data:
            self.holders.append(_slots(kind, data, origin))
        self._more(members.values(), origin)


_VISITS: list[tuple[Any, Callable]] = [
    (FunctionType, Reachable._function),
    (MethodType, Reachable._method),
    (partial, Reachable._partial),
    (dict, Reachable._dict),
    ((list, deque, set), Reachable._container),
    ((tuple, frozenset), Reachable._more),
    (Tensor, Reachable._tensor),
]


def _opened(root: Any) -> Any:
    """Return the attributes of a root with it, whoever defines it: a guider or sampler of ComfyUI holds other code."""
    is_instance = hasattr(root, "__dict__") and not isinstance(root, FunctionType | MethodType | type)
    return [vars(root), root] if is_instance else root


def _is_code(value: Any) -> bool:
    return isinstance(value, FunctionType | MethodType | type(sys) | staticmethod | classmethod | property) or (
        callable(value) and not hasattr(value, "__dict__")
    )


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _slot_names(kind: type) -> list[str]:
    names = vars(kind).get("__slots__", ())
    return [name for name in ((names,) if isinstance(names, str) else names) if name not in ("__dict__", "__weakref__")]
