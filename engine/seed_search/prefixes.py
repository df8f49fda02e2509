"""Kept prefixes: the first evaluations of candidates that a search did not finish, for finishing them later.

They are bounded in memory and time, and refer to no MODEL. A candidate without one is sampled from its start.
"""

import hashlib
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import comfy.controlnet
import torch
from torch import Tensor

from ..core.scores import SeedName
from ..runs.origins import is_core
from .hub.prefix import Prefix

PREFIX_BYTES = 512 * 2**20
"""Largest memory of all kept prefixes."""

PREFIX_SECONDS = 3600.0
"""Time for which a prefix is kept."""

_PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device)


@dataclass(frozen=True)
class RunKey:
    """Key of a candidate's run: equal for runs that give the same results.

    Attributes:
        digest: of the settings and of the numbers in conditionings and latent.
        objects: weak references to the MODEL and to other objects that are told apart by their identity.
    """

    digest: bytes
    objects: tuple[weakref.ref, ...]

    @property
    def alive(self) -> bool:
        """Whether all objects still exist."""
        return all(each() is not None for each in self.objects)


class RunKeys:
    """Keys of the runs of one MODEL; a tensor that several runs share is read once.

    Args:
        model: the MODEL that is sampled.
    """

    def __init__(self, model: Any):
        self.model = model
        self._read: dict[int, tuple[Tensor, bytes]] = {}

    def of(self, name: SeedName, inputs: tuple[Any, ...] | None) -> RunKey | None:
        """Return the key of a candidate's run; None if its inputs hold what can't be compared.

        Args:
            name: of its noise.
            inputs: everything else that it depends on; None: not known.
        """
        if inputs is None:
            return None
        digest = hashlib.blake2b(digest_size=16)
        objects = [weakref.ref(self.model), weakref.ref(self.model.model)]
        try:
            for part in self._parts((str(self.model.patches_uuid), str(name), inputs), objects):
                digest.update(part)
        except TypeError:  # a value that is neither plain nor known
            return None
        return RunKey(digest.digest(), tuple(objects))

    def _parts(self, value: Any, objects: list[weakref.ref]) -> Iterator[bytes]:
        """Yield bytes that differ for different values, and append weak references to objects among them.

        Raises:
            TypeError: a value is neither plain, a tensor, a container, nor a ControlNet of ComfyUI.
        """
        if isinstance(value, _PLAIN):
            yield f"{type(value).__name__} {value!r};".encode()
        elif isinstance(value, Tensor):
            yield f"tensor {value.dtype} {list(value.shape)};".encode()
            yield self._numbers(value)
        elif isinstance(value, dict):
            yield f"dict {len(value)};".encode()
            for key in sorted(value, key=str):
                yield from self._parts((key, value[key]), objects)
        elif isinstance(value, list | tuple):
            yield f"list {len(value)};".encode()
            for inner in value:
                yield from self._parts(inner, objects)
        elif isinstance(value, comfy.controlnet.ControlBase) and is_core(type(value)):
            yield f"object {len(objects)};".encode()
            objects.append(weakref.ref(value))
            yield from self._parts(value.previous_controlnet, objects)
        else:
            raise TypeError(f"values of {type(value)} can't be compared")

    def _numbers(self, values: Tensor) -> bytes:
        """Return a digest of the numbers of a tensor."""
        if id(values) not in self._read:
            numbers = values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
            self._read[id(values)] = values, hashlib.blake2b(numbers.tobytes(), digest_size=16).digest()
        return self._read[id(values)][1]


class PrefixStore:
    """Kept prefixes by the key of their runs.

    The least recently used are removed where they take more memory than ``limit_bytes``, and each after
    ``limit_seconds``, also while nothing runs. May be used by several threads.
    """

    def __init__(
        self,
        limit_bytes: int = PREFIX_BYTES,
        limit_seconds: float = PREFIX_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.limit_bytes, self.limit_seconds = limit_bytes, limit_seconds
        self._clock = clock
        self._kept: OrderedDict[RunKey, tuple[Prefix, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._next_end: float | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def size(self) -> int:
        """Return the memory of all prefixes in bytes."""
        with self._lock:
            return self._size()

    def add(self, prefixes: Mapping[RunKey, Prefix]) -> None:
        """Keep prefixes, each in place of one that is kept under the same key."""
        with self._lock:
            for key, prefix in prefixes.items():
                self._kept.pop(key, None)
                self._kept[key] = prefix, self._clock() + self.limit_seconds
            self._remove()

    def find(self, key: RunKey | None) -> Prefix | None:
        """Return the prefix of a run, None if there is none."""
        with self._lock:
            self._remove()
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def clear(self) -> None:
        """Remove all prefixes."""
        with self._lock:
            self._kept.clear()
            self._remove()

    def _size(self) -> int:
        return sum(prefix.size() for prefix, _ in self._kept.values())

    def _remove(self) -> None:
        """Remove what is too old, belongs to objects that are gone, or is too much, and come back for the rest."""
        now = self._clock()
        for key in [key for key, (_, end) in self._kept.items() if end <= now or not key.alive]:
            del self._kept[key]
        size = self._size()
        while size > self.limit_bytes:
            _, (prefix, _) = self._kept.popitem(last=False)
            size -= prefix.size()
        self._set_timer(min((end for _, end in self._kept.values()), default=None))

    def _set_timer(self, end: float | None) -> None:
        if end == self._next_end:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._next_end = None, end
        if end is not None:
            self._timer = threading.Timer(max(0.0, end - self._clock()), self._remove_later)
            self._timer.daemon = True
            self._timer.start()

    def _remove_later(self) -> None:
        with self._lock:
            self._next_end = None
            self._remove()


PREFIXES = PrefixStore()
"""Prefixes of all searches of this process."""
