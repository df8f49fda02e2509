"""Tensors on a virtual card, and how operations on them run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from .card import Card

DEVICE = torch.device("cuda", 0)

MOST_VALUES = 2**19
"""Elements up to which a tensor on the card keeps its values."""

MOST_HOST_VALUES = 2**23
"""Elements up to which a copy to the host gets made-up values; a larger one has a shape only."""

MIXED_DEVICES = {"index", "index_put", "index_put_", "_index_put_impl_", "set_", "set_data"}
"""Operations that take indices from the host."""

WAITING = {"nonzero": "nonzero", "equal": "equal", "masked_select": "masked_select", "is_nonzero": "bool"}
"""Operations whose result the host needs, by the name of what it waits for."""

FILLED = {f"new_{what}" for what in ("ones", "zeros", "full")} | {f"{what}_like" for what in ("ones", "zeros", "full")}
"""Operations whose values do not depend on those of the tensor that they are called on."""

_card: Card | None = None


class VirtualTensor(Tensor):
    """A tensor on the card, or a large one on the host without values.

    Attributes:
        stored: its values on the CPU, or a tensor on the device ``meta`` where it has a shape only.
        allocation: its memory on the card.
    """

    stored: Tensor
    allocation: Any

    @staticmethod
    def __new__(cls, inner: Tensor, device: torch.device = DEVICE) -> VirtualTensor:
        made = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=device,
        )  # fmt: skip
        made.stored = inner
        made.allocation = _card.allocate(inner) if device.type == "cuda" else None
        return made

    def __repr__(self) -> str:
        kind = "shape only" if self.stored.is_meta else "with values"
        return f"VirtualTensor({tuple(self.shape)}, {self.dtype}, {self.device}, {kind})"

    def tolist(self) -> Any:
        """Return its values as lists; ones where it has none."""
        if self.device.type == "cuda":
            _card.wait("tolist")
        return made_up(self.stored).tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        """Return its values as an array; made-up ones where it has none."""
        return made_up(self.stored).numpy(*args, **kwargs)

    def data_ptr(self) -> int:
        """Return a number that tensors of the same storage share."""
        return self.stored.untyped_storage()._cdata

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        if func is torch.nn.functional.linear and not kwargs and _is_shape(args[0]):
            return _linear(*args)
        if func is torch.conv2d and not kwargs and _is_shape(args[0]):
            return _conv2d(*args)
        with torch._C.DisableTorchFunctionSubclass():  # results of the host stay plain tensors
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return dispatch(func, args, kwargs or {})


class OnCard(TorchDispatchMode):
    """A context in which tensors can be made on the card.

    Args:
        card: which.
    """

    def __init__(self, card: Card):
        super().__init__()
        self.card = card

    def __enter__(self) -> OnCard:
        global _card
        _card = self.card
        return super().__enter__()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if any(isinstance(value, VirtualTensor) or _is_card(value) for value in _leaves((args, kwargs))):
            return dispatch(func, args, kwargs, self)
        return func(*args, **kwargs)


def made_up(inner: Tensor) -> Tensor:
    """Give a tensor without values some: random ones, or ones for integers."""
    if not inner.is_meta:
        return inner
    if inner.dtype.is_floating_point:
        return torch.randn(inner.shape).to(inner.dtype)
    return torch.ones(inner.shape, dtype=inner.dtype)


def dispatch(func: Any, args: tuple, kwargs: dict, mode: OnCard | None = None) -> Any:
    """Run an operation of which some input or the result is on the card."""
    if func._schema.name == "aten::_has_compatible_shallow_copy_type":
        return True
    if _decomposes(func):
        with mode or OnCard(_card):
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
    name = func._schema.name.removeprefix("aten::")
    if name == "_local_scalar_dense":
        return _item(args[0])
    if name == "copy_":
        return _copy_into(*args[:2], blocking=not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False)))
    if name == "_to_copy":
        return _copy(func, args[0], kwargs)
    return _compute(func, name, args, kwargs)


@functools.cache
def _decomposes(func: Any) -> bool:
    return func._can_decompose()


def _compute(func: Any, name: str, args: tuple, kwargs: dict) -> Any:
    if name in WAITING:
        _card.wait(WAITING[name])
    target = _device_of(name, args, kwargs)
    inner_args, inner_kwargs = _map(_inner, (args, kwargs))
    shapes_only = any(isinstance(value, Tensor) and value.is_meta for value in _leaves((inner_args, inner_kwargs)))
    filled = name in FILLED
    shapes_only = shapes_only and not filled
    if filled or "device" in inner_kwargs:
        large = target.type == "cuda" and _numel(args) > MOST_VALUES
        inner_kwargs["device"] = "meta" if shapes_only or large else "cpu"
    inner_kwargs.pop("pin_memory", None)
    if shapes_only:
        inner_args, inner_kwargs = _map(_without_values, (inner_args, inner_kwargs))
    if name == "equal":
        return True if shapes_only else func(*inner_args, **inner_kwargs)
    is_view = func.is_view or name in ("_unsafe_view", "_reshape_alias", "detach", "alias")
    if shapes_only and not is_view and not func._schema.is_mutable:
        result, flops = _repeated(func, inner_args, inner_kwargs)
    else:
        result = func(*inner_args, **inner_kwargs)
        flops = _flops(func, inner_args, inner_kwargs, result)
    if target.type == "cuda":
        _card.ledger.kernels += 1
        _card.ledger.flops[_card.phase] += flops
    written = args[0] if args and func._schema.is_mutable and not func._schema.returns == [] else None
    if isinstance(written, VirtualTensor) and name.endswith("_"):
        if shapes_only and not written.stored.is_meta:
            written.stored = _without_values(written.stored)
        return written
    return _map(lambda one: _wrapped(one, target, is_view), result)


def _flops(func: Any, args: tuple, kwargs: dict, result: Any) -> int:
    counted = flop_registry.get(func._overloadpacket)
    return counted(*args, **kwargs, out_val=result) if counted is not None else 0


def _repeated(func: Any, args: tuple, kwargs: dict) -> tuple[Any, int]:
    """Return the result of an operation on shapes, and its FLOPs; those of an earlier one of the same shapes.

    Torch computes shapes in Python, which takes most of the time of a large model's blocks.
    """
    key = (func, _signature(args), _signature(kwargs))
    if key not in _results:
        result = func(*args, **kwargs)
        _results[key] = _map(_Layout.of, result), _flops(func, args, kwargs, result)
        return result, _results[key][1]
    layout, flops = _results[key]
    return _map(lambda one: one.empty() if isinstance(one, _Layout) else one, layout), flops


class _Layout(NamedTuple):
    """Shape, strides and type of a tensor."""

    shape: tuple
    strides: tuple
    dtype: torch.dtype

    @classmethod
    def of(cls, value: Any) -> Any:
        """Return the layout of a tensor, and any other value as it is."""
        return cls(tuple(value.shape), value.stride(), value.dtype) if isinstance(value, Tensor) else value

    def empty(self) -> Tensor:
        """Make a tensor with this layout and no values."""
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device="meta")


_results: dict[Any, tuple[Any, int]] = {}


def _signature(value: Any) -> Any:
    """Return a key of an operation's arguments: of tensors the layout."""
    if isinstance(value, list | tuple):
        return tuple([_signature(inner) for inner in value])
    if isinstance(value, dict):
        return tuple([(name, _signature(inner)) for name, inner in value.items()])
    return type(value), _Layout.of(value)


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the values in nested arguments of an operation."""
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, dict):
        yield from _leaves(list(value.values()))
    else:
        yield value


def _map(change: Callable, value: Any) -> Any:
    """Apply a function to the values in nested arguments of an operation."""
    if isinstance(value, _Layout):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)([_map(change, inner) for inner in value])
    if isinstance(value, dict):
        return {name: _map(change, inner) for name, inner in value.items()}
    return change(value)


def _wrapped(result: Any, target: torch.device, is_view: bool) -> Any:
    if not isinstance(result, Tensor) or isinstance(result, VirtualTensor):
        return result
    if target.type == "cpu":
        return VirtualTensor(result, target) if result.is_meta else result
    large = not is_view and result.numel() > MOST_VALUES
    return VirtualTensor(_without_values(result) if large else result, target)


def _device_of(name: str, args: tuple, kwargs: dict) -> torch.device:
    """Find the device that an operation runs on.

    Raises:
        RuntimeError: tensors on both; numbers on the host may go with tensors on the card, as in torch.
    """
    device = kwargs.get("device")
    if device is not None:
        return DEVICE if torch.device(device).type == "cuda" else torch.device(device)
    tensors = [value for value in _leaves((args, kwargs)) if isinstance(value, Tensor)]
    types = {tensor.device.type for tensor in tensors if tensor.dim() > 0 and tensor.device.type != "meta"}
    if len(types) > 1 and name not in MIXED_DEVICES:
        where = ", ".join(f"{tensor.device.type} {tuple(tensor.shape)}" for tensor in tensors)
        raise RuntimeError(f"Expected all tensors to be on the same device in {name}: {where}")
    on_card = any(tensor.device.type == "cuda" for tensor in tensors)
    return DEVICE if "cuda" in types or (not types and on_card) else torch.device("cpu")


def _item(tensor: Tensor) -> Any:
    if tensor.device.type == "cuda":
        _card.wait("item")
    inner = _inner(tensor)
    if not inner.is_meta:
        return inner.item()
    return True if inner.dtype == torch.bool else 1.0 if inner.dtype.is_floating_point else 1


def _copy_into(target: Tensor, source: Any, blocking: bool) -> Tensor:
    values = _inner(source)
    if isinstance(source, Tensor):
        size = source.numel() * source.element_size()
        _card.transfer(source.device.type, target.device.type, size, blocking)
    if not isinstance(target, VirtualTensor):
        return target.copy_(made_up(values) if isinstance(values, Tensor) else values)
    if isinstance(values, Tensor) and values.is_meta:
        target.stored = _without_values(target.stored)
    elif not target.stored.is_meta:
        target.stored.copy_(values)
    return target


def _copy(func: Any, source: Tensor, kwargs: dict) -> Tensor:
    """Copy a tensor to another device or dtype."""
    target = torch.device(kwargs.get("device") or source.device)
    inner = _inner(source)
    settings = {name: kwargs[name] for name in ("dtype", "layout", "memory_format") if name in kwargs}
    if target.type == "meta":
        return func(inner, device="meta", **settings)
    size = source.numel() * source.element_size()
    _card.transfer(source.device.type, target.type, size, blocking=not kwargs.get("non_blocking", False))
    if target.type == "cuda":
        return VirtualTensor(func(_without_values(inner) if inner.numel() > MOST_VALUES else inner, **settings))
    copied = func(inner, **settings)
    if not copied.is_meta:
        return copied
    return VirtualTensor(copied, torch.device("cpu")) if _stays_empty(copied) else made_up(copied)


def _stays_empty(copy: Tensor) -> bool:
    """Tell whether a copy to the host gets no values: one that is large, or in a short type as unloaded weights are."""
    short = copy.dtype.is_floating_point and copy.dtype.itemsize < 4
    return copy.numel() > (1 if short else MOST_HOST_VALUES)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """Count one fused attention call: two products of ``[batch, heads, queries, keys]``, and no memory for the map."""
    _device_of("scaled_dot_product_attention", (query, key, value, attn_mask), {})
    batch, heads, queries, width = query.shape
    keys, out = key.shape[-2], value.shape[-1]
    _card.ledger.flops[_card.phase] += 2 * batch * heads * queries * keys * (width + out)
    _card.ledger.kernels += 1
    inner = torch.empty(batch, queries, heads, out, dtype=query.dtype, device="meta").transpose(1, 2)
    return VirtualTensor(inner, query.device)


def _linear(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Count one product with a weight, which torch would take apart into half a dozen operations of shapes."""
    return _product((values, weight, bias), (*values.shape[:-1], len(weight)))


