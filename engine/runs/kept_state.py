"""State that callables keep from one call to the next: in closures, attributes, containers, tensors, generators.

Guidance and patches of other nodes remember there what a run did before. It can be read, compared, and put back.
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

MOST_PLACES = 4096

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)
_RANDOM = (random.Random, numpy.random.Generator, numpy.random.RandomState)
_CONTAINERS = (dict, list, deque, set, Tensor, torch.Generator)
_NOT_LOOKED_INTO = (torch.nn.Module, ModelPatcher, type, types.ModuleType, types.BuiltinFunctionType)

Cut = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Globals:
    """The names of a function's module that the function uses."""

    module: dict[str, Any]
    names: tuple[str, ...]


@dataclass(frozen=True)
class OfModule:
    """Attributes of a module besides its weights and submodules, as a root of a :class:`Snapshot`."""

    module: torch.nn.Module


_WEIGHTS = frozenset({"_parameters", "_buffers", "_modules", "training"})


@dataclass
class Place:
    """Something that can hold other values than before.

    Attributes:
        owner: a closure's cell, dict, list, set, object, tensor, generator, or names of a module.
        contents: of it, by key; of a tensor a copy of its numbers, or their sum.
        roots: names of the callables that lead here.
    """

    owner: Any
    contents: Any
    roots: set[str]

    def put_back(self, cut: Cut | None) -> None:
        """Let the owner hold the contents again; tensors among them cut by ``cut``."""
        if isinstance(self.owner, Tensor):
            if isinstance(self.contents, Tensor) and not torch.equal(self.owner, self.contents):
                self.owner.copy_(self.contents)
            return
        contents = {key: _cut(value, cut) if cut else value for key, value in self._items()}
        _write(self.owner, contents if isinstance(self.contents, dict) else self.contents)

    def _items(self) -> Iterator[tuple[Any, Any]]:
        return iter(self.contents.items() if isinstance(self.contents, dict) else ())

    def differs(self, earlier: Place) -> bool:
        """Check whether the contents are others than they were."""
        return not _same(self.contents, earlier.contents)

    def counts_on(self, earlier: Place) -> bool:
        """Check whether a plain value, such as a number or a switch, is another than it was."""
        if not isinstance(self.contents, dict) or not isinstance(earlier.contents, dict):
            return False
        pairs = ((value, earlier.contents.get(key)) for key, value in self.contents.items())
        return any(isinstance(now, _PLAIN) and isinstance(then, _PLAIN) and now != then for now, then in pairs)


class Snapshot:
    """State that callables keep, at one time.

    Args:
        roots: the callables, or objects that hold something, by the names that users know them by.
        copies: keep the numbers of tensors, so that they can be put back; else no more than notice that they changed.

    Attributes:
        complete: all of it can be put back; not so iterators and generators of random numbers that aren't torch's.
    """

    def __init__(self, roots: Mapping[str, Any], copies: bool = True):
        self.complete = True
        self._copies = copies
        self._places: dict[Any, Place] = {}
        for name, root in roots.items():
            self._walk(root, name)

    def put_back(self, cut: Cut | None = None) -> None:
        """Let everything be as it was; tensors cut by ``cut`` where one is given, which changes no tensor's numbers."""
        for place in self._places.values():
            if cut is None or not isinstance(place.owner, Tensor):
                place.put_back(cut)

    def changed_since(self, earlier: Snapshot) -> list[Place]:
        """Find places that hold something else than they did."""
        known = earlier._places
        return [place for key, place in self._places.items() if key in known and place.differs(known[key])]

    def tensors_since(self, earlier: Snapshot) -> list[Place]:
        """Find places of tensors that weren't there, or held other numbers."""
        known = earlier._places
        return [
            place
            for key, place in self._places.items()
            if isinstance(place.owner, Tensor) and (key not in known or place.differs(known[key]))
        ]

    def of(self, place: Place) -> Place | None:
        """Find the same place in this snapshot, if it was there."""
        return self._places.get(_key(place.owner))

    def _walk(self, root: Any, name: str) -> None:
        waiting, seen = [root], set()
        while waiting and len(self._places) < MOST_PLACES:
            value = waiting.pop()
            if id(value) in seen or isinstance(value, (*_PLAIN, *_NOT_LOOKED_INTO)):
                continue
            if is_ours(value) and not isinstance(value, OfModule):
                continue
            seen.add(id(value))
            self.complete = self.complete and not (hasattr(value, "__next__") or isinstance(value, _RANDOM))
            for owner in _owners(value):
                key = _key(owner)
                if key not in self._places:
                    self._places[key] = Place(owner, _read(owner, self._copies), set())
                self._places[key].roots.add(name)
            waiting += _parts(value)


def _cut(value: Any, cut: Cut) -> Any:
    """Cut tensors, in tuples too; other containers have places of their own."""
    if isinstance(value, Tensor):
        return cut(value)
    return tuple(_cut(part, cut) for part in value) if type(value) is tuple else value


def _key(owner: Any) -> Any:
    if isinstance(owner, _Globals):
        return id(owner.module), owner.names
    return id(owner.module) if isinstance(owner, OfModule) else id(owner)


def _owners(value: Any) -> list[Any]:
    """Find the places of a value: most have one, a function has its cells and the globals that it uses."""
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


def _parts(value: Any) -> list[Any]:
    """Find the values that a value refers to."""
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
    parts = [part for owner in _owners(value) for part in _values(owner)]
    call = type(value).__dict__.get("__call__")  # what an object does when it is called may use its module
    return [*parts, call] if isinstance(call, types.FunctionType) else parts


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
    """Compare contents of a place: plain values by value, others by identity, as they have places of their own."""
    return isinstance(a, _PLAIN) and type(a) is type(b) and a == b
