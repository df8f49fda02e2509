"""Methods of a diffusion model that other code replaced during a search, restored afterwards."""

from collections.abc import Iterator
from typing import Any

from torch import nn


def replaced(module: nn.Module) -> Iterator[tuple[nn.Module, dict[str, Any]]]:
    """Yield the modules inside of one, and itself, whose object has a ``forward`` of its own, with these methods."""
    for inner in module.modules():
        methods = {name: value for name, value in vars(inner).items() if name.startswith("forward")}
        if methods:
            yield inner, methods


class Forwards:
    """The ``forward`` methods of a module at the time when this is made.

    Other packs' caches replace ``forward`` on the model's own object and do not restore it, or fail to when an error
    or an interrupt ends the run: every later run then goes through their code.
    """

    def __init__(self, module: nn.Module):
        self.module = module
        self.own = dict(replaced(module))

    def restore(self) -> list[str]:
        """Restore the methods that were replaced since, and return their names."""
        names = []
        for inner in dict(replaced(self.module)).keys() | self.own.keys():
            before = self.own.get(inner, {})
            now = {name for name in vars(inner) if name.startswith("forward")}
            changed = [name for name in now | before.keys() if vars(inner).get(name) is not before.get(name)]
            for name in changed:
                vars(inner).pop(name, None)
            vars(inner).update({name: before[name] for name in changed if name in before})
            names += [f"{type(inner).__name__}.{name}" for name in changed]
        return sorted(set(names))