def _conv2d(
    values: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """Count one convolution, of whose shapes torch computes more than the result's."""

    def length(axis: int) -> int:
        by, pad, spread = (one if isinstance(one, int) else one[axis] for one in (stride, padding, dilation))
        return (values.shape[2 + axis] + 2 * pad - spread * (weight.shape[2 + axis] - 1) - 1) // by + 1

    return _product((values, weight, bias), (len(values), len(weight), length(0), length(1)))


def _product(inputs: tuple[Tensor, Tensor, Tensor | None], shape: tuple[int, ...]) -> Tensor:
    """Return a tensor without values in the place of values times a weight, and count it.

    Raises:
        RuntimeError: the inputs are of several types, or on several devices.
    """
    _device_of("product", inputs, {})
    dtypes = {one.dtype for one in inputs if one is not None}
    if len(dtypes) > 1:
        raise RuntimeError(f"values and weight are of several types: {dtypes}")
    result = VirtualTensor(torch.empty(shape, dtype=inputs[0].dtype, device="meta"), DEVICE)
    _card.ledger.flops[_card.phase] += 2 * result.numel() * inputs[1][0].numel()
    _card.ledger.kernels += 1
    return result


def _is_shape(value: Any) -> bool:
    """Tell whether a tensor is on the card, and a shape only."""
    return isinstance(value, VirtualTensor) and value.stored.is_meta and value.device.type == "cuda"


def layout_of(tensor: Tensor) -> _Layout:
    """Return shape, strides and type of a tensor, from which one without values can be made."""
    return _Layout.of(tensor)


def _inner(value: Any) -> Any:
    return value.stored if isinstance(value, VirtualTensor) else value


def _without_values(value: Any) -> Any:
    return value.to("meta") if isinstance(value, Tensor) and not value.is_meta else value


def _is_card(value: Any) -> bool:
    return isinstance(value, torch.device) and value.type == "cuda"


def _numel(args: tuple) -> int:
    """Return the elements of a tensor that is made from a shape, or for one of the same shape."""
    shapes = [value for value in args[:2] if isinstance(value, list | tuple)]
    if shapes:
        return int(torch.Size(shapes[0]).numel())
    return args[0].numel() if args and isinstance(args[0], Tensor) else 1
