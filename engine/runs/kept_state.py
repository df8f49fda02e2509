"""Values that callables keep from one call to the next, in closures, attributes, containers, tensors and generators.

Guidance and patches of other nodes keep values of earlier steps there. They can be read, compared and restored.
"""

from __future__ import annotations

import functools
import random
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .origins import is_ours

MOST_SLOTS = 4096
"""Largest number of slots of a snapshot; slots beyond are not read."""

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)
_RANDOM = (random.Random, numpy.random.Generator, numpy.random.RandomState)
_CONTAINERS = (dict, list, deque, set, Tensor, torch.Generator)
_NOT_LOOKED_INTO = (torch.nn.Module, ModelPatcher, type, types.ModuleType, types.BuiltinFunctionType)

Cut = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Globals:
    """Names of a function's module that the function uses."""

    module: dict[str, Any]
    names: tuple[str, ...]


@dataclass(frozen=True)
class OfModule:
    """Attributes of a module besides its weights and submodules, as a root of a :class:`Snapshot`."""

    module: torch.nn.Module


_WEIGHTS = frozenset({"_parameters", "_buffers", "_modules", "training"})


@dataclass
class Slot:
    """Object whose contents can change.

    Attributes:
        owner: a closure's cell, dict, list, set, object, tensor, generator, or names of a module.
        contents: of the owner, by key; of a tensor a copy of its numbers, or their sum.
        roots: names of the callables that the owner belongs to.
    """

    owner: Any
    contents: Any
    roots: set[str]

    def restore(self, cut: Cut | None) -> None:
        """Write the contents back into the owner; tensors among them cut by ``cut``."""
        if isinstance(self.owner, Tensor):
            if isinstance(self.contents, Tensor) and not torch.equal(self.owner, self.contents):
                self.owner.copy_(self.contents)
            return
        contents = {key: _cut(value, cut) if cut else value for key, value in self._items()}
        _write(self.owner, contents if isinstance(self.contents, dict) else self.contents)

    def _items(self) -> Iterator[tuple[Any, Any]]:
        return iter(self.contents.items() if isinstance(self.contents, dict) else ())

    def differs(self, earlier: Slot) -> bool:
        """Return whether the contents differ from earlier ones."""
        return not _same(self.contents, earlier.contents)

    def counts_on(self, earlier: Slot) -> bool:
        """Return whether a plain value, such as a number or a switch, differs from an earlier one."""
        if not isinstance(self.contents, dict) or not isinstance(earlier.contents, dict):
            return False
        pairs = ((value, earlier.contents.get(key)) for key, value in self.contents.items())
        return any(isinstance(now, _PLAIN) and isinstance(then, _PLAIN) and now != then for now, then in pairs)


class Snapshot:
    """Values that callables keep, at one point of time.

    Args:
        roots: the callables, or objects with values, by their names for users.
        copies: whether tensors are copied, so that they can be restored; else it is only known whether they changed.

    Attributes:
        complete: whether all values can be restored, which is not so for iterators and random generators that aren't
            torch's.
    """

    def __init__(self, roots: Mapping[str, Any], copies: bool = True):
        self.complete = True
        self._copies = copies
        self._slots: dict[Any, Slot] = {}
        for name, root in roots.items():
            self._walk(root, name)

    def restore(self, cut: Cut | None = None) -> None:
        """Write all values back; with ``cut``, containers get their tensors cut, and no tensor's numbers change."""
        for slot in self._slots.values():
            if cut is None or not isinstance(slot.owner, Tensor):
                slot.restore(cut)

    def changed_since(self, earlier: Snapshot) -> list[Slot]:
        """Return the slots whose contents differ from those in an earlier snapshot."""
        known = earlier._slots
        return [slot for key, slot in self._slots.items() if key in known and slot.differs(known[key])]

    def tensors_since(self, earlier: Snapshot) -> list[Slot]:
        """Return the slots of tensors that are new since an earlier snapshot, or hold other numbers."""
        known = earlier._slots
        return [
            slot
            for key, slot in self._slots.items()
            if isinstance(slot.owner, Tensor) and (key not in known or slot.differs(known[key]))
        ]

    def of(self, slot: Slot) -> Slot | None:
        """Return the slot of the same owner in this snapshot, None if it has none."""
        return self._slots.get(_key(slot.owner))

    def _walk(self, root: Any, name: str) -> None:
        waiting, seen = [root], set()
        while waiting and len(self._slots) < MOST_SLOTS:
            value = waiting.pop()
            if id(value) in seen or isinstance(value, (*_PLAIN, *_NOT_LOOKED_INTO)):
                continue
            if is_ours(value) and not isinstance(value, OfModule):
                continue
            seen.add(id(value))
            self.complete = self.complete and not (hasattr(value, "__next__") or isinstance(value, _RANDOM))
            for owner in _owners(value):
                key = _key(owner)
                if key not in self._slots:
                    self._slots[key] = Slot(owner, _read(owner, self._copies), set())
                self._slots[key].roots.add(name)
            waiting += _reachable(value)


def _cut(value: Any, cut: Cut) -> Any:
    """Return a value with tensors cut, in tuples too; other containers have slots of their own."""
    if isinstance(value, Tensor):
        return cut(value)
    return tuple(_cut(part, cut) for part in value) if type(value) is tuple else value


def _key(owner: Any) -> Any:
    if isinstance(owner, _Globals):
        return id(owner.module), owner.names
    return id(owner.module) if isinstance(owner, OfModule) else id(owner)


def _owners(value: Any) -> list[Any]:
    """Return the owners of a value's slots: mostly itself; of a function its cells and the globals that it uses."""
    if isinstance(value, types.FunctionType):
        return [*(value.__closure__ or ()), *_globals_of(value)]
    if isinstance(value, (types.MethodType, functools.partial)):
        return []
    if isinstance(value, OfModule):
        return [value]
    return [value] if isinstance(value, _CONTAINERS) or hasattr(value, "__dict__") else []


def _globals_of(function: types.FunctionType) -> list[_Globals]:
    names = tuple(sorted(name for name in _names(function.__code__) if _may_change(function.__globals__.get(name))))
    return [_Globals(function.__globals__, names)] if names else []


def _names(code: types.CodeType) -> set[str]:
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _may_change(value: Any) -> bool:
    return value is not None and not isinstance(value, (*_NOT_LOOKED_INTO, types.FunctionType))


def _reachable(value: Any) -> list[Any]:
    """Return the values that a value holds or calls."""
    if isinstance(value, types.FunctionType):
        used = (value.__globals__.get(name) for name in _names(value.__code__))
        near = [part for part in used if isinstance(part, types.FunctionType) and part.__module__ == value.__module__]
        held = [part for owner in _owners(value) for part in _values(owner)]
        return [*held, *near, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    if isinstance(value, types.MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, (tuple, frozenset)):
        return list(value)
    held = [part for owner in _owners(value) for part in _values(owner)]
    call = type(value).__dict__.get("__call__")  # it may use globals of its module
    return [*held, call] if isinstance(call, types.FunctionType) else held


def _values(owner: Any) -> list[Any]:
    contents = None if isinstance(owner, (Tensor, torch.Generator)) else _read(owner)
    return list(contents.values()) if isinstance(contents, dict) else []


def _read(owner: Any, copies: bool = False) -> Any:
    if isinstance(owner, types.CellType):
        try:
            return {"": owner.cell_contents}
        except ValueError:  # nothing was assigned yet
            return {}
    if isinstance(owner, Tensor):
        return owner.detach().clone() if copies else repr(float(owner.detach().float().sum()))
    if isinstance(owner, torch.Generator):
        return owner.get_state()
    if isinstance(owner, _Globals):
        return {name: owner.module.get(name) for name in owner.names}
    if isinstance(owner, OfModule):
        return {name: value for name, value in vars(owner.module).items() if name not in _WEIGHTS}
    if isinstance(owner, (list, deque)):
        return dict(enumerate(owner))
    if isinstance(owner, set):
        return {value: value for value in owner}
    return dict(owner) if isinstance(owner, dict) else dict(vars(owner))


def _write(owner: Any, contents: Any) -> None:
    if isinstance(owner, types.CellType):
        if contents:
            owner.cell_contents = contents[""]
        elif _read(owner):
            del owner.cell_contents
    elif isinstance(owner, torch.Generator):
        owner.set_state(contents)
    elif isinstance(owner, _Globals):
        owner.module.update(contents)
    elif isinstance(owner, (list, deque, set)):
        values = list(contents.values())
        owner.clear()
        (owner.update if isinstance(owner, set) else owner.extend)(values)
    elif isinstance(owner, OfModule):
        for name in _read(owner).keys() - contents.keys():
            vars(owner.module).pop(name)
        vars(owner.module).update(contents)
    else:
        held = owner if isinstance(owner, dict) else vars(owner)
        if not _same(held, contents):
            held.clear()
            held.update(contents)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a is b or (a.shape == b.shape and a.dtype == b.dtype and a.device == b.device and torch.equal(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(a[key] is b[key] or _alike(a[key], b[key]) for key in a)
    return a is b or _alike(a, b)


def _alike(a: Any, b: Any) -> bool:
    """Return whether plain values are equal; others have slots of their own."""
    return isinstance(a, _PLAIN) and type(a) is type(b) and a == b
